//! `cargo xtask instructions`: counts the instructions a redirect takes and fails when they are more than they
//! were. Only the edge is built as it is shipped; how it counts is in `loadtest/src/bench/instructions.rs`.

use anyhow::{Result, ensure};

use crate::cargo::Cargo;
use crate::interrupt::Interrupt;
use crate::layout::Layout;
use crate::process;

/// Runs the count.
pub fn instructions(cargo: &Cargo, layout: &Layout, interrupt: &Interrupt) -> Result<()> {
    let mut command = cargo.command(&layout.root);
    command.args(["run", "--quiet", "--package", "loadtest", "--", "instructions"]);
    let status = process::run_group(&mut command, interrupt)?;
    ensure!(status.success(), "a redirect takes more instructions than it may");
    Ok(())
}
