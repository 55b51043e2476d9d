//! The servers a benchmark compares the edge with: nginx with its Lua module, haproxy and varnish, of this
//! distribution. They are always our own unpacked ones, so that no system-wide installation is touched and
//! every run compares with the same build. Only the benchmark needs them.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{Args, install};
use crate::interrupt::Interrupt;
use crate::layout::Layout;

/// The folder the rivals are unpacked in; their programs are in its `bin`.
pub fn ready(args: &Args, layout: &Layout, interrupt: &Interrupt) -> Result<PathBuf> {
    let packages = layout.packages();
    let is_there = || {
        let program = |name: &str| packages.join("bin").join(name).is_file();
        program("nginx") && program("haproxy") && program("varnishd")
    };
    if !is_there() {
        let missing = install::Missing { rivals: true, ..install::Missing::default() };
        install::install(missing, args.no_install, layout, interrupt)?;
    }
    is_there().then_some(packages).context("the packages of the rivals lack a program")
}
