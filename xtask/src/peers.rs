//! The third-party programs the tests talk to, from npm and PyPI, installed into `peers/`.
//!
//! Must stay true: what is installed is what the lock files say. A copy of the lock file, left beside
//! what it led to, is the proof; it is written last, so an installation cut short is made anew.
//! Node.js comes from PyPI too: one version everywhere, and only Python has to be on the machine.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::interrupt::Interrupt;
use crate::layout::{self, Layout};
use crate::process;
use crate::progress::{Step, note, say};

/// Name of the copied lock file: what stands installed.
const INSTALLED: &str = "installed";

/// Installs the peers if need be, and says where they are.
pub fn print(no_install: bool, path: &OsStr, layout: &Layout, interrupt: &Interrupt) -> Result<()> {
    say(ready(no_install, path, layout, interrupt)?.display().to_string());
    Ok(())
}

/// The peers' directory, with everything the lock files name installed in it.
pub fn ready(no_install: bool, path: &OsStr, layout: &Layout, interrupt: &Interrupt) -> Result<PathBuf> {
    let peers = layout.root.join("peers");
    let python = Part { locked: peers.join("requirements.txt"), installed: peers.join(".venv") };
    let node = Part { locked: peers.join("package-lock.json"), installed: peers.join("node_modules") };
    if python.stands()? && node.stands()? {
        return Ok(peers);
    }
    if no_install {
        bail!("the tests' third-party programs are not installed, and installing is switched off");
    }
    layout::create_dir(&layout.log_dir())?;
    let log = layout.log_dir().join("peers.log");
    note(format!(
        "    the tests' third-party programs go to {}; the log is {}",
        peers.display(),
        log.display()
    ));
    let tools = Tools { peers: &peers, log: &log, path, interrupt };
    if !python.stands()? {
        tools.python(&python)?;
    }
    if !node.stands()? {
        tools.node(&node)?;
    }
    Ok(peers)
}

/// A lock file and the directory it leads to.
struct Part {
    locked: PathBuf,
    installed: PathBuf,
}

impl Part {
    /// Whether the directory holds what the lock file names.
    fn stands(&self) -> Result<bool> {
        let locked =
            fs::read(&self.locked).with_context(|| format!("cannot read {}", self.locked.display()))?;
        Ok(fs::read(self.installed.join(INSTALLED)).is_ok_and(|installed| installed == locked))
    }

    fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.installed) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.installed.display()))
            }
            _ => Ok(()),
        }
    }

    fn mark(&self) -> Result<()> {
        fs::copy(&self.locked, self.installed.join(INSTALLED))
            .with_context(|| format!("cannot mark {} as installed", self.installed.display()))?;
        Ok(())
    }
}

/// How to install: where, what to log to, and the way out.
struct Tools<'a> {
    peers: &'a Path,
    log: &'a Path,
    path: &'a OsStr,
    interrupt: &'a Interrupt,
}

impl Tools<'_> {
    fn python(&self, part: &Part) -> Result<()> {
        part.remove()?;
        let mut venv = self.command("python3");
        venv.args(["-m", "venv"]).arg(&part.installed);
        if self.run(&mut venv).is_err() {
            // A Debian without `python3-venv`, or without Python: half an environment may be left.
            self.interrupt.check()?;
            part.remove()?;
            self.install_python()?;
            self.run(&mut venv)?;
        }
        let step = Step::start("Installing the tests' packages from PyPI");
        let pip = part.installed.join("bin/pip");
        let options = ["install", "--disable-pip-version-check", "--no-input", "--no-deps", "--requirement"];
        self.run(self.command(&pip).args(options).arg(&part.locked))?;
        part.mark()?;
        step.done("");
        Ok(())
    }

    fn install_python(&self) -> Result<()> {
        const BY_HAND: &str = "the tests need Python 3 with venv:\n\n    apt-get install --no-install-recommends python3-venv\n";
        if !nix::unistd::geteuid().is_root() || !Path::new("/usr/bin/apt-get").exists() {
            bail!("{BY_HAND}");
        }
        let step = Step::start("Installing python3-venv");
        let install = ["install", "--yes", "--no-install-recommends", "python3-venv"];
        if self.run(self.command("apt-get").args(install)).is_err() {
            // The package lists may be absent, as in a fresh container, or too old.
            self.run(self.command("apt-get").arg("update"))?;
            self.run(self.command("apt-get").args(install)).context(BY_HAND)?;
        }
        step.done("");
        Ok(())
    }

    fn node(&self, part: &Part) -> Result<()> {
        let step = Step::start("Installing the tests' packages from npm");
        let npm = self.peers.join(".venv/bin/npm");
        part.remove()?;
        // Not `npm ci`: it wants the binaries of every platform in the lock file, and a registry need not
        // carry them all. Versions are the lock file's all the same, which is not written to. Install
        // scripts are other people's code that would run at once; no package here needs one.
        self.run(self.command(&npm).args(["install", "--no-save", "--ignore-scripts"]))?;
        part.mark()?;
        step.done("");
        Ok(())
    }

    /// A command in the peers' directory that finds Node.js first where Python put it.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let own = self.peers.join(".venv/bin");
        let path = std::env::join_paths(std::iter::once(own).chain(std::env::split_paths(self.path)));
        let mut command = Command::new(program);
        command.current_dir(self.peers).env("LC_ALL", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive");
        if let Ok(path) = path {
            command.env("PATH", path);
        }
        command
    }

    /// Runs a command, its output going to the log.
    fn run(&self, command: &mut Command) -> Result<()> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log)
            .with_context(|| format!("cannot open {}", self.log.display()))?;
        let copy = log.try_clone().context("cannot share the log")?;
        let status =
            process::run_group(command.stdin(Stdio::null()).stdout(copy).stderr(log), self.interrupt)?;
        if !status.success() {
            bail!("{} failed:\n{}", command.get_program().display(), process::tail(self.log, 6));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stands_only_while_its_lock_file_is_the_one_it_was_made_from() {
        let directory = tempfile::tempdir().unwrap();
        let part = Part {
            locked: directory.path().join("requirements.txt"),
            installed: directory.path().join("venv"),
        };
        fs::write(&part.locked, "a==1\n").unwrap();
        assert!(!part.stands().unwrap());
        fs::create_dir(&part.installed).unwrap();
        assert!(!part.stands().unwrap(), "cut short");
        part.mark().unwrap();
        assert!(part.stands().unwrap());
        fs::write(&part.locked, "a==2\n").unwrap();
        assert!(!part.stands().unwrap(), "a new version");
        part.remove().unwrap();
        part.remove().unwrap();
        assert!(!part.installed.exists());
    }
}
