//! The program itself, as a process of its own on a test's database: for what only shows between processes.

use super::TestApp;
use secrecy::ExposeSecret;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Nothing a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `control-plane`; dropping it kills it.
pub(crate) struct Process {
    child: Child,
    origin: Option<String>,
}

impl Process {
    /// `control-plane COMMAND` on the database, under the Redis prefix and with the secret of a test's app;
    /// returns when it listens.
    pub(crate) async fn start(app: &TestApp, command: &str) -> Self {
        let config = app.app.config();
        let mut child = Command::new(env!("CARGO_BIN_EXE_control-plane"))
            .arg(command)
            .env("AOS_DATABASE_URL", config.database_url.expose_secret())
            .env("AOS_REDIS_URL", config.redis_url.expose_secret())
            .env("AOS_REDIS_PREFIX", &config.redis_prefix)
            .env("AOS_SECRET", hex::encode([42; 32]))
            .env("AOS_ADDR", "127.0.0.1:0")
            // The tests' Postgres does not sync to disk.
            .env("AOS_ALLOW_UNSAFE_DATABASE", "true")
            .env("AOS_ADMIN_ADDR", "127.0.0.1:0")
            .env("AOS_EGRESS_ALLOW", "127.0.0.0/8")
            .env("AOS_DB_API_CONNECTIONS", "8")
            .env("AOS_LOG", "info")
            .env("AOS_LOG_FORMAT", "json")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let wanted = if command == "work" { "admin listens" } else { "api listens" };
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (said, mut lines) = tokio::sync::mpsc::channel(256);
        // Read to the end, so that the program never waits for a full pipe.
        for reader in [Box::new(out) as Box<dyn tokio::io::AsyncRead + Send + Unpin>, Box::new(err)] {
            let said = said.clone();
            tokio::spawn(async move {
                let mut text = BufReader::new(reader).lines();
                while let Ok(Some(line)) = text.next_line().await {
                    // Nobody listens any more once it runs.
                    said.try_send(line).ok();
                }
            });
        }
        drop(said);
        let listening = async {
            while let Some(line) = lines.recv().await {
                if line.contains(wanted) {
                    return address(&line);
                }
                assert!(!line.contains("\"ERROR\""), "{line}");
            }
            panic!("the program ended");
        };
        let addr = tokio::time::timeout(PATIENCE, listening).await.expect("the program listens");
        Self { child, origin: addr.map(|addr| format!("http://{addr}")) }
    }

    /// Where it serves.
    pub(crate) fn origin(&self) -> &str {
        self.origin.as_deref().expect("it says where it listens")
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("it runs");
    }
}

/// `addr` of a line of the log.
fn address(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("\"addr\":\"")?;
    rest.split_once('"').map(|(addr, _)| addr.to_owned())
}
