//! `cargo xtask upgrade-test`: builds the version before and lets the load tool go from it to this one, back, and up
//! again, under load (`loadtest/src/rolling/upgrade.rs`). Needs git and cargo, nothing else.
//!
//! The version before is the newest release tag below HEAD; while there is none, the commit before the newest
//! migration, so that the schema changes on the way. It is checked out and built in `.affiliateos/upgrade`, which
//! is kept, so that the next run builds what has changed.
//!
//! Must stay true: bytes that were ever shipped are in the golden files, and these are never changed or removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::cargo::Cargo;
use crate::interrupt::Interrupt;
use crate::layout::Layout;
use crate::process;
use crate::progress::note;

const TAGS: &str = "v[0-9]*";
const MIGRATIONS: &str = "control-plane/migrations";
const GOLDEN: &str = ":(glob)**/golden/**";
/// How a version gave its roles their rights before `migrate` did.
const GRANTS: &str = "deploy/postgres/grants.sql";

/// Settings of `upgrade-test`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The version before: a tag or a commit.
    #[arg(long)]
    from: Option<String>,
    /// Its programs, built already.
    #[arg(long)]
    previous_bin: Option<PathBuf>,
    /// Clicks a second.
    #[arg(long, default_value_t = 400)]
    rate: u32,
}

/// Runs the upgrade; fails if anybody noticed it.
pub fn upgrade(args: &Args, cargo: &Cargo, layout: &Layout, interrupt: &Interrupt) -> Result<()> {
    let git = Git { root: &layout.root };
    let revision = git.revision(args.from.as_deref())?;
    note(format!("The version before is {}", git.ask(&["log", "-1", "--format=%h %s", &revision])?));
    let changed = git.ask(&["diff", "--name-status", "--diff-filter=MDR", &revision, "--", GOLDEN])?;
    ensure!(changed.is_empty(), "golden bytes of the version before were changed:\n{changed}");
    let home = layout.state.join("upgrade");
    fs::create_dir_all(&home).context("cannot make the folder of the version before")?;
    let binaries = match &args.previous_bin {
        Some(binaries) => binaries.clone(),
        None => build(&git, &revision, &home, cargo, interrupt)?,
    };
    let mut command = cargo.command(&layout.root);
    command.args(["run", "--quiet", "--release", "--package", "loadtest", "--", "upgrade", "--rate"]);
    command.arg(args.rate.to_string()).arg("--previous-bin").arg(binaries);
    if let Ok(grants) = git.ask(&["show", &format!("{revision}:{GRANTS}")]) {
        let path = home.join("grants.sql");
        fs::write(&path, grants).context("cannot keep the grants of the version before")?;
        command.arg("--previous-grants").arg(path);
    }
    let status = process::run_group(&mut command, interrupt)?;
    ensure!(status.success(), "the upgrade was noticed");
    for package in ["shared", "tracker-edge"] {
        let mut command = cargo.command(&layout.root);
        command.args(["test", "--quiet", "--package", package, "--lib", "golden"]);
        let status = process::run_group(&mut command, interrupt)?;
        ensure!(status.success(), "{package} does not read what was shipped");
    }
    Ok(())
}

/// Checks the version out beside this one and builds its programs; gives their folder.
fn build(
    git: &Git<'_>,
    revision: &str,
    home: &Path,
    cargo: &Cargo,
    interrupt: &Interrupt,
) -> Result<PathBuf> {
    let tree = home.join("previous");
    if tree.join("Cargo.toml").is_file() {
        Git { root: &tree }.ask(&["checkout", "--quiet", "--force", "--detach", revision])?;
    } else {
        // One that was deleted by hand is still in git's list.
        git.ask(&["worktree", "prune"])?;
        let place = tree.to_str().context("the path of the clone is no text")?;
        git.ask(&["worktree", "add", "--quiet", "--force", "--detach", place, revision])?;
    }
    // A folder of their own: where cargo builds into one for all, this version would take their place.
    let programs = home.join("programs");
    fs::create_dir_all(&programs).context("cannot make the folder of its programs")?;
    for package in ["tracker-edge", "control-plane"] {
        note(format!("  … building its {package}"));
        let built = cargo.build(&tree, package, true, interrupt)?;
        let program = built.get(package).with_context(|| format!("no {package} was built"))?;
        let place = programs.join(package);
        // Not written over: one may still run.
        drop(fs::remove_file(&place));
        fs::copy(program, &place).with_context(|| format!("cannot keep its {package}"))?;
    }
    Ok(programs)
}

/// The clone's git.
struct Git<'a> {
    root: &'a Path,
}

impl Git<'_> {
    /// What a command says; an error with its complaint when it fails.
    fn ask(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("git");
        command.arg("-C").arg(self.root).args(arguments).stdin(Stdio::null());
        let output = command.output().context("cannot run git")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "git {} failed: {}", arguments.join(" "), complaint.trim());
        Ok(String::from_utf8(output.stdout).context("git said no text")?.trim().to_owned())
    }

    /// The commit of the version before.
    fn revision(&self, asked: Option<&str>) -> Result<String> {
        let commit = |name: &str| self.ask(&["rev-parse", "--verify", &format!("{name}^{{commit}}")]);
        if let Some(asked) = asked {
            return commit(asked);
        }
        if let Ok(tag) = self.ask(&["describe", "--tags", "--abbrev=0", "--match", TAGS, "HEAD^"]) {
            return commit(&tag);
        }
        let newest = self.ask(&["log", "-1", "--format=%H", "--diff-filter=A", "--", MIGRATIONS])?;
        commit(&format!("{newest}^")).context("there is no version before; name one with --from")
    }
}
