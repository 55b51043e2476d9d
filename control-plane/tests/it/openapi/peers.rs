//! What others' programs make of the description: two linters, a fuzzer, two generators of clients. The
//! fuzzer runs longer by hand: `peers/openapi/fuzz.sh`.

use crate::harness::System;
use crate::harness::peers::{program, script, workshop};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;
use std::time::Duration;
use tokio::process::Command;

/// No program here takes longer, on a busy machine either.
const PATIENCE: Duration = Duration::from_mins(8);

async fn run(command: &mut Command) -> String {
    let done = tokio::time::timeout(PATIENCE, command.output()).await;
    let done = done.unwrap_or_else(|_| panic!("{command:?} does not end"));
    let Output { status, stdout, stderr } = done.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{command:?}: {status}\n{said}\n{}", String::from_utf8_lossy(&stderr));
    said
}

/// The description, as a program of ours prints it, in a folder of its own.
async fn described(folder: &Path) {
    let mut print = Command::new(env!("CARGO_BIN_EXE_control-plane"));
    let print = print.arg("openapi").env("AOS_API_ORIGIN", "https://affiliateos.example").kill_on_drop(true);
    std::fs::write(folder.join("openapi.json"), run(print).await).unwrap();
}

#[tokio::test]
async fn linters_find_neither_errors_nor_warnings() {
    let folder = workshop();
    described(folder.path()).await;
    let spectral = program("spectral")
        .args(["lint", "openapi.json", "--fail-severity", "hint", "--ruleset"])
        .arg(script("openapi/spectral.yaml"))
        .current_dir(&folder)
        .output()
        .await
        .unwrap();
    assert!(spectral.status.success(), "{}", String::from_utf8_lossy(&spectral.stdout));
    let redocly = run(program("redocly")
        .args(["lint", "openapi.json", "--format", "json", "--config"])
        .arg(script("openapi/redocly.yaml"))
        .env("REDOCLY_TELEMETRY", "off")
        .current_dir(&folder))
    .await;
    let found: Value = serde_json::from_str(&redocly).unwrap();
    assert_eq!(
        (&found["totals"]["errors"], &found["totals"]["warnings"]),
        (&json!(0), &json!(0)),
        "{redocly}"
    );
}

#[tokio::test]
async fn a_fuzzer_finds_no_reply_that_is_not_described() {
    let (system, folder) = (System::start().await, workshop());
    // Not what chance finds: that is for longer runs by hand.
    let mut fuzz = program("sh");
    fuzz.arg(script("openapi/fuzz.sh")).arg(&system.origin).env("PHASES", "examples,coverage");
    run(fuzz.current_dir(&folder)).await;
}

#[tokio::test]
async fn a_generated_typescript_client_compiles_and_runs_the_quick_start() {
    let (system, folder) = (System::start().await, workshop());
    described(folder.path()).await;
    for name in ["quickstart.ts", "tsconfig.json"] {
        std::fs::copy(script("openapi").join(name), folder.path().join(name)).unwrap();
    }
    std::fs::write(folder.path().join("package.json"), r#"{"type": "module"}"#).unwrap();
    let generate = ["-i", "openapi.json", "-o", "generated", "--silent"];
    run(program("openapi-ts").args(generate).current_dir(&folder)).await;
    run(program("tsc").args(["-p", "."]).current_dir(&folder)).await;
    let mut quickstart = program("tsx");
    quickstart.arg("quickstart.ts").env("AOS_ORIGIN", &system.origin).current_dir(&folder);
    earned(&run(&mut quickstart).await);
}

#[tokio::test]
async fn a_generated_python_client_runs_the_quick_start() {
    let (system, folder) = (System::start().await, workshop());
    described(folder.path()).await;
    let generate = ["generate", "--path", "openapi.json", "--output-path", "client", "--fail-on-warning"];
    run(program("openapi-python-client").args(generate).current_dir(&folder)).await;
    let mut quickstart = program("python");
    quickstart
        .arg(script("openapi/quickstart.py"))
        .env("PYTHONPATH", folder.path().join("client"))
        .env("AOS_ORIGIN", &system.origin);
    earned(&run(&mut quickstart).await);
}

/// 20% of 99.50, approved, for one conversion.
#[track_caller]
fn earned(said: &str) {
    let earned: Value = serde_json::from_str(said.trim()).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(earned, json!({"commission": 19.9, "approved": 19.9, "conversions": 1}));
}
