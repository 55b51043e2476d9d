//! The real programs on a database of their own, killed and started again; [`Process::start`] is for one that
//! runs beside a [`super::TestApp`].

use super::client::Client;
use super::database::{TestDatabase, setting};
use super::pooler::Pooler;
use super::process::{self, Process};
use serde_json::json;
use std::path::Path;
use tokio::process::Command;

/// A database and a Redis prefix on which the programs can be started, killed and started again.
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

    /// A program with the settings that control plane and edge share.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        process::settings(&mut command, &setting("AOS_TEST_REDIS_URL"), &self.prefix);
        command.env("AOS_CLICK_SHARDS", "2");
        command
    }

    /// Starts the control plane's `role`.
    pub(crate) async fn start(&self, role: &str, tracking_origin: &str) -> Process {
        self.start_with(role, tracking_origin, &[]).await
    }

    /// The same with further settings.
    pub(crate) async fn start_with(
        &self,
        role: &str,
        tracking_origin: &str,
        settings: &[(&str, &str)],
    ) -> Process {
        let mut command = self.command(env!("CARGO_BIN_EXE_control-plane").as_ref());
        command.env("AOS_TRACKING_ORIGIN", tracking_origin).env("AOS_SIGNUPS_PER_HOUR", "0");
        command.envs(settings.iter().copied());
        Process::control_plane(command, role, &self.database.url()).await
    }

    /// Starts an edge with one thread and waits until it serves.
    pub(crate) async fn edge(&self, spool: &Path, settings: &[(&str, &str)]) -> Process {
        let edge = Path::new(env!("CARGO_BIN_EXE_control-plane")).with_file_name("tracker-edge");
        assert!(
            edge.exists(),
            "build the edge first, `cargo build -p tracker-edge`, or run `cargo xtask test`"
        );
        let mut command = self.command(&edge);
        command
            .env("AOS_EDGE_ADDR", "127.0.0.1:0")
            .env("AOS_EDGE_ADMIN_ADDR", "127.0.0.1:0")
            .env("AOS_EDGE_SPOOL_DIR", spool)
            .env("AOS_EDGE_THREADS", "1")
            .envs(settings.iter().copied());
        Process::spawn(command, "serving clicks").await
    }

    /// A client of a started control plane.
    pub(crate) fn client(running: &Process, key: Option<&str>) -> Client {
        Self::client_at(&running.origin(), key)
    }

    /// A client of what serves at this origin.
    pub(crate) fn client_at(origin: &str, key: Option<&str>) -> Client {
        // A second installation is refused and changes nothing.
        rustls::crypto::ring::default_provider().install_default().ok();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Client::new(http, origin.to_owned(), key.map(str::to_owned))
    }

    /// Signs an agent up on it.
    pub(crate) async fn agent(running: &Process, name: &str) -> Client {
        let reply = Self::client(running, None).post("/api/auth/signup", json!({"name": name})).await;
        let key = reply.expect(201)["api_key"].as_str().unwrap().to_owned();
        Self::client(running, Some(&key)).known_as(reply.body)
    }
}

/// A control plane in all its roles, and an edge. Dropping it stops and removes both.
pub(crate) struct System {
    /// The API's origin.
    pub(crate) origin: String,
    /// The edge's.
    pub(crate) tracking: String,
    programs: [Process; 2],
    _spool: tempfile::TempDir,
    _site: Site,
}

impl System {
    /// Starts both and waits until they serve.
    pub(crate) async fn start() -> Self {
        Self::on(Site::new().await, &[]).await
    }

    /// The same, with requests of the API going through a pooler.
    pub(crate) async fn start_behind(pooler: &Pooler) -> Self {
        let site = Site::new().await;
        let url = pooler.url(&site.database_url());
        Self::on(site, &[("AOS_DATABASE_POOLER_URL", &url)]).await
    }

    async fn on(site: Site, settings: &[(&str, &str)]) -> Self {
        let spool = tempfile::tempdir().unwrap();
        let edge = site.edge(spool.path(), &[]).await;
        let tracking = edge.origin();
        let api = site.start_with("all", &tracking, settings).await;
        Self { origin: api.origin(), tracking, programs: [api, edge], _spool: spool, _site: site }
    }

    /// Signs an agent up.
    pub(crate) async fn agent(&self, name: &str) -> Client {
        Site::agent(&self.programs[0], name).await
    }
}
