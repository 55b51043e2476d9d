//! A private Redis: transport and cache, so it keeps nothing on disk.
//!
//! `noeviction` because a stream that loses entries silently would lose clicks; no snapshot and no
//! append-only file because the edge's spool and Postgres are the durable copies.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::find::Program;
use crate::account::{self, Account};
use crate::interrupt::Interrupt;
use crate::layout;
use crate::process::{Process, RunDir, Spec, tail};

pub const NAME: &str = "redis";
/// It holds no data on disk, so a start is a matter of milliseconds.
const START_WAIT: Duration = Duration::from_secs(20);
/// Nothing to save, so nothing to wait for.
pub const STOP_WAIT: Duration = Duration::from_secs(5);

/// One private instance.
#[derive(Clone, Debug)]
pub struct Redis {
    pub program: Program,
    pub directory: PathBuf,
    pub port: u16,
    pub password: String,
    pub account: Option<Account>,
}

impl Redis {
    /// What a client connects to.
    pub fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}/", self.password, self.port)
    }

    /// Starts it and waits until it answers.
    pub fn start(&self, run: &RunDir, log_dir: &Path, interrupt: &Interrupt) -> Result<Process> {
        layout::create_private_dir(&self.directory, self.account.as_ref())?;
        let settings = self.directory.join("redis.conf");
        layout::write_private(&settings, &self.settings())?;
        account::give(&settings, self.account.as_ref())?;
        let mut process = run.start(Spec {
            name: NAME,
            program: &self.program.tool("redis-server"),
            args: vec![settings.display().to_string()],
            env: Vec::new(),
            log_dir,
            account: self.account.as_ref(),
        })?;
        let deadline = Instant::now() + START_WAIT;
        while !self.answers() {
            let gone = !process.alive();
            if gone || interrupt.requested() || Instant::now() > deadline {
                process.stop(Signal::SIGTERM, STOP_WAIT, interrupt)?;
                interrupt.check()?;
                let log = log_dir.join("redis.log");
                bail!("Redis did not start; the end of {}:\n{}", log.display(), tail(&log, 8));
            }
            std::thread::sleep(crate::interrupt::TICK);
        }
        Ok(process)
    }

    fn settings(&self) -> String {
        // The password is here and not on the command line, where everybody could read it.
        format!(
            "bind 127.0.0.1\nport {}\nprotected-mode yes\nrequirepass {}\n\
             save \"\"\nappendonly no\nmaxmemory-policy noeviction\n\
             dir \"{}\"\ndaemonize no\nlogfile \"\"\n",
            self.port,
            self.password,
            self.directory.display()
        )
    }

    /// Whether it answers PING under our password; another Redis on the port would not.
    pub fn answers(&self) -> bool {
        self.ping().is_ok_and(|reply| reply.trim_end() == "+PONG")
    }

    fn ping(&self) -> Result<String> {
        let wait = Duration::from_secs(1);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut stream = TcpStream::connect_timeout(&address, wait).context("cannot connect")?;
        stream.set_read_timeout(Some(wait)).context("cannot set a time-out")?;
        stream.write_all(format!("AUTH {}\r\nPING\r\n", self.password).as_bytes()).context("cannot write")?;
        let mut lines = BufReader::new(stream).lines();
        lines.next().context("no reply")?.context("cannot read")?;
        lines.next().context("no reply")?.context("cannot read")
    }
}
