//! `cargo xtask up`, `down` and `status`.
//!
//! Must stay true: `up` may be run at any time and in any state, and either ends with everything
//! running or says why not and leaves nothing behind that it started. One `up` at a time per clone
//! (a lock on a file, which the kernel lets go of whatever happens).

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::cargo::Cargo;
use crate::interrupt::{Interrupt, TICK};
use crate::layout::Layout;
use crate::process::{Found, RunDir};
use crate::progress::{Step, note, say};
use crate::seed::Demo;
use crate::servers::{self, Programs};
use crate::stack::{self, Ports, Stack};
use crate::test;

/// The name of `up` itself among the pid files.
const UP: &str = "up";
/// Longer than everything `up` does when it is asked to stop.
const DOWN_WAIT: Duration = Duration::from_secs(150);

/// Settings of `up`.
#[derive(Debug, clap::Args)]
pub struct UpArgs {
    /// Leave everything running in the background; `cargo xtask down` stops it.
    #[arg(long, env = "AOS_UP_DETACH", hide_env_values = true)]
    detach: bool,
    /// Build with optimisation.
    #[arg(long, env = "AOS_UP_RELEASE", hide_env_values = true)]
    release: bool,
    #[command(flatten)]
    ports: Ports,
}

/// Settings of `down`.
#[derive(Debug, clap::Args)]
pub struct DownArgs {
    /// Delete this clone's data, secrets and privately installed servers as well.
    #[arg(long)]
    wipe: bool,
}

/// Brings everything up, and keeps it up until a signal comes or, detached, leaves it running.
pub fn up(
    args: UpArgs,
    servers: &servers::Args,
    cargo: &Cargo,
    layout: &Layout,
    interrupt: &Interrupt,
) -> Result<()> {
    let run = RunDir::new(layout.run_dir());
    let Some(_lock) = lock(layout)? else { return attach(args, servers, layout, &run, interrupt) };
    run.record(UP, std::process::id())?;
    let outcome = bring_up(&args, servers, cargo, layout, &run, interrupt);
    run.forget(UP);
    outcome
}

fn bring_up(
    args: &UpArgs,
    servers: &servers::Args,
    cargo: &Cargo,
    layout: &Layout,
    run: &RunDir,
    interrupt: &Interrupt,
) -> Result<()> {
    let programs = Programs::ready(servers, layout, interrupt)?;
    let mut stack = Stack::new(layout, &programs, args.ports.clone(), interrupt)?;
    if stack.is_complete() && stack.is_ready() {
        let demo = Demo::ensure(layout, stack.ports(), interrupt)?;
        say("\nAffiliateOS is up already.");
        print_info(&stack, &demo, "`cargo xtask down` stops it.");
        return Ok(());
    }
    let step = Step::start_quiet("Building control-plane and tracker-edge");
    let mut built = cargo.build(&layout.root, stack::CONTROL_PLANE, args.release, interrupt)?;
    built.extend(cargo.build(&layout.root, stack::EDGE, args.release, interrupt)?);
    step.done("");
    // Up to here nothing was started, and what runs from before is left alone whatever happened.
    // From here on it is all or nothing.
    let outcome = start_and_watch(&mut stack, built, args.detach, layout, interrupt);
    if args.detach && outcome.is_ok() {
        return Ok(());
    }
    stack::stop_all(run, interrupt)?;
    outcome
}

/// Starts what is missing and shows how to use it; unless detached, comes back when a signal does.
fn start_and_watch(
    stack: &mut Stack<'_>,
    built: BTreeMap<String, PathBuf>,
    detach: bool,
    layout: &Layout,
    interrupt: &Interrupt,
) -> Result<()> {
    stack.start(built)?;
    let demo = Demo::ensure(layout, stack.ports(), interrupt)?;
    say("\nAffiliateOS is up.");
    if detach {
        print_info(stack, &demo, "`cargo xtask down` stops it.");
        return Ok(());
    }
    print_info(stack, &demo, "Ctrl-C stops everything.");
    stack.supervise()
}

