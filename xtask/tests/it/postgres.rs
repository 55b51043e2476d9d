//! Starts that do not go by the book, with the real server.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;
use nix::sys::signal::Signal;
use xtask::interrupt::Interrupt;
use xtask::layout::Layout;
use xtask::process::{Process, RunDir};
use xtask::servers::postgres::{Postgres, STOP_SIGNAL, STOP_WAIT};
use xtask::servers::{find, ports};

/// A directory and a Postgres in it that has not been initialised.
struct Place {
    directory: tempfile::TempDir,
    postgres: Postgres,
}

impl Place {
    fn new() -> Self {
        let layout = Layout::open().expect("a writable clone");
        let places = find::places(&[], "/usr/local/bin:/usr/bin".as_ref(), &layout);
        let program = find::postgres(&places).expect("PostgreSQL; run `cargo xtask test`");
        // Not below the clone: root's account for servers has to get in.
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("our own directory");
        let postgres = Postgres {
            program,
            directory: directory.path().join("postgres"),
            port: ports::free::<1>().expect("a free port")[0],
            password: "secret".into(),
            account: layout.account,
            settings: vec!["fsync=off"],
        };
        Self { directory, postgres }
    }

    fn start(&self) -> Result<Process> {
        let run =
            RunDir::with_launcher(self.directory.path().join("run"), env!("CARGO_BIN_EXE_xtask").into());
        self.postgres.start(&run, &self.directory.path().join("log"), &Interrupt::default())
    }
}

fn stop(mut process: Process) {
    let by_itself = process.stop(STOP_SIGNAL, STOP_WAIT, &Interrupt::default());
    assert!(by_itself.expect("a process of ours"), "it was killed");
}

#[test]
fn a_half_finished_initdb_is_done_again() {
    let place = Place::new();
    let draft = place.directory.path().join("postgres.new");
    fs::create_dir(&draft).unwrap();
    fs::write(draft.join("PG_VERSION"), "15\n").unwrap();
    assert!(place.postgres.init(&Interrupt::default()).unwrap(), "a new cluster");
    assert!(!place.postgres.init(&Interrupt::default()).unwrap(), "the same one");
    assert!(!draft.exists());
}

#[test]
fn a_killed_server_starts_again_and_keeps_its_databases() {
    let place = Place::new();
    let interrupt = Interrupt::default();
    place.postgres.init(&interrupt).unwrap();
    let mut process = place.start().unwrap();
    assert!(place.postgres.create_database("one", &interrupt).unwrap());
    process.stop(Signal::SIGKILL, STOP_WAIT, &interrupt).unwrap();
    // Its lock file is left, and by now the pid may be anybody's: here it is this test's.
    let lock = place.postgres.directory.join("postmaster.pid");
    let text = fs::read_to_string(&lock).unwrap();
    let rest = text.split_once('\n').unwrap().1;
    fs::write(&lock, format!("{}\n{rest}", std::process::id())).unwrap();
    let process = place.start().unwrap();
    assert!(!place.postgres.create_database("one", &interrupt).unwrap(), "it is still there");
    stop(process);
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let place = Place::new();
    place.postgres.init(&Interrupt::default()).unwrap();
    let process = place.start().unwrap();
    let error = format!("{:#}", place.start().unwrap_err());
    assert!(error.contains(&format!("kill -INT {}", process.pid)), "{error}");
    stop(process);
}

#[test]
fn a_start_that_fails_shows_the_servers_own_words() {
    let place = Place::new();
    place.postgres.init(&Interrupt::default()).unwrap();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", place.postgres.port)).unwrap();
    let error = format!("{:#}", place.start().unwrap_err());
    assert!(error.contains("Address already in use"), "{error}");
}

#[test]
fn data_of_another_version_is_left_alone() {
    let place = Place::new();
    fs::create_dir(&place.postgres.directory).unwrap();
    fs::write(place.postgres.directory.join("PG_VERSION"), "9.6\n").unwrap();
    let error = format!("{:#}", place.postgres.init(&Interrupt::default()).unwrap_err());
    assert!(error.contains("was made by PostgreSQL 9.6"), "{error}");
}
