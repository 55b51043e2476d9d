//! The programs of a fleet, each restarted on its own, with the binaries it is told.

use super::stores::Stores;
use crate::programs::Program;
use crate::stack::ground::free_ports;
use crate::stack::{SECRET, SHARDS, local};
use anyhow::{Context, ensure};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between a stop and the end of taking requests: haproxy asks every second and believes the second answer.
const DRAIN_DELAY_MS: u32 = 4_000;
const STOP_FOR: Duration = Duration::from_secs(40);

/// What a member does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// An edge.
    Edge,
    /// API, drainer and jobs.
    All,
    /// The API alone.
    Serve,
    /// The drainer alone.
    Drain,
    /// The jobs alone.
    Work,
}

impl Part {
    const fn program(self) -> &'static str {
        match self {
            Self::Edge => "tracker-edge",
            Self::All => "control-plane",
            Self::Serve => "control-plane serve",
            Self::Drain => "control-plane drain",
            Self::Work => "control-plane work",
        }
    }
}

/// One process of the fleet.
pub(crate) struct Member {
    name: String,
    part: Part,
    folder: PathBuf,
    addr: SocketAddr,
    admin: SocketAddr,
    env: Vec<(&'static str, String)>,
    program: Option<Program>,
}

impl Member {
    /// One that is not started.
    pub(crate) fn new(name: &str, part: Part, folder: &Path) -> anyhow::Result<Self> {
        let [port, admin] = free_ports()?;
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).context("cannot make a member's folder")?;
        Ok(Self {
            name: name.to_owned(),
            part,
            folder,
            addr: local(port),
            admin: local(admin),
            env: Vec::new(),
            program: None,
        })
    }

    /// Its settings; `origin` is where clients reach the fleet.
    pub(crate) fn settle(&mut self, stores: &Stores, origin: &str) {
        let edge = self.part == Part::Edge;
        self.env = vec![
            ("AOS_SECRET", SECRET.to_owned()),
            ("AOS_CLICK_SHARDS", SHARDS.to_string()),
            ("AOS_LOG", "info".to_owned()),
            ("AOS_REDIS_URL", stores.redis_url(edge)),
        ];
        let further = if edge {
            vec![
                ("AOS_EDGE_ADDR", self.addr.to_string()),
                ("AOS_EDGE_ADMIN_ADDR", self.admin.to_string()),
                ("AOS_EDGE_SPOOL_DIR", self.folder.join("spool").display().to_string()),
                ("AOS_EDGE_SPOOL_MIB", "256".to_owned()),
                ("AOS_EDGE_THREADS", "1".to_owned()),
                // One that cannot ship leaves what it has to its next start.
                ("AOS_EDGE_GRACE_MS", "4000".to_owned()),
                ("AOS_EDGE_DRAIN_DELAY_MS", DRAIN_DELAY_MS.to_string()),
                ("AOS_EDGE_TRUSTED_PROXIES", "127.0.0.0/8".to_owned()),
            ]
        } else {
            vec![
                ("AOS_DATABASE_URL", stores.database_url("affiliateos_app")),
                ("AOS_ADDR", self.addr.to_string()),
                ("AOS_ADMIN_ADDR", self.admin.to_string()),
                ("AOS_API_ORIGIN", origin.to_owned()),
                ("AOS_TRACKING_ORIGIN", origin.to_owned()),
                ("AOS_TRUSTED_PROXIES", "127.0.0.0/8".to_owned()),
                ("AOS_SIGNUPS_PER_HOUR", "0".to_owned()),
                ("AOS_DRAIN_DELAY_MS", DRAIN_DELAY_MS.to_string()),
            ]
        };
        self.env.extend(further);
    }

    /// Starts it with these binaries and waits until it is ready.
    pub(crate) async fn start(&mut self, binaries: &Path) -> anyhow::Result<()> {
        let program = Program::new(self.part.program(), binaries, &self.folder, self.admin, &self.env);
        let program = self.program.insert(program);
        program.start()?;
        program.ready().await
    }

    /// SIGTERM, and waits for a clean end.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        let mut program = self.program.take().context("it does not run")?;
        program.signal(libc::SIGTERM)?;
        let code = program.ended_within(STOP_FOR).await?;
        ensure!(code == Some(0), "{} ended with {code:?}", self.name);
        Ok(())
    }

    /// Its process.
    pub(crate) fn program(&self) -> anyhow::Result<&Program> {
        self.program.as_ref().with_context(|| format!("{} does not run", self.name))
    }

    /// How the balancer knows it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it does.
    pub(crate) const fn part(&self) -> Part {
        self.part
    }

    /// The balancer's group it belongs to.
    pub(crate) const fn backend(&self) -> Option<&'static str> {
        match self.part {
            Part::Edge => Some("edges"),
            Part::All | Part::Serve => Some("api"),
            Part::Drain | Part::Work => None,
        }
    }

    /// Where it takes requests.
    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it is looked at.
    pub(crate) const fn admin(&self) -> SocketAddr {
        self.admin
    }
}
