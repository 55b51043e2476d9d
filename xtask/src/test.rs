//! `cargo xtask test`: every test, against throwaway servers.
//!
//! Must stay true: the servers are stopped whatever happens. After a failure or Ctrl-C this program
//! does it; after `kill -9` of this program the next `test`, or `down`, finds them by their pid files.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cargo::Cargo;
use crate::interrupt::Interrupt;
use crate::layout::{self, Layout};
use crate::peers;
use crate::process::{self, Found, RunDir};
use crate::progress::{Step, say};
use crate::servers::postgres::Postgres;
use crate::servers::redis::Redis;
use crate::servers::{self, Programs, ports};
use crate::stack;

/// The name of `test` itself among the pid files of its directory.
const TEST: &str = "test";
/// Longest time in which no test ends, before those that run are taken to hang: five times what the slowest takes.
const SILENCE_MAX: Duration = Duration::from_mins(15);

/// Settings of `test`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run only tests whose name contains one of these.
    filter: Vec<String>,
    /// Run only the tests of this package (may be repeated).
    #[arg(short, long, env = "AOS_TEST_PACKAGE", value_delimiter = ',', hide_env_values = true)]
    package: Vec<String>,
    /// Build with optimisation.
    #[arg(long, env = "AOS_TEST_RELEASE", hide_env_values = true)]
    release: bool,
    /// Passed on to the test programs, e.g. `-- --nocapture --test-threads 1`.
    #[arg(last = true)]
    extra: Vec<String>,
}

/// Runs the tests; fails if one of them did.
pub fn test(
    args: &Args,
    servers: &servers::Args,
    cargo: &Cargo,
    layout: &Layout,
    interrupt: &Interrupt,
) -> Result<()> {
    sweep(layout, interrupt)?;
    let programs = Programs::ready(servers, layout, interrupt)?;
    let further = [
        ("AOS_TEST_PEERS", peers::ready(servers.no_install, &servers.path, layout, interrupt)?),
        ("AOS_TEST_PEBBLE", servers::pebble::ready(servers, layout, interrupt)?),
        ("AOS_TEST_PGBOUNCER", servers::pgbouncer::ready(servers, layout, interrupt)?),
    ];
    // Compile errors first: they need no servers.
    let mut build = cargo.command(&layout.root);
    build.arg("test").args(selection(args)).arg("--no-run");
    let step = Step::start_quiet("Building the tests");
    let status = process::run_group(&mut build, interrupt)?;
    anyhow::ensure!(status.success(), "the tests do not build");
    step.done("");

    let bench = Bench::start(layout, &programs, interrupt)?;
    let outcome = run(args, servers, cargo, layout, &bench, &further, interrupt);
    bench.stop(interrupt)?;
    let tally = outcome?;
    if tally.ignored > 0 {
        say(format!("{} ignored", tally.ignored));
    }
    say(format!("{} passed, {} failed", tally.passed, tally.failed));
    if tally.failed > 0 {
        bail!("tests failed");
    }
    Ok(())
}

/// Which packages and how, for cargo.
fn selection(args: &Args) -> Vec<String> {
    let mut words: Vec<String> =
        args.package.iter().flat_map(|package| ["--package".to_owned(), package.clone()]).collect();
    if words.is_empty() {
        words.push("--workspace".to_owned());
    }
    if args.release {
        words.push("--release".to_owned());
    }
    words
}

/// PATH with the servers' directories at its end, where they shadow nothing.
fn search_path(servers: &servers::Args, bench: &Bench) -> Result<OsString> {
    let found = [bench.postgres.program.directory.clone(), bench.redis.program.directory.clone()];
    std::env::join_paths(std::env::split_paths(&servers.path).chain(found))
        .context("a colon in a directory's name")
}

