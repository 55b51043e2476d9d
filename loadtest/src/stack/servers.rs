//! A Postgres and a Redis of our own, as child processes that can be killed, stopped, filled up, and
//! started again. Each ends with this program.

use super::ground::{Lab, free_ports};
use crate::programs::signal;
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_FOR: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(25);

fn log_to(path: &Path) -> anyhow::Result<Stdio> {
    let file =
        std::fs::OpenOptions::new().create(true).append(true).open(path).context("cannot open a log")?;
    Ok(file.into())
}

/// A Postgres.
pub(crate) struct Postgres {
    lab: Lab,
    data: PathBuf,
    log: PathBuf,
    port: u16,
    settings: Vec<String>,
    child: Option<Child>,
}

impl Postgres {
    /// A server on this folder, not started yet; `settings` are like `fsync=off`.
    pub(crate) fn new(lab: &Lab, data: &Path, port: u16, settings: &[String]) -> Self {
        Self {
            lab: lab.clone(),
            data: data.to_owned(),
            log: data.with_extension("log"),
            port,
            settings: settings.to_vec(),
            child: None,
        }
    }

    /// Its port on loopback.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// What it writes down.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Where its database is.
    pub(crate) fn url(&self) -> String {
        format!("postgres://aos@127.0.0.1:{}/postgres", self.port)
    }

    /// Makes an empty data folder.
    pub(crate) fn init(&self) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.data).context("cannot make the data folder")?;
        self.lab.give(&self.data)?;
        let log = self.data.with_extension("initdb.log");
        let made = self
            .lab
            .command(&self.lab.postgres.join("initdb"))
            .args(["--username", "aos", "--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync"])
            .arg("--pgdata")
            .arg(&self.data)
            .stdout(log_to(&log)?)
            .status()
            .context("cannot run initdb")?;
        ensure!(made.success(), "initdb failed; see {}", log.display());
        Ok(())
    }

    /// Begins as a copy of another's data, which must be stopped.
    pub(crate) fn copy(&self, other: &Path) -> anyhow::Result<()> {
        let copied =
            Command::new("cp").arg("-a").arg(other).arg(&self.data).status().context("cannot run cp")?;
        ensure!(copied.success(), "cannot copy {}", other.display());
        Ok(())
    }

    /// Leaves a copy of its data, which begins another later; it must be stopped.
    pub(crate) fn copy_to(&self, other: &Path) -> anyhow::Result<()> {
        let copied =
            Command::new("cp").arg("-a").arg(&self.data).arg(other).status().context("cannot run cp")?;
        ensure!(copied.success(), "cannot copy to {}", other.display());
        Ok(())
    }

    /// Starts it on the data it has.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        // A killed server leaves its lock file; its process is gone, we waited for it.
        std::fs::remove_file(self.data.join("postmaster.pid")).ok();
        let mut command = self.lab.command(&self.lab.postgres.join("postgres"));
        command.arg("-D").arg(&self.data).args(["-p", &self.port.to_string()]);
        let fixed =
            ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200", "jit=off"];
        for setting in fixed.into_iter().chain(self.settings.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        let child = command.stdout(log_to(&self.log)?).stderr(log_to(&self.log)?).spawn();
        self.child = Some(child.context("cannot start Postgres")?);
        Ok(())
    }

    /// Waits until it takes connections.
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_FOR;
        while sqlx::PgPool::connect(&self.url()).await.is_err() {
            ensure!(Instant::now() < deadline, "Postgres did not start; see {}", self.log.display());
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Stops it in order; everything is on disk afterwards.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        // SIGINT ends all connections and shuts down cleanly.
        self.end(libc::SIGINT)
    }

    /// Ends it like a power cut would: at once, with all its backends.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.signal(libc::SIGKILL)?;
        self.end(libc::SIGKILL)
    }

    fn end(&mut self, how: i32) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            signal(child.id(), how).ok();
            child.wait().context("cannot wait for Postgres")?;
        }
        Ok(())
    }

    /// Sends a signal to it and all its backends.
    pub(crate) fn signal(&self, what: i32) -> anyhow::Result<()> {
        let leader = self.child.as_ref().context("Postgres does not run")?.id();
        let children =
            std::fs::read_to_string(format!("/proc/{leader}/task/{leader}/children")).unwrap_or_default();
        for child in children.split_whitespace() {
            // A backend may end by itself in between.
            signal(child.parse()?, what).ok();
        }
        signal(leader, what)
    }

    /// A backup of it, while it runs: a folder another server can start on. `further` are arguments of
    /// `pg_basebackup`.
    pub(crate) fn back_up(&self, to: &Path, further: &[&str]) -> anyhow::Result<()> {
        let log = to.with_extension("backup.log");
        // It makes the folder itself, in one that it may write to.
        if let Some(parent) = to.parent() {
            self.lab.give(parent)?;
        }
        let done = self
            .lab
            .command(&self.lab.postgres.join("pg_basebackup"))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "aos", "-c", "fast", "--no-sync"])
            .arg("-D")
            .arg(to)
            .args(further)
            .stderr(log_to(&log)?)
            .status()
            .context("cannot run pg_basebackup")?;
        ensure!(done.success(), "pg_basebackup failed; see {}", log.display());
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT is its immediate stop: it takes its backends along. A stopped one hears nothing else.
        self.signal(libc::SIGCONT).ok();
        self.end(libc::SIGQUIT).ok();
    }
}

/// A Redis.
pub(crate) struct Redis {
    lab: Lab,
    log: PathBuf,
    port: u16,
    arguments: Vec<String>,
    /// `user:password@`, where its users have passwords.
    login: String,
    child: Option<Child>,
}

impl Redis {
    /// A server that keeps nothing on disk unless `arguments` say so; not started yet.
    pub(crate) fn new(lab: &Lab, folder: &Path, arguments: &[String]) -> anyhow::Result<Self> {
        let [port] = free_ports()?;
        Ok(Self {
            lab: lab.clone(),
            log: folder.join("redis.log"),
            port,
            arguments: arguments.to_vec(),
            login: String::new(),
            child: None,
        })
    }

    /// The same, and whom to log in as: `user:password@`.
    pub(crate) fn with_login(mut self, login: &str) -> Self {
        login.clone_into(&mut self.login);
        self
    }

    /// Its port on loopback.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Its process id, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts it.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        let child = self
            .lab
            .command(&self.lab.redis.join("redis-server"))
            .args([
                "--port",
                &self.port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .args(["--maxmemory-policy", "noeviction", "--dir", "/"])
            .args(&self.arguments)
            .stdout(log_to(&self.log)?)
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start Redis")?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until it answers.
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_FOR;
        while self.connect().await.is_err() {
            ensure!(Instant::now() < deadline, "Redis did not start; see {}", self.log.display());
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// A connection for commands to it, past any proxy.
    pub(crate) async fn connect(&self) -> anyhow::Result<redis::aio::MultiplexedConnection> {
        let client = redis::Client::open(format!("redis://{}127.0.0.1:{}/", self.login, self.port))?;
        client.get_multiplexed_async_connection().await.context("cannot reach Redis")
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().context("cannot kill Redis")?;
            child.wait().context("cannot wait for Redis")?;
        }
        Ok(())
    }

    /// Sends it a signal: SIGSTOP makes it a peer that is there and says nothing.
    pub(crate) fn signal(&self, what: i32) -> anyhow::Result<()> {
        signal(self.child.as_ref().context("Redis does not run")?.id(), what)
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.as_mut().map_or(Ok(None), Child::try_wait)?.is_some())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill().ok();
    }
}
