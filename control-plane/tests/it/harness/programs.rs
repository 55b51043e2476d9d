//! The programs themselves, as processes over a database of their own: for peers that are programs too.

use super::program::{Running, Site};
use std::path::Path;
use std::process::Command;

/// A control plane in all its roles, and an edge. Dropping it stops and removes both.
pub(crate) struct System {
    /// The API's origin.
    pub(crate) origin: String,
    /// The edge's.
    pub(crate) tracking: String,
    _programs: [Running; 2],
    _spool: tempfile::TempDir,
    _site: Site,
}

impl System {
    /// Starts both and waits until they serve.
    pub(crate) async fn start() -> Self {
        let site = Site::new().await;
        // They are waited for on a thread that may wait.
        tokio::task::spawn_blocking(|| Self::start_on(site)).await.expect("the programs start")
    }

    fn start_on(site: Site) -> Self {
        let spool = tempfile::tempdir().unwrap();
        let edge = Path::new(env!("CARGO_BIN_EXE_control-plane")).with_file_name("tracker-edge");
        assert!(
            edge.exists(),
            "build the edge first, `cargo build -p tracker-edge`, or run `cargo xtask test`"
        );
        let mut command = Command::new(edge);
        site.settings(&mut command)
            .env("AOS_EDGE_ADDR", "127.0.0.1:0")
            .env("AOS_EDGE_ADMIN_ADDR", "127.0.0.1:0")
            .env("AOS_EDGE_SPOOL_DIR", spool.path())
            .env("AOS_EDGE_THREADS", "1");
        let edge = Running::start(&mut command, "serving clicks");
        let tracking = format!("http://{}", edge.addr);
        let api = site.start("all", &tracking);
        let origin = format!("http://{}", api.addr);
        Self { origin, tracking, _programs: [api, edge], _spool: spool, _site: site }
    }
}
