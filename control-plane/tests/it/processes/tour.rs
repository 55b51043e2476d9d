//! `tests/tour.sh`: every documented example, pasted in order, against a real control plane and a real edge.

use crate::harness::{Running, Site};
use std::path::Path;
use std::process::Command;

#[tokio::test]
async fn every_documented_example_gives_the_documented_result() {
    let site = Site::new().await;
    let spool = tempfile::tempdir().unwrap();
    let edge = Path::new(env!("CARGO_BIN_EXE_control-plane")).with_file_name("tracker-edge");
    assert!(edge.exists(), "build the edge first, `cargo build -p tracker-edge`, or run `cargo xtask test`");
    let mut command = Command::new(edge);
    site.settings(&mut command)
        .env("AOS_EDGE_ADDR", "127.0.0.1:0")
        .env("AOS_EDGE_ADMIN_ADDR", "127.0.0.1:0")
        .env("AOS_EDGE_SPOOL_DIR", spool.path())
        .env("AOS_EDGE_THREADS", "1");
    let edge = Running::start(&mut command, "serving clicks");
    let tracking = format!("http://{}", edge.addr);
    let api = site.start("all", &tracking);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tour.sh");
    let walked = Command::new("bash")
        .args([script, &format!("http://{}", api.addr), &tracking])
        .output()
        .expect("bash starts");
    let (out, err) = (String::from_utf8_lossy(&walked.stdout), String::from_utf8_lossy(&walked.stderr));
    assert!(walked.status.success(), "{out}\n{err}");
    let last = out.lines().last().unwrap_or_default();
    assert!(last.starts_with("tour: ") && last.contains(" calls as documented"), "{out}");
}
