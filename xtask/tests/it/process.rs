//! Children: found again by their pid files, whatever happened to whoever started them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use xtask::interrupt::Interrupt;
use xtask::process::{Found, Process, RunDir, Spec};

/// Starts `sh -c SCRIPT`.
fn start(directory: &Path, script: &str) -> (RunDir, Process) {
    let run = RunDir::with_launcher(directory.join("run"), env!("CARGO_BIN_EXE_xtask").into());
    let process = run.start(Spec {
        name: "child",
        program: Path::new("/bin/sh"),
        args: vec!["-c".into(), script.into()],
        env: vec![("GREETING", "hello".into())],
        log_dir: &directory.join("log"),
        account: None,
    });
    (run, process.expect("a shell"))
}

fn wait_for<T>(mut find: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::yield_now();
    }
}

#[test]
fn the_pid_file_is_there_before_the_program_runs() {
    let directory = tempfile::tempdir().unwrap();
    let script = format!("echo $GREETING $$ $(cat {}/run/child.pid)", directory.path().display());
    let (_, mut process) = start(directory.path(), &script);
    wait_for(|| (!process.alive()).then_some(()));
    let log = fs::read_to_string(directory.path().join("log/child.log")).unwrap();
    assert_eq!(log, format!("hello {0} {0}\n", process.pid));
}

#[test]
fn a_child_is_found_again_and_stopped_by_somebody_else() {
    let directory = tempfile::tempdir().unwrap();
    let (run, mut process) = start(directory.path(), "while :; do sleep 1; done");
    let Found::Running(mut found) = wait_for(|| match run.find("child") {
        Found::Nothing => None,
        found => Some(found),
    }) else {
        panic!("it is not running");
    };
    assert_eq!(found.pid, process.pid);
    assert!(found.stop(Signal::SIGTERM, Duration::from_secs(20), &Interrupt::default()).unwrap());
    assert!(!process.alive());
    assert!(matches!(run.find("child"), Found::Nothing), "its pid file is gone");
}

#[test]
fn a_program_that_is_not_there_says_so_in_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let run = RunDir::with_launcher(directory.path().join("run"), env!("CARGO_BIN_EXE_xtask").into());
    let mut process = run
        .start(Spec {
            name: "child",
            program: Path::new("/nowhere/program"),
            args: Vec::new(),
            env: Vec::new(),
            log_dir: &directory.path().join("log"),
            account: None,
        })
        .unwrap();
    wait_for(|| (!process.alive()).then_some(()));
    let log = fs::read_to_string(directory.path().join("log/child.log")).unwrap();
    assert!(log.contains("cannot start /nowhere/program"), "{log}");
}
