//! A private Postgres: own data, own port, own socket directory.
//!
//! Must stay true: `directory` exists only after a complete `initdb`. It is made under another name
//! and renamed at the end, so one that was cut short is never mistaken for a cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::find::Program;
use crate::account::{self, Account};
use crate::interrupt::Interrupt;
use crate::layout;
use crate::process::{Process, RunDir, Spec, describe, tail};
use crate::progress::note;

pub const NAME: &str = "postgres";
/// The superuser of the private cluster.
pub const USER: &str = "aos";
/// Crash recovery of a busy cluster takes a while; a healthy one starts in a second.
const START_WAIT: Duration = Duration::from_mins(2);
/// A fast shutdown writes a checkpoint.
pub const STOP_WAIT: Duration = Duration::from_secs(30);
/// SIGINT: do not wait for clients, shut down cleanly.
pub const STOP_SIGNAL: Signal = Signal::SIGINT;
/// `sun_path` holds 108 bytes with its end; the socket's name and a port take 20 of them.
const SOCKET_DIR_BYTES_MAX: usize = 85;

/// One private instance.
#[derive(Clone, Debug)]
pub struct Postgres {
    pub program: Program,
    pub directory: PathBuf,
    pub port: u16,
    pub password: String,
    pub account: Option<Account>,
    /// Further settings, as `name=value`.
    pub settings: Vec<&'static str>,
}

impl Postgres {
    /// What a client connects to over TCP.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// What a client on this machine connects to: the Unix socket where its path is short enough.
    pub fn local_url(&self, database: &str) -> String {
        match self.socket_dir() {
            Some(directory) => format!(
                "postgres://{USER}:{}@localhost:{}/{database}?host={}",
                self.password,
                self.port,
                percent_encode(&directory.display().to_string())
            ),
            None => self.url(database),
        }
    }

    /// Where the socket lies. Paths longer than the kernel takes mean TCP only.
    fn socket_dir(&self) -> Option<PathBuf> {
        let directory = self.directory.with_extension("sock");
        (directory.as_os_str().len() <= SOCKET_DIR_BYTES_MAX).then_some(directory)
    }

    /// Makes the cluster if there is none yet. Returns whether it made one.
    pub fn init(&self, interrupt: &Interrupt) -> Result<bool> {
        let draft = self.directory.with_extension("new");
        if draft.exists() {
            note("  ! an earlier initdb was cut short: starting it again");
            fs::remove_dir_all(&draft).with_context(|| format!("cannot remove {}", draft.display()))?;
        }
        if self.directory.exists() {
            self.check_version()?;
            return Ok(false);
        }
        layout::create_private_dir(&draft, self.account.as_ref())?;
        let password = draft.with_extension("password");
        layout::write_private(&password, &self.password)?;
        account::give(&password, self.account.as_ref())?;
        let made = self.initdb(&draft, &password, interrupt);
        fs::remove_file(&password).with_context(|| format!("cannot remove {}", password.display()))?;
        made?;
        fs::rename(&draft, &self.directory)
            .with_context(|| format!("cannot rename {} to {}", draft.display(), self.directory.display()))?;
        Ok(true)
    }

    fn initdb(&self, directory: &Path, password: &Path, interrupt: &Interrupt) -> Result<()> {
        let mut command = self.command("initdb");
        command
            .args(["--username", USER, "--encoding", "UTF8", "--no-locale", "--no-sync", "--no-instructions"])
            // The password travels in clear over loopback, checked by the server against its salted
            // hash. SCRAM would have every client of an unoptimised test build hash 4,096 times a connect.
            .args(["--auth", "password"])
            .arg("--pwfile")
            .arg(password)
            .arg("--pgdata")
            .arg(directory);
        let output = run(command, interrupt)?;
        anyhow::ensure!(output.status.success(), "initdb failed:\n{}", text_of(&output));
        Ok(())
    }

    /// A cluster belongs to one major version.
    fn check_version(&self) -> Result<()> {
        let path = self.directory.join("PG_VERSION");
        let version = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        anyhow::ensure!(
            version.trim() == self.program.major.to_string(),
            "the data in {} was made by PostgreSQL {}, and only {} was found here. Install the former, or \
             start over with `cargo xtask down --wipe`",
            self.directory.display(),
            version.trim(),
            self.program.version
        );
        Ok(())
    }

