//! A small disk of our own, in memory, that can be filled up and emptied again.

use anyhow::{Context, ensure};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A mounted tmpfs. Unmounted when dropped.
pub(crate) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts one of so many MiB. An error says why this machine does not let us.
    pub(crate) fn mount(folder: &Path, size_mib: u32) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).context("cannot make the mount point")?;
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size_mib}m"), "tmpfs"])
            .arg(folder)
            .stdin(Stdio::null())
            .output()
            .context("there is no mount program")?;
        ensure!(
            output.status.success(),
            "a small disk cannot be mounted here: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(Self { folder: folder.to_owned() })
    }

    /// Whether this machine lets us mount one; an error says why not.
    pub(crate) fn probe() -> anyhow::Result<()> {
        let folder = std::env::temp_dir().join(format!("load-disk-{}", std::process::id()));
        let probed = Self::mount(&folder, 1).map(drop);
        std::fs::remove_dir(&folder).ok();
        probed
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes every byte that is left.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        let mut filler = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.filler())
            .context("cannot open the filler")?;
        for size in [1 << 20, 4096, 1] {
            let chunk = vec![0xf1; size];
            while filler.write_all(&chunk).is_ok() {}
        }
        Ok(())
    }

    /// Gives the room back.
    pub(crate) fn empty(&self) -> anyhow::Result<()> {
        std::fs::remove_file(self.filler()).context("cannot remove the filler")
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: whatever still has a file open there is about to end.
        let unmounted = Command::new("umount").arg("-l").arg(&self.folder).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            crate::say(&format!("{} stays mounted", self.folder.display()));
        }
    }
}
