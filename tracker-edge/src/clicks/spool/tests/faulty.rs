//! A disk that refuses, forgets and damages on command.

use crate::clicks::spool::fs::{Disk, Fs};
use crate::clicks::spool::mapping::Mapping;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The real file system, with switches.
#[derive(Debug, Default)]
pub(super) struct FaultyDisk {
    /// Bytes that may be allocated; what is removed comes back.
    pub(super) room: AtomicU64,
    /// Syncs fail once per `true`.
    pub(super) sync_fails: AtomicBool,
    /// What a power cut leaves of each file: its synced part.
    synced: Mutex<BTreeMap<PathBuf, Vec<u8>>>,
}

impl FaultyDisk {
    pub(super) fn with_room(room: u64) -> Self {
        Self { room: AtomicU64::new(room), ..Self::default() }
    }

    /// Puts every file back to what was last synced, and removes those that never were.
    pub(super) fn cut_power(&self, folder: &Path) {
        let synced = self.synced.lock().unwrap();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "seg") {
                match synced.get(&path) {
                    Some(bytes) => std::fs::write(&path, bytes).unwrap(),
                    None => std::fs::remove_file(&path).unwrap(),
                }
            }
        }
    }

    fn take(&self, len: u64) -> io::Result<()> {
        self.room
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |room| room.checked_sub(len))
            .map(drop)
            .map_err(|_| io::Error::from_raw_os_error(libc::ENOSPC))
    }
}

impl Fs for FaultyDisk {
    fn create(&self, path: &Path, len: u64, head: &[u8]) -> io::Result<File> {
        self.take(len)?;
        let file = Disk.create(path, len, head)?;
        self.synced.lock().unwrap().insert(path.to_owned(), std::fs::read(path)?);
        Ok(file)
    }

    fn sync(&self, path: &Path, map: &Mapping, len: usize) -> io::Result<()> {
        if self.sync_fails.swap(false, Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        Disk.sync(path, map, len)?;
        let bytes = std::fs::read(path)?;
        let mut synced = self.synced.lock().unwrap();
        let kept = synced.entry(path.to_owned()).or_insert_with(|| vec![0; bytes.len()]);
        kept[..len].copy_from_slice(&bytes[..len]);
        Ok(())
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        Disk.sync_file(path)?;
        self.synced.lock().unwrap().insert(path.to_owned(), std::fs::read(path)?);
        Ok(())
    }

    fn read(&self, path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
        Disk.read(path, len_max)
    }

    fn write_at(&self, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
        Disk.write_at(path, at, bytes)
    }

    fn shorten(&self, path: &Path, len: u64) -> io::Result<()> {
        let before = std::fs::metadata(path)?.len();
        Disk.shorten(path, len)?;
        self.room.fetch_add(before - len, Ordering::SeqCst);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let len = std::fs::metadata(path).map_or(0, |about| about.len());
        Disk.remove(path)?;
        self.room.fetch_add(len, Ordering::SeqCst);
        self.synced.lock().unwrap().remove(path);
        Ok(())
    }
}