    /// Starts it and waits until it takes connections.
    pub fn start(&self, run_dir: &RunDir, log_dir: &Path, interrupt: &Interrupt) -> Result<Process> {
        self.clear_stale_lock()?;
        let mut settings = vec!["listen_addresses=127.0.0.1".to_owned(), format!("port={}", self.port)];
        match self.socket_dir() {
            Some(directory) => {
                layout::create_dir(&directory)?;
                account::give(&directory, self.account.as_ref())?;
                settings.push(format!("unix_socket_directories={}", directory.display()));
            }
            None => settings.push("unix_socket_directories=".to_owned()),
        }
        settings.extend(self.settings.iter().map(|setting| (*setting).to_owned()));
        let mut args = vec!["-D".to_owned(), self.directory.display().to_string()];
        args.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
        let mut process = run_dir.start(Spec {
            name: NAME,
            program: &self.program.tool("postgres"),
            args,
            env: Vec::new(),
            log_dir,
            account: self.account.as_ref(),
        })?;
        let deadline = Instant::now() + START_WAIT;
        while !self.is_ready(process.pid) {
            let gone = !process.alive();
            if gone || interrupt.requested() || Instant::now() > deadline {
                process.stop(STOP_SIGNAL, STOP_WAIT, interrupt)?;
                interrupt.check()?;
                let log = log_dir.join("postgres.log");
                bail!("PostgreSQL did not start; the end of {}:\n{}", log.display(), tail(&log, 8));
            }
            std::thread::sleep(crate::interrupt::TICK);
        }
        Ok(process)
    }

    /// Whether it takes connections, by its own lock file: line 1 is the pid, line 8 the state.
    pub fn is_ready(&self, pid: u32) -> bool {
        let text = fs::read_to_string(self.lock_file()).unwrap_or_default();
        let mut lines = text.lines();
        lines.next().and_then(|line| line.trim().parse().ok()) == Some(pid)
            && lines.nth(6).is_some_and(|state| state.trim() == "ready")
    }

    fn lock_file(&self) -> PathBuf {
        self.directory.join("postmaster.pid")
    }

    /// Removes a lock file whose process is gone or is something else by now: Postgres itself would
    /// refuse to start if the pid had been taken over by another program of the same account.
    fn clear_stale_lock(&self) -> Result<()> {
        let path = self.lock_file();
        let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
        let pid = text.lines().next().and_then(|line| line.trim().parse::<u32>().ok());
        // A postmaster's working directory is its data directory.
        let same = |pid: u32| {
            fs::read_link(format!("/proc/{pid}/cwd"))
                .is_ok_and(|cwd| Some(cwd) == self.directory.canonicalize().ok())
        };
        if let Some(pid) = pid.filter(|pid| same(*pid)) {
            bail!(
                "a PostgreSQL that we have no pid file of already runs on {}: process {pid}, {}. \
                 Stop it with `kill -INT {pid}`",
                self.directory.display(),
                describe(pid)
            );
        }
        note("  ! PostgreSQL was not shut down last time: it will recover by itself");
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }

    /// Creates a database unless it exists. Returns whether it did.
    pub fn create_database(&self, name: &str, interrupt: &Interrupt) -> Result<bool> {
        let mut probe = self.client("psql");
        probe.args(["--dbname", name, "--no-psqlrc", "--quiet", "--command", ""]);
        if run(probe, interrupt)?.status.success() {
            return Ok(false);
        }
        let mut create = self.client("createdb");
        create.args(["--maintenance-db", "postgres", name]);
        let output = run(create, interrupt)?;
        anyhow::ensure!(output.status.success(), "cannot create the database {name}:\n{}", text_of(&output));
        Ok(true)
    }

    /// A client program, told where the server is.
    pub fn client(&self, tool: &str) -> Command {
        let mut command = Command::new(self.program.tool(tool));
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", USER)
            .env("PGPASSWORD", &self.password);
        command
    }

    /// A server program, run as the servers' account from a directory it may be in.
    fn command(&self, tool: &str) -> Command {
        let mut command = Command::new(self.program.tool(tool));
        command.current_dir("/").env_remove("PGDATA");
        account::run_as(&mut command, self.account.as_ref());
        command
    }
}

/// Runs a short program to its end, out of the terminal's reach, so that Ctrl-C stops it in order.
fn run(mut command: Command, interrupt: &Interrupt) -> Result<std::process::Output> {
    use std::os::unix::process::CommandExt;
    interrupt.check()?;
    let output = command
        .process_group(0)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    interrupt.check()?;
    Ok(output)
}

fn text_of(output: &std::process::Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text.trim().to_owned()
}

/// For a path inside a URL's query.
fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_safe_inside_a_url() {
        assert_eq!(percent_encode("/home/me/a b&c"), "/home/me/a%20b%26c");
    }

    #[test]
    fn a_long_path_falls_back_to_tcp() {
        let mut postgres = Postgres {
            program: Program { directory: PathBuf::new(), version: String::new(), major: 15 },
            directory: PathBuf::from("/short/postgres"),
            port: 5432,
            password: "p".into(),
            account: None,
            settings: Vec::new(),
        };
        assert_eq!(postgres.local_url("d"), "postgres://aos:p@localhost:5432/d?host=/short/postgres.sock");
        postgres.directory = PathBuf::from(format!("/{}/postgres", "x".repeat(100)));
        assert_eq!(postgres.local_url("d"), "postgres://aos:p@127.0.0.1:5432/d");
    }
}
