//! valgrind: found on the machine, or unpacked privately like the servers. It counts the instructions of a
//! redirect (`loadtest instructions`). Only tools that are part of a test need it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Args, install};
use crate::interrupt::Interrupt;
use crate::layout::Layout;

/// The program to start.
pub fn ready(args: &Args, layout: &Layout, interrupt: &Interrupt) -> Result<PathBuf> {
    let on_path = std::env::split_paths(&args.path).map(|place| place.join("valgrind"));
    if let Some(found) = on_path.into_iter().find(|program| program.is_file()) {
        return Ok(found);
    }
    let packages = layout.packages();
    let program = packages.join("usr/bin/valgrind.bin");
    if !program.is_file() {
        let missing = install::Missing { valgrind: true, ..install::Missing::default() };
        install::install(missing, args.no_install, layout, interrupt)?;
    }
    wrapper(&packages, &program)
}

/// It looks for its tools where the package would have put them, unless told otherwise.
fn wrapper(packages: &Path, program: &Path) -> Result<PathBuf> {
    let wrapper = packages.join("bin/valgrind");
    let tools = install::quote(&packages.join("usr/libexec/valgrind").display().to_string());
    let program = install::quote(&program.display().to_string());
    fs::write(&wrapper, format!("#!/bin/sh\nVALGRIND_LIB={tools} exec {program} \"$@\"\n"))
        .and_then(|()| fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", wrapper.display()))?;
    Ok(wrapper)
}
