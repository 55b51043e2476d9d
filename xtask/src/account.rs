//! The account the servers run under.
//!
//! `initdb` refuses root, so root starts Postgres and Redis as an unprivileged account; everybody
//! else starts them as themselves. That account must be able to reach its directory: a clone below
//! `/root` usually cannot be entered by anybody else.

use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::unistd::User;

/// In order of preference. `postgres` exists where the distribution's package is installed.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

/// An unprivileged account.
#[derive(Clone, Debug)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// The account to step down to: none unless this program runs as root.
    pub fn for_servers() -> Result<Option<Self>> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(None);
        }
        for name in CANDIDATES {
            if let Some(user) = User::from_name(name).context("cannot read the list of accounts")? {
                return Ok(Some(Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }));
            }
        }
        bail!("running as root, and there is no account `postgres` or `nobody` to run PostgreSQL under")
    }

    /// Whether this account can enter a directory, asked of the kernel rather than worked out from
    /// mode bits, so that access lists and mount options count too.
    pub fn can_enter(&self, directory: &Path) -> Result<bool> {
        // std drops the groups and changes the account before it changes the directory.
        let probe = Command::new("/bin/true")
            .uid(self.uid)
            .gid(self.gid)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match probe {
            Ok(status) => Ok(status.success()),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(false),
            Err(error) => Err(error).with_context(|| format!("cannot start a program as `{}`", self.name)),
        }
    }
}

/// Makes `command` run under the account, if there is one to step down to.
pub fn run_as(command: &mut Command, account: Option<&Account>) {
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
}

/// Hands a file or directory to the account, if there is one to step down to.
pub fn give(path: &Path, account: Option<&Account>) -> Result<()> {
    let Some(account) = account else { return Ok(()) };
    std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid))
        .with_context(|| format!("cannot give {} to `{}`", path.display(), account.name))
}
