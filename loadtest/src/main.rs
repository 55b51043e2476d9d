//! `loadtest`: how the system is proved. Every command starts what it needs, privately, and removes it.
//!
//! - `smoke`: one click becomes one commission, through kills
//! - `api-scale`: every list of the API over a million conversions
//! - `faults`: the fault matrix, against real processes, under load
//! - `hooks`: webhooks to a thousand endpoints beside bad ones, and a worker killed in the middle
//! - `million`: a million clicks through forty kills and an emptied Redis
//! - `rolling`: everything behind a load balancer restarted one after another; nothing refused, lost or doubled
//! - `alerts`: each alert of `deploy/prometheus`, caused in a running system that a Prometheus watches
//! - `upgrade`: the same from the version before to this one, back, and up again
//! - `pages`: what every page of the dashboard costs with a million clicks behind it
//! - `corpus`: malformed and unusual requests through haproxy and nginx, which must agree with the edge
//! - `drain`: the drainer's throughput beside `COPY`
//! - `track`: reports of sales beside the same inserts by pgbench
//! - `bench`: what a redirect costs the edge, beside nginx, haproxy and varnish
//! - `soak`: an hour of even load while links change and Redis is killed once
//! - `instructions`: the instructions of a redirect, and their ceiling
//!
//! Traffic goes to loopback only.

mod account;
mod alerts;
mod api;
mod api_scale;
mod bench;
mod clicker;
mod corpus;
mod drain;
mod faults;
mod hooks;
mod idle;
mod million;
mod pages;
mod programs;
mod proxy;
mod rolling;
mod smoke;
mod soak;
mod stack;
mod track;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Proves AffiliateOS under load and under faults, on this machine.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends clicks through an edge that is killed in between, and accounts for every one of them.
    Smoke(smoke::Args),
    /// Reads every list of the API over 10,000 programs and 1,000,000 conversions, and times it.
    ApiScale(api_scale::Args),
    /// Causes faults under load, one after another, and accounts for every click.
    Faults(faults::Args),
    /// Sends malformed and unusual requests through haproxy and nginx, and asks both sides what they made of them.
    Corpus(corpus::Args),
    /// Delivers webhooks to a thousand endpoints beside bad ones, and kills the worker in the middle.
    Hooks(hooks::Args),
    /// A million clicks, forty kills and three emptied Redis in one run: all of them are stored, once.
    Million(million::Args),
    /// An hour of even load while links change, files are read again and Redis is killed once.
    Soak(soak::Args),
    /// Times every page of the dashboard with 1,000,000 clicks behind it, and weighs it.
    Pages(pages::Args),
    /// Restarts a fleet behind haproxy, one program after another, under load: refused, lost and doubled must be 0.
    Rolling(rolling::Args),
    /// Causes each alert in a running system that Prometheus watches, mends it, and asks every query of the dashboards.
    Alerts(alerts::Args),
    /// Upgrades a fleet from the version before, program by program, rolls it back and upgrades it again, under load.
    Upgrade(rolling::upgrade::Args),
    /// Measures the drainer beside a binary COPY of the same rows.
    Drain(drain::Args),
    /// Reports sales as fast as replies come, beside pgbench doing the same inserts.
    Track(track::Args),
    /// Measures the edge beside nginx, nginx with Lua and Redis, haproxy, varnish and a bare epoll loop.
    Bench(bench::Args),
    /// Counts the instructions of a redirect, and fails when they are more than they were.
    Instructions(bench::instructions::Args),
    /// Redirects everything to one place; a rival of `bench`.
    #[command(hide = true)]
    Floor(bench::floor::Args),
    /// Holds connections that say nothing; part of a fault, for the files one process may open.
    #[command(hide = true)]
    Idle(idle::Args),
}

#[expect(clippy::print_stdout, reason = "the report goes to standard output")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The one TLS provider of the process; nothing else installs one.
    rustls::crypto::ring::default_provider().install_default().ok();
    // Thousands of connections are opened at once; the edge inherits it.
    if let Err(error) = programs::raise_files_limit() {
        say(&format!("the limit of open files stays as it is: {error:#}"));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = match cli.command {
        Command::Floor(args) => bench::floor::run(&args),
        command => runtime.block_on(async {
            tokio::select! {
                outcome = run(command) => outcome,
                stopped = stopped() => stopped,
            }
        }),
    };
    // What tasks of its own still hold is let go of, and so stopped and removed, before the program ends.
    drop(runtime);
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Smoke(args) => smoke::run(&args).await,
        Command::ApiScale(args) => api_scale::run(&args).await,
        Command::Faults(args) => faults::run(&args).await,
        Command::Corpus(args) => corpus::run(&args).await,
        Command::Hooks(args) => hooks::run(&args).await,
        Command::Million(args) => million::run(&args).await,
        Command::Soak(args) => soak::run(&args).await,
        Command::Pages(args) => pages::run(&args).await,
        Command::Rolling(args) => rolling::run(&args).await,
        Command::Alerts(args) => alerts::run(&args).await,
        Command::Upgrade(args) => rolling::upgrade::run(&args).await,
        Command::Drain(args) => drain::run(&args).await,
        Command::Track(args) => track::run(&args).await,
        Command::Bench(args) => bench::run(&args).await,
        Command::Instructions(args) => bench::instructions::run(&args).await,
        Command::Idle(args) => idle::run(&args).await,
        Command::Floor(args) => bench::floor::run(&args),
    }
}

/// Ends with an error when somebody stops this program: what it has started is stopped by letting go of it.
async fn stopped() -> anyhow::Result<bool> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    anyhow::bail!("stopped by a signal")
}
