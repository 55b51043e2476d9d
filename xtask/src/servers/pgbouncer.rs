//! PgBouncer, the pooler that some deployments put before Postgres: tests put theirs behind it. Always our own unpacked
//! one.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{Args, install};
use crate::interrupt::Interrupt;
use crate::layout::Layout;

/// The program to start.
pub fn ready(args: &Args, layout: &Layout, interrupt: &Interrupt) -> Result<PathBuf> {
    let program = layout.packages().join("bin/pgbouncer");
    if !program.is_file() {
        let missing = install::Missing { pooler: true, ..install::Missing::default() };
        install::install(missing, args.no_install, layout, interrupt)?;
    }
    program.is_file().then_some(program).context("the package of PgBouncer lacks its program")
}
