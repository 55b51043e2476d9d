//! The few things the spool asks of a file system, as a trait, so that tests can make them fail.

use super::mapping::{self, Mapping};
use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// File operations that a disk may refuse. Reads of the folder go straight to the standard library.
pub trait Fs: Debug + Send + Sync + 'static {
    /// Creates a file of `len` allocated bytes, zero but for `head` at its start, which outlives a power
    /// cut. On failure nothing stays behind.
    fn create(&self, path: &Path, len: u64, head: &[u8]) -> io::Result<File>;

    /// Writes the first `len` bytes of a mapping to the disk and waits for it.
    fn sync(&self, path: &Path, map: &Mapping, len: usize) -> io::Result<()>;

    /// Writes a whole file to the disk and waits for it.
    fn sync_file(&self, path: &Path) -> io::Result<()>;

    /// Reads a file's first bytes, at most so many; parts the disk cannot read are zero.
    fn read(&self, path: &Path, len_max: u64) -> io::Result<Vec<u8>>;

    /// Writes a few bytes of an existing file.
    fn write_at(&self, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Shortens a file nobody has mapped.
    fn shorten(&self, path: &Path, len: u64) -> io::Result<()>;

    /// Removes a file. One that is gone is removed.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Fs for Disk {
    fn create(&self, path: &Path, len: u64, head: &[u8]) -> io::Result<File> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        let made = mapping::allocate(&file, len).and_then(|()| {
            file.write_all_at(head, 0)?;
            file.sync_all()?;
            sync_folder(path)
        });
        match made {
            Ok(()) => Ok(file),
            Err(error) => {
                // The first error is the one that explains; a file that stays is an empty spare.
                drop(self.remove(path));
                Err(error)
            }
        }
    }

    fn sync(&self, _path: &Path, map: &Mapping, len: usize) -> io::Result<()> {
        map.sync(len)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn read(&self, path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
        let file = File::open(path)?;
        let mut bytes = Vec::new();
        match (&file).take(len_max).read_to_end(&mut bytes) {
            Err(error) if error.raw_os_error() == Some(libc::EIO) => read_around_damage(&file, len_max),
            done => done.map(|_| bytes),
        }
    }

    fn write_at(&self, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.write_all_at(bytes, at)
    }

    fn shorten(&self, path: &Path, len: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.set_len(len)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

/// Reads page by page, leaving zeros where the disk fails: a bad sector costs its records, not the file.
fn read_around_damage(file: &File, len_max: u64) -> io::Result<Vec<u8>> {
    const PAGE_LEN: usize = 4096;
    let mut bytes = vec![0; file.metadata()?.len().min(len_max) as usize];
    for (page, into) in bytes.chunks_mut(PAGE_LEN).enumerate() {
        if file.read_exact_at(into, (page * PAGE_LEN) as u64).is_err() {
            into.fill(0);
        }
    }
    Ok(bytes)
}

/// Makes a new name in a folder outlive a power cut.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
