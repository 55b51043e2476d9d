//! `cargo xtask check`: everything a reviewer should not have to look for.
//!
//! All checks run even if one fails, so that one turn shows all there is to mend. What needs a tool
//! that is not installed is named as skipped, never passed over in silence.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cargo::Cargo;
use crate::interrupt::Interrupt;
use crate::layout;
use crate::process;
use crate::progress::{Step, say};

/// ring is the one crypto provider: with two, rustls cannot choose, and aws-lc is a long C build.
const NOWHERE: [&str; 6] =
    ["aws-lc-rs", "aws-lc-sys", "aws-lc-fips-sys", "openssl", "openssl-sys", "native-tls"];
/// The edge knows Redis and nothing else: no SQL, no web framework, no HTTP client, one TLS stack.
const NOT_IN_EDGE: [&str; 7] = ["sqlx", "sqlx-core", "axum", "axum-core", "reqwest", "openssl", "native-tls"];

/// Runs all checks; fails if one did.
pub fn check(cargo: &Cargo, interrupt: &Interrupt) -> Result<()> {
    let checks: [(&str, Check); 7] = [
        ("Format (cargo fmt --check)", format),
        ("Lints (cargo clippy, warnings denied)", lints),
        ("Fuzz targets (cargo check)", fuzz),
        ("Docs (cargo doc, warnings denied)", docs),
        ("Dependency rules (cargo tree)", dependencies),
        ("Licences, advisories, sources (cargo deny)", deny),
        ("Unused dependencies (cargo machete)", machete),
    ];
    let (mut passed, mut failed, mut skipped) = (0, 0, Vec::new());
    for (title, run) in checks {
        interrupt.check()?;
        let step = Step::start_quiet(title);
        match run(cargo, interrupt) {
            Ok(Verdict::Passed) => {
                passed += 1;
                step.done("");
            }
            Ok(Verdict::Skipped(tool)) => {
                skipped.push(tool);
                step.skipped(format!(
                    "skipped, as {tool} is not installed (`cargo install --locked {tool}`)"
                ));
            }
            Err(error) => {
                interrupt.check()?;
                failed += 1;
                step.failed(format!("{error:#}"));
            }
        }
    }
    let skipped =
        if skipped.is_empty() { String::new() } else { format!(", skipped: {}", skipped.join(", ")) };
    say(format!("check: {passed} passed, {failed} failed{skipped}"));
    if failed > 0 {
        bail!("checks failed");
    }
    Ok(())
}

type Check = fn(&Cargo, &Interrupt) -> Result<Verdict>;

enum Verdict {
    Passed,
    /// The tool that is missing.
    Skipped(&'static str),
}

/// A cargo command of the workspace with these words.
fn cargo_with(cargo: &Cargo, words: &[&str]) -> Command {
    let mut command = cargo.command(&layout::workspace());
    command.args(words);
    command
}

fn pass(mut command: Command, hint: &str, interrupt: &Interrupt) -> Result<Verdict> {
    let status = process::run_group(&mut command, interrupt)?;
    anyhow::ensure!(status.success(), "{hint}");
    Ok(Verdict::Passed)
}

/// Whether cargo has this subcommand.
fn has(cargo: &Cargo, subcommand: &str) -> bool {
    let mut command = cargo_with(cargo, &[subcommand, "--version"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn format(cargo: &Cargo, interrupt: &Interrupt) -> Result<Verdict> {
    component(cargo, "fmt", "rustfmt")?;
    pass(cargo_with(cargo, &["fmt", "--all", "--check"]), "`cargo fmt --all` mends it", interrupt)
}

fn lints(cargo: &Cargo, interrupt: &Interrupt) -> Result<Verdict> {
    component(cargo, "clippy", "clippy")?;
    let words = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    pass(cargo_with(cargo, &words), "see above", interrupt)
}

/// They are a workspace of their own, which nothing else compiles.
fn fuzz(cargo: &Cargo, interrupt: &Interrupt) -> Result<Verdict> {
    let mut command = cargo_with(cargo, &["check", "--quiet", "--all-targets", "--manifest-path"]);
    command.arg("fuzz/Cargo.toml").args(["--target-dir", "target/fuzz"]);
    command.env("RUSTFLAGS", "-Dwarnings");
    pass(command, "see above", interrupt)
}

/// Unlike the optional tools below, these come with the toolchain.
fn component(cargo: &Cargo, subcommand: &str, name: &str) -> Result<()> {
    anyhow::ensure!(has(cargo, subcommand), "the toolchain lacks it: `rustup component add {name}`");
    Ok(())
}

fn docs(cargo: &Cargo, interrupt: &Interrupt) -> Result<Verdict> {
    let mut command =
        cargo_with(cargo, &["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"]);
    // The reader of these pages has the private items before them, so links to them are welcome.
    command.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links");
    pass(command, "see above", interrupt)
}

fn dependencies(cargo: &Cargo, _: &Interrupt) -> Result<Verdict> {
    let everything = tree(cargo, &["--workspace", "--all-features", "--target", "all", "--edges", "all"])?;
    let edge = tree(cargo, &["--package", "tracker-edge", "--edges", "normal,build"])?;
    let mut broken = forbidden("the workspace", &everything, &NOWHERE);
    broken.extend(forbidden("tracker-edge", &edge, &NOT_IN_EDGE));
    anyhow::ensure!(broken.is_empty(), "{}", broken.join("; "));
    Ok(Verdict::Passed)
}

/// Names of the packages in a dependency tree.
fn tree(cargo: &Cargo, words: &[&str]) -> Result<BTreeSet<String>> {
    let mut command = cargo_with(cargo, &["tree", "--locked", "--prefix", "none", "--format", "{p}"]);
    let output = command.args(words).output().context("cannot run cargo tree")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(names(&String::from_utf8_lossy(&output.stdout)))
}

/// The first word of every line.
fn names(tree: &str) -> BTreeSet<String> {
    tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn forbidden(place: &str, tree: &BTreeSet<String>, names: &[&str]) -> Vec<String> {
    names
        .iter()
        .filter(|name| tree.contains(**name))
        .map(|name| format!("{place} depends on {name} (`cargo tree -i {name}` shows through what)"))
        .collect()
}

fn deny(cargo: &Cargo, interrupt: &Interrupt) -> Result<Verdict> {
    if !has(cargo, "deny") {
        return Ok(Verdict::Skipped("cargo-deny"));
    }
    pass(cargo_with(cargo, &["deny", "--all-features", "check"]), "see above", interrupt)
}

fn machete(cargo: &Cargo, interrupt: &Interrupt) -> Result<Verdict> {
    if !has(cargo, "machete") {
        return Ok(Verdict::Skipped("cargo-machete"));
    }
    pass(cargo_with(cargo, &["machete"]), "see above", interrupt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_dependency_is_named() {
        let tree = names("app v0.1.0 (/home/me/app)\naws-lc-rs v1.2.3\nserde v1.0.0 (*)\n\nsqlx v0.9.0\n");
        assert_eq!(forbidden("the workspace", &tree, &NOWHERE).len(), 1);
        assert_eq!(forbidden("tracker-edge", &tree, &NOT_IN_EDGE).len(), 1);
        assert!(forbidden("tracker-edge", &names("hyper v1.0.0\n"), &NOT_IN_EDGE).is_empty());
    }
}
