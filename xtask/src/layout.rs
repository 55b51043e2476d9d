//! Where things are: the clone, its private state, and the directory of the servers.
//!
//! ```text
//! .affiliateos/            this clone's state; delete it to start over (`cargo xtask down --wipe` does)
//!   run/NAME.pid           what runs (postgres, redis, control-plane, tracker-edge, up)
//!   log/NAME.log           what it said
//!   secret, password       AOS_SECRET and the password of the private servers, mode 0600
//!   demo.json              ids and keys of the demo accounts, mode 0600
//!   settings.json          the ports in use
//!   spool/                 the edge's spool
//!   postgres/ redis/       data of the private servers   ┐
//!   packages/              servers installed privately   ├ under `home`
//!   test-PID/              a test run's throwaway servers ┘
//! ```
//!
//! `home` is `.affiliateos` itself unless the account the servers run under cannot enter it; then it
//! is a directory of its own below `/var/lib/affiliateos`.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::account::{self, Account};
use crate::progress::note;

/// Holds the servers' directories of clones that the servers' account cannot enter.
const SYSTEM_HOME: &str = "/var/lib/affiliateos";

/// The directories of this clone.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The workspace.
    pub root: PathBuf,
    /// `.affiliateos`.
    pub state: PathBuf,
    /// Parent of the servers' data.
    pub home: PathBuf,
    /// The account the servers run under, when it is not the caller's.
    pub account: Option<Account>,
}

impl Layout {
    /// Finds the clone this program was built from, and creates its state directory.
    pub fn open() -> Result<Self> {
        let root = workspace();
        let account = Account::for_servers()?;
        let state = root.join(".affiliateos");
        create_dir(&state)?;
        let home = match &account {
            Some(account) if !account.can_enter(&state)? => system_home(&root, &state, account)?,
            _ => state.clone(),
        };
        Ok(Self { root, state, home, account })
    }

    /// Pid files of what `up` started.
    pub fn run_dir(&self) -> PathBuf {
        self.state.join("run")
    }

    /// Logs of what `up` started.
    pub fn log_dir(&self) -> PathBuf {
        self.state.join("log")
    }

    /// Servers installed privately.
    pub fn packages(&self) -> PathBuf {
        self.home.join("packages")
    }

    /// A file of 64 random hex digits, made on first use and kept.
    pub fn secret_file(&self, name: &str) -> Result<String> {
        let path = self.state.join(name);
        match fs::read_to_string(&path) {
            Ok(text) if text.trim().len() == 64 => return Ok(text.trim().to_owned()),
            Ok(_) => note(format!("  ! {} was cut short: making a new one", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
        let secret = random_hex::<32>()?;
        write_private(&path, &secret)?;
        Ok(secret)
    }
}

/// The workspace's root.
pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// Finds or makes the servers' directory outside the clone.
///
/// It belongs to one clone: the name carries a hash of the clone's path, and a link in the state
/// directory marks the pair. Without the link the state was deleted, so what is left outside is of
/// no use to anybody (its accounts and tokens hang on the deleted secret) and goes too.
fn system_home(root: &Path, state: &Path, account: &Account) -> Result<PathBuf> {
    let home = Path::new(SYSTEM_HOME).join(format!("{:016x}", fnv1a(root.as_os_str().as_encoded_bytes())));
    let link = state.join("servers");
    if fs::read_link(&link).is_ok_and(|target| target == home) && home.is_dir() {
        return Ok(home);
    }
    note(format!(
        "  ! the account `{}`, under which root has to run PostgreSQL, cannot enter {}: the servers' data goes to {}",
        account.name,
        state.display(),
        home.display()
    ));
    if home.exists() {
        let run = crate::process::RunDir::new(home.join("run"));
        anyhow::ensure!(
            run.running().is_empty(),
            "{} holds running servers of an earlier clone; stop them first",
            home.display()
        );
        fs::remove_dir_all(&home).with_context(|| format!("cannot remove {}", home.display()))?;
    }
    create_dir(&home)?;
    if link.is_symlink() {
        fs::remove_file(&link).with_context(|| format!("cannot replace {}", link.display()))?;
    }
    std::os::unix::fs::symlink(&home, &link).with_context(|| format!("cannot create {}", link.display()))?;
    anyhow::ensure!(
        account.can_enter(&home)?,
        "the account `{}` cannot enter {} either; move the clone to a directory that others may enter, \
         or run as an ordinary user",
        account.name,
        home.display()
    );
    Ok(home)
}

/// Creates a directory that others may enter; what is secret in it has its own mode.
pub fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot set the mode of {}", path.display()))
}

/// Creates a directory only the servers' account can read.
pub fn create_private_dir(path: &Path, account: Option<&Account>) -> Result<()> {
    create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("cannot set the mode of {}", path.display()))?;
    account::give(path, account)
}

/// Writes a file only its owner can read, whole or not at all.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    let draft = PathBuf::from(draft);
    let write = || -> std::io::Result<()> {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Random bytes as hex digits.
pub fn random_hex<const N: usize>() -> Result<String> {
    let mut bytes = [0_u8; N];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(bytes.iter().fold(String::with_capacity(2 * N), |text, byte| text + &format!("{byte:02x}")))
}

/// FNV-1a: short, stable names; nothing secret hangs on it.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        write_private(&path, "text").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "text");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn random_hex_is_new_each_time() {
        let (one, two) = (random_hex::<32>().unwrap(), random_hex::<32>().unwrap());
        assert_eq!(one.len(), 64);
        assert_ne!(one, two);
    }

    #[test]
    fn short_names_are_stable() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
