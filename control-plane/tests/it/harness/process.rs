//! The programs themselves, as processes of their own: for what only shows between processes.

use super::TestApp;
use secrecy::ExposeSecret;
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc::{self, Receiver};

/// Nothing a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Lines of a program that wait to be asked for; what it says beyond is not kept.
const LINES_MAX: usize = 10_000;
/// What every process of a test derives its keys from; a [`TestApp`] too.
const SECRET: [u8; 32] = [42; 32];

/// A running program; dropping it kills it.
pub(crate) struct Process {
    child: Child,
    said: Value,
    before: Vec<Value>,
    later: Receiver<String>,
}

impl Process {
    /// `control-plane ROLE` on the database and under the Redis prefix of a test's app.
    pub(crate) async fn start(app: &TestApp, role: &str) -> Self {
        Self::start_with(app, role, &[]).await
    }

    /// The same with further settings.
    pub(crate) async fn start_with(app: &TestApp, role: &str, settings: &[(&str, &str)]) -> Self {
        Self::on_database(app, role, app.app.config().database_url.expose_secret(), settings).await
    }

    /// The same, with no more rights in the database than one of its roles has.
    pub(crate) async fn start_as(app: &TestApp, role: &str, database_role: &str) -> Self {
        Self::on_database(app, role, &app.url_as(database_role), &[]).await
    }

    async fn on_database(app: &TestApp, role: &str, database_url: &str, further: &[(&str, &str)]) -> Self {
        let config = app.app.config();
        let mut command = Command::new(env!("CARGO_BIN_EXE_control-plane"));
        settings(&mut command, config.redis_url.expose_secret(), &config.redis_prefix);
        command.env("AOS_DB_API_CONNECTIONS", "8");
        command.env("AOS_CLICK_SHARDS", config.click_shards.to_string());
        command.envs(further.iter().copied());
        Self::control_plane(command, role, database_url).await
    }

    /// `control-plane ROLE`; the command has the settings that it shares with edges.
    pub(super) async fn control_plane(mut command: Command, role: &str, database_url: &str) -> Self {
        command
            .arg(role)
            .env("AOS_DATABASE_URL", database_url)
            // The tests' Postgres does not sync to disk.
            .env("AOS_ALLOW_UNSAFE_DATABASE", "true")
            .env("AOS_ADDR", "127.0.0.1:0")
            .env("AOS_ADMIN_ADDR", "127.0.0.1:0")
            .env("AOS_EGRESS_ALLOW", "127.0.0.0/8");
        let listens = if ["work", "drain"].contains(&role) { "admin listens" } else { "api listens" };
        Self::spawn(command, listens).await
    }

    /// Starts a program and waits until it says, in a line of JSON with this message, where it listens.
    pub(crate) async fn spawn(mut command: Command, message: &str) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = child.kill_on_drop(true).spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = tokio::time::timeout(PATIENCE, line_with(&mut lines, message)).await;
        let (said, before) = said.unwrap_or_else(|_| panic!("it does not say `{message}`"));
        // What it says later must not fill the pipe, whether anybody asks for it or not.
        let (says, later) = mpsc::channel(LINES_MAX);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                says.try_send(line).ok();
            }
        });
        Self { child, said, before, later }
    }

    /// Host and port it listens on.
    pub(crate) fn addr(&self) -> &str {
        self.said("addr").expect("it says where it listens")
    }

    /// A member of the line with which it said where it listens.
    pub(crate) fn said(&self, member: &str) -> Option<&str> {
        self.said[member].as_str()
    }

    /// Where it serves.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Host and port of its metrics.
    pub(crate) fn admin(&self) -> &str {
        let line = self.before.iter().find(|line| line["message"] == "admin listens");
        line.and_then(|line| line["addr"].as_str()).expect("it says where its metrics are")
    }

    /// The next line with this message, of those since it started to listen.
    pub(crate) async fn says(&mut self, message: &str) -> Value {
        let saying = async {
            while let Some(line) = self.later.recv().await {
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                if line["message"] == message {
                    return line;
                }
            }
            panic!("it ended without `{message}`")
        };
        tokio::time::timeout(PATIENCE, saying).await.unwrap_or_else(|_| panic!("it does not say `{message}`"))
    }

    /// Asks it to stop, and waits until it has ended well.
    pub(crate) async fn stop(&mut self) {
        let id = self.child.id().expect("it runs").to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status().await.unwrap();
        assert!(asked.success());
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        assert!(ended.expect("it ends").unwrap().success());
    }

    /// `kill -9`, and waits until it is gone: no handler runs, nothing is flushed.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("it runs");
    }
}

/// The settings that control plane and edge share.
pub(super) fn settings(command: &mut Command, redis_url: &str, redis_prefix: &str) {
    command
        .env("AOS_SECRET", hex::encode(SECRET))
        .env("AOS_REDIS_URL", redis_url)
        .env("AOS_REDIS_PREFIX", redis_prefix)
        .env("AOS_LOG", "info")
        .env("AOS_LOG_FORMAT", "json");
}

async fn line_with(lines: &mut Lines<BufReader<ChildStderr>>, message: &str) -> (Value, Vec<Value>) {
    let mut said = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        let parsed: Value = serde_json::from_str(&line).unwrap_or_default();
        if parsed["message"] == message {
            let before = said.iter().filter_map(|line: &String| serde_json::from_str(line).ok());
            return (parsed, before.collect());
        }
        said.push(line);
    }
    panic!("it ended before `{message}`:\n{}", said.join("\n"))
}
