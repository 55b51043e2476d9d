//! What watches: Prometheus with its promtool, the exporters of machines, Postgres and Redis, and PgBouncer, which stands before
//! Postgres in some deployments. Always our own unpacked ones. Only checks and tests of `deploy/` need them.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{Args, install};
use crate::interrupt::Interrupt;
use crate::layout::Layout;

/// The programs, as their packages call them.
pub const PROGRAMS: [&str; 6] = [
    "prometheus",
    "promtool",
    "prometheus-node-exporter",
    "prometheus-postgres-exporter",
    "prometheus-redis-exporter",
    "pgbouncer",
];

/// The folder they are unpacked in; their programs are in its `bin`.
pub fn ready(args: &Args, layout: &Layout, interrupt: &Interrupt) -> Result<PathBuf> {
    let packages = layout.packages();
    let is_there = || PROGRAMS.iter().all(|name| packages.join("bin").join(name).is_file());
    if !is_there() {
        let missing = install::Missing { monitors: true, ..install::Missing::default() };
        install::install(missing, args.no_install, layout, interrupt)?;
    }
    is_there().then_some(packages).context("the packages of Prometheus lack a program")
}