/// Another `up` of this clone is at work: show what it shows, if it got that far.
fn attach(
    args: UpArgs,
    servers: &servers::Args,
    layout: &Layout,
    run: &RunDir,
    interrupt: &Interrupt,
) -> Result<()> {
    let who = match run.find(UP) {
        Found::Running(process) => format!("process {}", process.pid),
        Found::Stale(_) | Found::Nothing => "another process".to_owned(),
    };
    if stack::NAMES.iter().any(|name| !matches!(run.find(name), Found::Running(_))) {
        bail!("another `cargo xtask up` of this clone is starting or stopping ({who})");
    }
    let programs = Programs::ready(servers, layout, interrupt)?;
    let stack = Stack::new(layout, &programs, Ports::saved(layout).unwrap_or(args.ports), interrupt)?;
    anyhow::ensure!(stack.is_ready(), "another `cargo xtask up` of this clone is starting ({who})");
    let demo = Demo::ensure(layout, stack.ports(), interrupt)?;
    say(format!("\nAffiliateOS is up already, in another terminal ({who})."));
    print_info(&stack, &demo, "Ctrl-C there, or `cargo xtask down`, stops it.");
    Ok(())
}

/// Takes the lock of this clone; `None` if another process has it.
fn lock(layout: &Layout) -> Result<Option<File>> {
    let path = layout.state.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

fn print_info(stack: &Stack<'_>, demo: &Demo, how_to_stop: &str) {
    let ports = stack.ports();
    let (api, tracking) = (stack.api_origin(), stack.tracking_origin());
    say(format!(
        "
  API             {api}
  Redirects       {tracking}
  Edge admin      http://127.0.0.1:{}/metrics   (also /ready, /live)
  Control admin   http://127.0.0.1:{}/metrics   (also /ready, /live)

  Advertiser key  {}
  Affiliate key   {}

Click the demo link:

curl -i '{}'

Report a sale through it:

curl -s -X POST '{api}/api/conversions/track' -H 'Authorization: Bearer {}' -H 'Content-Type: application/json' -d '{{\"tracking_token\":\"{}\",\"event_type\":\"sale\",\"revenue_amount\":99.00,\"external_id\":\"order-'$(date +%s%N)'\"}}'

See both counted:

curl -s '{api}/api/usage' -H 'Authorization: Bearer {}'

Every documented example, in order: control-plane/tests/tour.sh {api} {tracking}

{how_to_stop} Logs: `cargo xtask logs`.",
        ports.edge_admin,
        ports.api_admin,
        demo.advertiser_key,
        demo.affiliate_key,
        demo.tracking_url,
        demo.advertiser_key,
        demo.token,
        demo.advertiser_key,
    ));
}

/// Stops everything of this clone, whoever started it.
pub fn down(args: &DownArgs, layout: &Layout, interrupt: &Interrupt) -> Result<()> {
    let run = RunDir::new(layout.run_dir());
    let mut any = false;
    // An `up` in the foreground stops its own programs; under a supervisor that starts things again
    // there would be no other order that works.
    if let Found::Running(mut up) = run.find(UP) {
        any = true;
        let step =
            Step::start(format!("Waiting for `cargo xtask up` (process {}) to stop everything", up.pid));
        up.signal(Signal::SIGTERM)?;
        let deadline = Instant::now() + DOWN_WAIT;
        while up.alive() {
            interrupt.check()?;
            if Instant::now() > deadline {
                up.signal(Signal::SIGKILL)?;
            }
            std::thread::sleep(TICK);
        }
        step.done("");
    }
    run.forget(UP);
    any |= stack::stop_all(&run, interrupt)? > 0;
    any |= test::sweep(layout, interrupt)? > 0;
    if args.wipe {
        for directory in [&layout.home, &layout.state] {
            if directory.exists() {
                fs::remove_dir_all(directory)
                    .with_context(|| format!("cannot remove {}", directory.display()))?;
            }
        }
        note("  ✓ Data, secrets and private packages removed");
    }
    say(if any { "Everything is stopped." } else { "Nothing was running." });
    Ok(())
}

/// Shows what runs.
pub fn status(layout: &Layout) {
    let run = RunDir::new(layout.run_dir());
    let mut running = 0;
    for name in stack::NAMES {
        let text = match run.find(name) {
            Found::Running(process) => {
                running += 1;
                format!("running, process {}", process.pid)
            }
            Found::Stale(reason) => format!("not running ({reason})"),
            Found::Nothing => "not running".to_owned(),
        };
        say(format!("  {name:<14} {text}"));
    }
    if let Found::Running(up) = run.find(UP) {
        say(format!("  {:<14} process {}", "cargo xtask up", up.pid));
    }
    if let Some(ports) = Ports::saved(layout).filter(|_| running > 0) {
        say(format!(
            "\n  API http://127.0.0.1:{}, redirects http://127.0.0.1:{}, PostgreSQL 127.0.0.1:{}, Redis 127.0.0.1:{}",
            ports.api, ports.edge, ports.postgres, ports.redis
        ));
    }
}
