//! `tests/tour.sh`: every documented example, pasted in order, against a real control plane and a real edge.

use crate::harness::System;
use tokio::process::Command;

#[tokio::test]
async fn every_documented_example_gives_the_documented_result() {
    walk(&System::start().await).await;
}

/// The whole tour.
pub(super) async fn walk(system: &System) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tour.sh");
    let walked = Command::new("bash")
        .args([script, &system.origin, &system.tracking])
        .output()
        .await
        .expect("bash starts");
    let (out, err) = (String::from_utf8_lossy(&walked.stdout), String::from_utf8_lossy(&walked.stderr));
    assert!(walked.status.success(), "{out}\n{err}");
    let last = out.lines().last().unwrap_or_default();
    assert!(last.starts_with("tour: ") && last.contains(" calls as documented"), "{out}");
}
