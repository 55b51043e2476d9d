//! `cargo xtask faults`: builds the load tool and lets it cause the faults of the pipeline against real
//! processes. With optimisation, unless it is the quick run: that one proves counts, not times, with what
//! the tests have built already. What it does and how it judges is in `loadtest/src/faults`.

use anyhow::{Result, ensure};

use crate::cargo::Cargo;
use crate::interrupt::Interrupt;
use crate::layout::Layout;
use crate::process;

/// Settings of `faults`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these, by the start of their names (`f14`); all when left out.
    names: Vec<String>,
    /// Only those that fit into eight minutes together.
    #[arg(long, env = "AOS_FAULTS_QUICK", hide_env_values = true)]
    quick: bool,
    /// List the faults and end.
    #[arg(long)]
    list: bool,
}

/// Runs the faults; fails if one of them did.
pub fn faults(args: &Args, cargo: &Cargo, layout: &Layout, interrupt: &Interrupt) -> Result<()> {
    let mut command = cargo.command(&layout.root);
    command.args(["run", "--quiet", "--package", "loadtest"]);
    if !args.quick {
        command.arg("--release");
    }
    command.args(["--", "faults"]).args(&args.names);
    for (given, flag) in [(args.quick, "--quick"), (args.list, "--list")] {
        if given {
            command.arg(flag);
        }
    }
    let status = process::run_group(&mut command, interrupt)?;
    ensure!(status.success(), "at least one fault was not survived");
    Ok(())
}
