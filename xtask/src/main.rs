//! Parses `cargo xtask COMMAND` and runs it; what the commands do is in the library.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use xtask::interrupt::{Interrupt, Interrupted};
use xtask::layout::Layout;
use xtask::progress::note;
use xtask::{
    cargo, check, clients, deploy, faults, fuzz, instructions, lab, peers, process, servers, test, up,
    upgrade,
};

/// What a shell expects of a program that SIGINT ended.
const EXIT_INTERRUPTED: u8 = 130;

#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", about = "Runs, tests and checks AffiliateOS.")]
struct Cli {
    #[command(flatten)]
    servers: servers::Args,
    #[command(flatten)]
    cargo: cargo::Cargo,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything: private servers, control plane, edge, demo data. Ctrl-C stops it.
    Up(up::UpArgs),
    /// Stop everything of this clone, whoever started it.
    Down(up::DownArgs),
    /// Show what runs.
    Status,
    /// Run every test against throwaway servers.
    Test(test::Args),
    /// Install the third-party programs the tests talk to, and print where they are.
    Peers,
    /// Check format, lints, docs and dependency rules.
    Check,
    /// Check every file of deploy/ by the program that reads it; say which could not be.
    CheckDeploy,
    /// Cause the pipeline's faults under load, one after another, and account for every click.
    Faults(faults::Args),
    /// Feed every reader of foreign bytes with what coverage says is new to it.
    Fuzz(fuzz::Args),
    /// Count the instructions a redirect takes, and compare them with the ceiling.
    Instructions,
    /// Upgrade from the version before, roll back and upgrade again, under load; nobody may notice.
    UpgradeTest(upgrade::Args),
    /// Open psql on the private PostgreSQL.
    Psql(clients::ClientArgs),
    /// Open redis-cli on the private Redis.
    Redis(clients::ClientArgs),
    /// Show the ends of the logs.
    Logs(clients::LogsArgs),
    /// Say which servers a test tool may start for itself.
    #[command(hide = true)]
    Lab(lab::Args),
    /// Write a pid file, then become a program.
    #[command(hide = true)]
    Exec(process::ExecArgs),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Interrupted>() => {
            note("Interrupted.");
            ExitCode::from(EXIT_INTERRUPTED)
        }
        Err(error) => {
            note(format!("\nerror: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let Cli { servers, cargo, command } = cli;
    // These two need neither the state directory nor the signals.
    match &command {
        Command::Exec(args) => return process::exec(args),
        Command::Check => return check::check(&cargo, &Interrupt::install()?),
        _ => {}
    }
    let layout = Layout::open()?;
    match command {
        // A client has the terminal's signals to itself.
        Command::Psql(args) => return clients::psql(&args, &servers, &layout, &Interrupt::default()),
        Command::Redis(args) => return clients::redis(&args, &servers, &layout, &Interrupt::default()),
        _ => {}
    }
    let interrupt = Interrupt::install()?;
    match command {
        Command::Up(args) => up::up(args, &servers, &cargo, &layout, &interrupt),
        Command::Down(args) => up::down(&args, &layout, &interrupt),
        Command::Test(args) => test::test(&args, &servers, &cargo, &layout, &interrupt),
        Command::CheckDeploy => deploy::check(&servers, &layout, &interrupt),
        Command::Faults(args) => faults::faults(&args, &cargo, &layout, &interrupt),
        Command::Fuzz(args) => fuzz::fuzz(&args, &cargo, &layout, &interrupt),
        Command::Instructions => instructions::instructions(&cargo, &layout, &interrupt),
        Command::UpgradeTest(args) => upgrade::upgrade(&args, &cargo, &layout, &interrupt),
        Command::Peers => peers::print(servers.no_install, &servers.path, &layout, &interrupt),
        Command::Lab(args) => lab::print(args, &servers, &layout, &interrupt),
        Command::Logs(args) => clients::logs(&args, &layout, &interrupt),
        _ => {
            up::status(&layout);
            Ok(())
        }
    }
}
