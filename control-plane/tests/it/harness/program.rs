//! The real programs on a database of their own, killed and started again; [`super::Process`] is for one that
//! runs beside a [`super::TestApp`].

use super::client::{Client, Reply};
use super::database::{TestDatabase, setting};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const SECRET: &str = "2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a";

/// A child that is killed when the test ends, however it ends.
pub(crate) struct Running {
    child: Child,
    /// What its first lines say of it.
    pub(crate) addr: String,
}

impl Running {
    /// Starts a program and waits until it says, in a line of JSON with this message, where it listens.
    pub(crate) fn start(command: &mut Command, message: &str) -> Self {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let addr = lines.find_map(|line| {
            let line = line.unwrap();
            let parsed: Value = serde_json::from_str(&line).unwrap_or_default();
            said.push(line);
            (parsed["message"] == message).then(|| parsed["addr"].as_str().unwrap().to_owned())
        });
        let addr = addr.unwrap_or_else(|| panic!("it ended before `{message}`:\n{}", said.join("\n")));
        // What it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, addr }
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may be dead already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A database and a Redis prefix on which the program can be started, killed and started again.
pub(crate) struct Site {
    prefix: String,
    database: TestDatabase,
}

impl Site {
    pub(crate) async fn new() -> Self {
        let prefix = format!("test:{}:", shared::id::EventId::generate().uuid().simple());
        Self { prefix, database: TestDatabase::create().await }
    }

    /// Where its database is.
    pub(crate) fn database_url(&self) -> String {
        self.database.url()
    }

    /// The settings that control plane and edge share.
    pub(crate) fn settings<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("AOS_SECRET", SECRET)
            .env("AOS_REDIS_URL", setting("AOS_TEST_REDIS_URL"))
            .env("AOS_REDIS_PREFIX", &self.prefix)
            .env("AOS_CLICK_SHARDS", "2")
            .env("AOS_LOG", "info")
            .env("AOS_LOG_FORMAT", "json")
    }

    /// Starts the control plane's `role`.
    pub(crate) fn start(&self, role: &str, tracking_origin: &str) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_control-plane"));
        self.settings(&mut command)
            .arg(role)
            .env("AOS_DATABASE_URL", self.database.url())
            // The tests' Postgres does not sync to disk.
            .env("AOS_ALLOW_UNSAFE_DATABASE", "true")
            .env("AOS_ADDR", "127.0.0.1:0")
            .env("AOS_ADMIN_ADDR", "127.0.0.1:0")
            .env("AOS_TRACKING_ORIGIN", tracking_origin)
            .env("AOS_SIGNUPS_PER_HOUR", "0")
            .env("AOS_EGRESS_ALLOW", "127.0.0.0/8");
        Running::start(&mut command, "api listens")
    }

    /// A client of a started control plane.
    pub(crate) fn client(running: &Running, key: Option<&str>) -> Client {
        // A second installation is refused and changes nothing.
        rustls::crypto::ring::default_provider().install_default().ok();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Client::new(http, format!("http://{}", running.addr), key.map(str::to_owned))
    }

    /// Signs an agent up on it.
    pub(crate) async fn agent(running: &Running, name: &str) -> Client {
        let reply: Reply = Self::client(running, None).post("/api/auth/signup", json!({"name": name})).await;
        let key = reply.expect(201)["api_key"].as_str().unwrap().to_owned();
        Self::client(running, Some(&key)).known_as(reply.body)
    }
}
