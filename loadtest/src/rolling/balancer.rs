//! A haproxy in front of the fleet, with the settings of `deploy/haproxy/haproxy.cfg`: only addresses differ.

use super::fleet::Member;
use crate::programs::signal;
use crate::stack::ground::free_ports;
use crate::stack::local;
use anyhow::{Context, bail, ensure};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const SETTINGS: &str = include_str!("../../../deploy/haproxy/haproxy.cfg");
const WAIT_FOR: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(50);

/// A running haproxy.
pub(crate) struct Balancer {
    child: Child,
    /// Where clients come.
    pub(crate) addr: SocketAddr,
    socket: PathBuf,
}

impl Balancer {
    /// Starts it on this port over these servers.
    pub(crate) async fn start(
        packages: &Path,
        folder: &Path,
        port: u16,
        members: &[Member],
    ) -> anyhow::Result<Self> {
        let [metrics] = free_ports()?;
        let socket = folder.join("haproxy.sock");
        let file = folder.join("haproxy.cfg");
        std::fs::write(&file, settings(&socket, port, metrics, members)?)?;
        let log = std::fs::File::create(folder.join("haproxy.log"))?;
        let child = Command::new(packages.join("bin/haproxy"))
            .args(["-db", "-f"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start haproxy")?;
        let balancer = Self { child, addr: local(port), socket };
        for member in members {
            if let Some(backend) = member.backend() {
                balancer.serves(backend, member.name()).await?;
            }
        }
        Ok(balancer)
    }

    async fn tell(&self, what: &str) -> anyhow::Result<String> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        stream.write_all(format!("{what}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    async fn status(&self, backend: &str, server: &str) -> anyhow::Result<String> {
        let table = self.tell("show stat").await?;
        let mut lines = table.lines();
        let head = lines.next().context("haproxy shows no servers")?;
        let nth = head.split(',').position(|name| name == "status").context("haproxy shows no status")?;
        let row = lines.find(|line| line.starts_with(&format!("{backend},{server},")));
        let status =
            row.and_then(|row| row.split(',').nth(nth)).context("haproxy does not know the server")?;
        Ok(status.to_owned())
    }

    /// Waits until it sends requests to this server.
    pub(crate) async fn serves(&self, backend: &str, server: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + WAIT_FOR;
        while !self.status(backend, server).await.is_ok_and(|status| status == "UP") {
            ensure!(Instant::now() < deadline, "haproxy does not take {server} as ready");
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Takes a server out, and waits until nothing is in flight to it.
    pub(crate) async fn take_out(&self, backend: &str, server: &str) -> anyhow::Result<()> {
        self.set_state(backend, server, "drain").await?;
        let deadline = Instant::now() + WAIT_FOR;
        loop {
            let table = self.tell(&format!("show servers conn {backend}")).await?;
            let row = table.lines().find(|line| line.starts_with(&format!("{backend}/{server} ")));
            // Name, id, address, port, "-", purge delay, connections in use.
            if row.and_then(|row| row.split_whitespace().nth(6)) == Some("0") {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "haproxy still uses {server}: {table}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Puts a server back.
    pub(crate) async fn put_back(&self, backend: &str, server: &str) -> anyhow::Result<()> {
        self.set_state(backend, server, "ready").await?;
        self.serves(backend, server).await
    }

    async fn set_state(&self, backend: &str, server: &str, state: &str) -> anyhow::Result<()> {
        let answer = self.tell(&format!("set server {backend}/{server} state {state}")).await?;
        if !answer.trim().is_empty() {
            bail!("haproxy says: {}", answer.trim());
        }
        Ok(())
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // What is gone already is gone.
        signal(self.child.id(), libc::SIGTERM).ok();
        self.child.wait().ok();
    }
}

fn settings(socket: &Path, port: u16, metrics: u16, members: &[Member]) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut backend = String::new();
    for line in SETTINGS.lines() {
        if let Some(name) = line.strip_prefix("backend ") {
            name.clone_into(&mut backend);
        }
        let trimmed = line.trim_start();
        if trimmed.starts_with("server ") {
            continue;
        }
        let line = match trimmed {
            _ if trimmed.starts_with("stats socket ") => {
                format!("    stats socket {} mode 600 level admin", socket.display())
            }
            "bind :80" => format!("    bind {}", local(port)),
            "bind 127.0.0.1:8405" => format!("    bind {}", local(metrics)),
            // As many files as a machine for tests allows.
            "maxconn 50000" => "    maxconn 2000".to_owned(),
            _ => line.to_owned(),
        };
        writeln!(text, "{line}")?;
        if trimmed.starts_with("default-server ") {
            for member in members.iter().filter(|member| member.backend() == Some(&backend)) {
                let (addr, admin) = (member.addr(), member.admin().port());
                writeln!(text, "    server {} {addr} port {admin}", member.name())?;
            }
        }
    }
    Ok(text)
}
