//! What every stack of a run stands on, made once: which servers may be started, our programs, and a
//! database that is migrated already, of which each stack gets a copy.

use super::servers::Postgres;
use crate::programs;
use anyhow::{Context, ensure};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Which servers may be started, as `cargo xtask lab` tells.
#[derive(Clone)]
pub(crate) struct Lab {
    /// The folder of Postgres' programs.
    pub(crate) postgres: PathBuf,
    /// The folder of Redis' programs.
    pub(crate) redis: PathBuf,
    /// The library that fakes the time for a program it is loaded into, where there is one.
    pub(crate) faketime: Option<PathBuf>,
    /// The folder clients that behave badly were unpacked in, where there is one.
    pub(crate) attackers: Option<PathBuf>,
    /// valgrind, if asked for.
    pub(crate) valgrind: Option<PathBuf>,
    /// The folder the edge's rivals were unpacked in, if asked for.
    pub(crate) rivals: Option<PathBuf>,
    /// The folder Prometheus and the exporters were unpacked in, if asked for.
    pub(crate) monitors: Option<PathBuf>,
    /// The folder of the third-party programs, if asked for.
    pub(crate) peers: Option<PathBuf>,
    home: PathBuf,
    account: Option<(u32, u32)>,
}

impl Lab {
    /// Asks; `further` is what is wanted besides Postgres and Redis.
    pub(crate) fn find(further: &[&str]) -> anyhow::Result<Self> {
        let output = Command::new("cargo")
            .args(["xtask", "lab"])
            .args(further)
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo xtask")?;
        ensure!(output.status.success(), "cargo xtask lab failed");
        let text = String::from_utf8(output.stdout)?;
        let line = text.lines().last().context("cargo xtask lab said nothing")?;
        let lab: serde_json::Value = serde_json::from_str(line).context("cargo xtask lab said no JSON")?;
        let path =
            |name: &str| lab[name].as_str().map(PathBuf::from).with_context(|| format!("no {name} in {lab}"));
        let number = |name: &str| lab[name].as_u64().and_then(|number| u32::try_from(number).ok());
        Ok(Self {
            postgres: path("postgres")?,
            redis: path("redis")?,
            faketime: lab["faketime"].as_str().map(PathBuf::from),
            attackers: lab["attackers"].as_str().map(PathBuf::from),
            valgrind: lab["valgrind"].as_str().map(PathBuf::from),
            rivals: lab["rivals"].as_str().map(PathBuf::from),
            monitors: lab["monitors"].as_str().map(PathBuf::from),
            peers: lab["peers"].as_str().map(PathBuf::from),
            home: path("home")?,
            account: number("uid").zip(number("gid")),
        })
    }

    /// A new folder for one run, below where data may go.
    pub(crate) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.home.join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).context("cannot make the run's folder")?;
        Ok(folder)
    }

    /// What makes a program take its time from a file.
    pub(crate) fn clock_env(&self, file: &Path) -> anyhow::Result<[(&'static str, String); 4]> {
        let library = self.faketime.as_ref().context("libfaketime is not on this machine")?;
        Ok([
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            // Waits and time-outs go on as ever.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ])
    }

    /// A command that runs as the servers' account.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((uid, gid)) = self.account {
            command.uid(uid).gid(gid);
        }
        // A group of their own: Ctrl-C in the terminal is for this program, which then stops them.
        command.stdin(Stdio::null()).process_group(0);
        command
    }

    /// Hands a file or folder to the servers' account.
    pub(crate) fn give(&self, path: &Path) -> anyhow::Result<()> {
        if let Some((uid, gid)) = self.account {
            std::os::unix::fs::chown(path, Some(uid), Some(gid))
                .context("cannot hand a folder to the servers")?;
        }
        Ok(())
    }
}

/// Everything stacks share.
pub(crate) struct Ground {
    /// The servers.
    pub(crate) lab: Lab,
    /// The folder of our programs.
    pub(crate) binaries: PathBuf,
    /// The data folder every Postgres begins as a copy of: initialised and migrated.
    pub(crate) template: PathBuf,
    folder: PathBuf,
}

impl Ground {
    /// Finds the servers and what is wanted besides, builds our programs, and migrates the database to be copied.
    pub(crate) async fn prepare(further: &[&str]) -> anyhow::Result<Arc<Self>> {
        let lab = Lab::find(further)?;
        let binaries = programs::build()?;
        let folder = lab.folder("load")?;
        let ground = Self { template: folder.join("template"), folder, lab, binaries };
        let [port] = free_ports()?;
        let mut postgres = Postgres::new(&ground.lab, &ground.template, port, &[]);
        postgres.init()?;
        postgres.start()?;
        postgres.ready().await?;
        ground.migrate(&postgres)?;
        postgres.stop()?;
        Ok(Arc::new(ground))
    }

    /// Brings a database to this version's schema.
    pub(crate) fn migrate(&self, postgres: &Postgres) -> anyhow::Result<()> {
        let status = Command::new(self.binaries.join("control-plane"))
            .args(["migrate", "--database-url", &postgres.url(), "--redis-url", "redis://127.0.0.1:1/"])
            .args(["--secret", &"5e".repeat(32), "--log", "warn"])
            .stdin(Stdio::null())
            .status()
            .context("cannot run the migrations")?;
        ensure!(status.success(), "the migrations failed");
        Ok(())
    }

    /// A new folder for one stack.
    pub(crate) fn folder(&self, nth: u32) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join(nth.to_string());
        std::fs::create_dir_all(&folder).context("cannot make a stack's folder")?;
        Ok(folder)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.template).ok();
        // Left where it is when the folder of a stack was kept in it.
        std::fs::remove_dir(&self.folder).ok();
    }
}

/// Below the ports that the kernel takes for outgoing connections: one of those could be taken between a look at
/// it and the server that is to have it.
const PORTS: std::ops::Range<u16> = 12_000..32_000;
const PORT_TRIES: usize = 1_000;

/// Ports that nobody listens on.
pub(crate) fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = (0..PORT_TRIES).find_map(|_| {
            let nth = shared::LinkKey::generate().0 % u64::from(PORTS.end - PORTS.start);
            TcpListener::bind(("127.0.0.1", PORTS.start + nth as u16)).ok()
        });
        let listener = listener.context("no free port")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}