fn run(
    args: &Args,
    servers: &servers::Args,
    cargo: &Cargo,
    layout: &Layout,
    bench: &Bench,
    further: &[(&str, PathBuf)],
    interrupt: &Interrupt,
) -> Result<Tally> {
    let mut command = cargo.command(&layout.root);
    command
        .args(["test", "--no-fail-fast"])
        .args(selection(args))
        .arg("--")
        .args(&args.filter)
        .args(&args.extra)
        .env("AOS_TEST_DATABASE_URL", bench.postgres.url("postgres"))
        .env("AOS_TEST_REDIS_URL", bench.redis.url())
        .envs(further.iter().map(|(name, path)| (*name, path)))
        // Tests that have to kill a server start one of their own; it need not be on anybody's PATH.
        .env("PATH", search_path(servers, bench)?)
        .stdout(Stdio::piped())
        .process_group(0);
    interrupt.check()?;
    let mut child = command.spawn().context("cannot start cargo test")?;
    let stdout = child.stdout.take().context("cargo test has no output")?;
    let last_line = Arc::new(Mutex::new(Instant::now()));
    let heard = Arc::clone(&last_line);
    let reader = std::thread::spawn(move || {
        let mut tally = Tally::default();
        for line in BufReader::new(stdout).split(b'\n').map_while(std::io::Result::ok) {
            let line = String::from_utf8_lossy(&line);
            say(&line);
            tally.add(&line);
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        tally
    });
    let mut hangs = false;
    let status = process::wait_group_while(child, interrupt, || {
        hangs = last_line.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > SILENCE_MAX;
        !hangs
    })?;
    let mut tally = reader.join().ok().context("the thread that reads the tests' output panicked")?;
    if hangs {
        let minutes = SILENCE_MAX.as_secs() / 60;
        say(format!(
            "\nno test has ended for {minutes} minutes: those that are \"running for over 60 seconds\" above and did \
             not end hang"
        ));
        tally.failed += 1;
    } else if !status.success() && tally.failed == 0 {
        // A test program that crashed says no result; it must not look like success.
        say(format!("\ncargo test ended with {status}, though no test failed: a test program crashed"));
        tally.failed = 1;
    }
    Ok(tally)
}

/// Results summed over all test programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    /// Adds a line like `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; …`.
    fn add(&mut self, line: &str) {
        let Some((_, result)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in result.split(';') {
            let mut words = part.split_whitespace();
            let (Some(Ok(count)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) else {
                continue;
            };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

/// The servers of one run.
pub(crate) struct Bench {
    directory: PathBuf,
    run: RunDir,
    pub(crate) postgres: Postgres,
    redis: Redis,
}

impl Bench {
    pub(crate) fn start(layout: &Layout, programs: &Programs, interrupt: &Interrupt) -> Result<Self> {
        let directory = layout.home.join(format!("test-{}", std::process::id()));
        layout::create_dir(&directory)?;
        let run = RunDir::new(directory.join("run"));
        run.record(TEST, std::process::id())?;
        let [postgres_port, redis_port] = ports::free()?;
        let password = layout::random_hex::<16>()?;
        let bench = Self {
            postgres: Postgres {
                program: programs.postgres.clone(),
                directory: directory.join("postgres"),
                port: postgres_port,
                password: password.clone(),
                account: layout.account.clone(),
                // Nobody misses this data after a power cut; many tests connect at once.
                settings: vec!["fsync=off", "full_page_writes=off", "max_connections=500", "jit=off"],
            },
            redis: Redis {
                program: programs.redis.clone(),
                directory: directory.join("redis"),
                port: redis_port,
                password,
                account: layout.account.clone(),
            },
            directory,
            run,
        };
        let step = Step::start("Starting throwaway servers");
        match bench.start_servers(interrupt) {
            Ok(()) => {
                step.done(format!(
                    "PostgreSQL {}, Redis {}",
                    programs.postgres.version, programs.redis.version
                ));
                Ok(bench)
            }
            Err(error) => {
                step.failed("");
                bench.stop(interrupt)?;
                Err(error)
            }
        }
    }

    fn start_servers(&self, interrupt: &Interrupt) -> Result<()> {
        let log_dir = self.directory.join("log");
        self.postgres.init(interrupt)?;
        self.postgres.start(&self.run, &log_dir, interrupt)?;
        self.redis.start(&self.run, &log_dir, interrupt)?;
        Ok(())
    }

    pub(crate) fn stop(self, interrupt: &Interrupt) -> Result<()> {
        remove(&self.directory, &self.run, interrupt)
    }
}

/// Stops and removes what dead test runs left behind. Returns how many there were.
pub fn sweep(layout: &Layout, interrupt: &Interrupt) -> Result<usize> {
    let Ok(entries) = fs::read_dir(&layout.home) else { return Ok(0) };
    let mut swept = 0;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix("test-")?.parse::<u32>().ok()) else {
            continue;
        };
        let run = RunDir::new(entry.path().join("run"));
        let in_use = match run.find(TEST) {
            Found::Running(_) => true,
            Found::Stale(_) => false,
            // It may be about to write its pid file.
            Found::Nothing => process::birth(pid).is_some(),
        };
        if !in_use {
            remove(&entry.path(), &run, interrupt)?;
            swept += 1;
        }
    }
    Ok(swept)
}

fn remove(directory: &Path, run: &RunDir, interrupt: &Interrupt) -> Result<()> {
    run.forget(TEST);
    stack::stop_all(run, interrupt)?;
    fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_summed_over_programs() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s",
            "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s",
            "a test that prints test result: ok. 100 passed",
        ] {
            tally.add(line);
        }
        assert_eq!(tally, Tally { passed: 16, failed: 2, ignored: 1 });
    }
}
