//! Clients that behave badly, or fast: slowhttptest and h2load, always our own unpacked ones, so that every run
//! attacks with the same build. They are never needed; what needs them says that it was left out.

use std::path::PathBuf;

use super::{Args, install};
use crate::interrupt::Interrupt;
use crate::layout::Layout;
use crate::progress::note;

/// The folder they are unpacked in, if they are there or can be unpacked; their programs are in its `bin`.
pub fn ready(args: &Args, layout: &Layout, interrupt: &Interrupt) -> Option<PathBuf> {
    let packages = layout.packages();
    let is_there = || ["slowhttptest", "h2load"].iter().all(|name| packages.join("bin").join(name).is_file());
    if !is_there() {
        let missing = install::Missing { attackers: true, ..install::Missing::default() };
        if let Err(error) = install::install(missing, args.no_install, layout, interrupt) {
            note(format!("  ! {error:#}"));
        }
    }
    is_there().then_some(packages)
}
