//! Pebble, the ACME test server that certificates of custom domains are asked of in tests: unpacked privately like
//! the servers. What is on the path by that name may be another program.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{Args, install};
use crate::interrupt::Interrupt;
use crate::layout::Layout;

/// The program to start.
pub fn ready(args: &Args, layout: &Layout, interrupt: &Interrupt) -> Result<PathBuf> {
    let program = layout.packages().join("usr/bin/pebble");
    if !program.is_file() {
        let missing = install::Missing { pebble: true, ..install::Missing::default() };
        install::install(missing, args.no_install, layout, interrupt)?;
    }
    program.is_file().then_some(program).context("the package of pebble lacks its program")
}
