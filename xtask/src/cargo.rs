//! Running cargo from inside `cargo run`.
//!
//! The outer cargo's variables about *this* package must not reach the inner one: build scripts that
//! watch them would be built again at every turn between the two.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::interrupt::Interrupt;
use crate::process;

/// Set by `cargo run` for the package it runs.
const OUTER: [&str; 19] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_MANIFEST_LINKS",
    "CARGO_PKG_AUTHORS",
    "CARGO_PKG_DESCRIPTION",
    "CARGO_PKG_HOMEPAGE",
    "CARGO_PKG_LICENSE",
    "CARGO_PKG_LICENSE_FILE",
    "CARGO_PKG_NAME",
    "CARGO_PKG_README",
    "CARGO_PKG_REPOSITORY",
    "CARGO_PKG_RUST_VERSION",
    "CARGO_PKG_VERSION",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
];

/// The cargo that runs us.
#[derive(Clone, Debug, clap::Args)]
pub struct Cargo {
    #[arg(long = "cargo", env = "CARGO", hide = true, global = true, default_value = "cargo")]
    program: OsString,
}

impl Cargo {
    /// A cargo command in the workspace.
    pub fn command(&self, root: &Path) -> Command {
        let mut command = Command::new(&self.program);
        for name in OUTER {
            command.env_remove(name);
        }
        // Queries are checked against the committed description, never against whatever database
        // the shell happens to name.
        command.current_dir(root).env("SQLX_OFFLINE", "true").stdin(Stdio::null());
        command
    }

    /// Builds the programs of one package and says where they are. One package at a time: built
    /// together they would share features, and the edge would get what only the control plane asks for.
    pub fn build(
        &self,
        root: &Path,
        package: &str,
        release: bool,
        interrupt: &Interrupt,
    ) -> Result<BTreeMap<String, PathBuf>> {
        let mut command = self.command(root);
        command.args(["build", "--package", package, "--message-format", "json-render-diagnostics"]);
        if release {
            command.arg("--release");
        }
        interrupt.check()?;
        let mut child =
            command.process_group(0).stdout(Stdio::piped()).spawn().context("cannot start cargo build")?;
        let stdout = child.stdout.take().context("cargo build has no output")?;
        let reader = std::thread::spawn(move || {
            BufReader::new(stdout)
                .lines()
                .map_while(Result::ok)
                .filter_map(|line| executable(&line))
                .collect()
        });
        let status = process::wait_group(child, interrupt)?;
        if !status.success() {
            bail!("the build failed");
        }
        reader.join().ok().context("the thread that reads cargo's messages panicked")
    }
}

/// The program a message of cargo's announces: its target's name and its path.
fn executable(message: &str) -> Option<(String, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let path = message.get("executable")?.as_str()?;
    let name = message.get("target")?.get("name")?.as_str()?;
    Some((name.to_owned(), PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_read_from_cargos_messages() {
        let message = r#"{"reason":"compiler-artifact","target":{"name":"tracker-edge","kind":["bin"]},"executable":"/t/debug/tracker-edge"}"#;
        assert_eq!(executable(message), Some(("tracker-edge".into(), "/t/debug/tracker-edge".into())));
        let library = r#"{"reason":"compiler-artifact","target":{"name":"shared"},"executable":null}"#;
        assert_eq!(executable(library), None);
        assert_eq!(executable("not json"), None);
    }
}
