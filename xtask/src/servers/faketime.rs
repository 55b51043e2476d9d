//! libfaketime: found on the machine, or unpacked privately like the servers. A test tool loads it into our
//! programs to set their clocks. It is never needed; what needs it says that it was left out.

use std::fs;
use std::path::PathBuf;

use super::{Args, install};
use crate::interrupt::Interrupt;
use crate::layout::Layout;
use crate::progress::note;

/// Where the library is, if it is there or can be unpacked.
pub fn ready(args: &Args, layout: &Layout, interrupt: &Interrupt) -> Option<PathBuf> {
    find(layout).or_else(|| {
        let missing = install::Missing { faketime: true, ..install::Missing::default() };
        match install::install(missing, args.no_install, layout, interrupt) {
            Ok(()) => find(layout),
            Err(error) => {
                note(format!("  ! {error:#}"));
                None
            }
        }
    })
}

/// Distributions keep it below their directory of libraries, off the loader's path.
fn find(layout: &Layout) -> Option<PathBuf> {
    let below = [PathBuf::from("/usr/lib"), PathBuf::from("/usr/lib64"), layout.packages().join("usr/lib")];
    let architectures = below.iter().flat_map(|parent| {
        let inside = fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
        std::iter::once(parent.clone()).chain(inside)
    });
    architectures
        .map(|directory| directory.join("faketime/libfaketime.so.1"))
        .find(|library| library.is_file())
}
