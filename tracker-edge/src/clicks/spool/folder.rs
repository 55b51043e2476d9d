//! The spool folder: one process at a time, and the edge id that stays with it.

use super::quarantine;
use crate::links::snapshot;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Name of the file that holds the edge id.
const EDGE_FILE: &str = "edge";

/// Takes the folder for this process, until the file returned is closed or the process ends, however it
/// ends. The lock is on the folder itself, so that it needs no room on the disk.
pub(super) fn take(dir: &Path) -> io::Result<Option<File>> {
    std::fs::create_dir_all(dir)?;
    let folder = File::open(dir)?;
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// The edge id of this folder, made when there is none.
///
/// The file names its own inode: in a copied folder it names another's, and the copy takes a new id,
/// so that two edges never share one. (A cloned disk image keeps inodes; shipping notices that.)
pub(super) fn edge_id(dir: &Path) -> io::Result<u64> {
    let path = dir.join(EDGE_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let inode = std::fs::metadata(&path)?.ino();
            match parse(&text) {
                Some((id, named)) if named == inode => return Ok(id),
                Some(_) => {
                    tracing::warn!("the spool folder is a copy of another edge's: taking a new edge id");
                }
                None => tracing::warn!("the spool folder's edge id is unreadable: taking a new one"),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let id = random_u64()?;
    write_id(dir, &path, id)?;
    Ok(id)
}

/// A random number.
pub(super) fn random_u64() -> io::Result<u64> {
    getrandom::u64().map_err(|error| io::Error::other(error.to_string()))
}

fn parse(text: &str) -> Option<(u64, u64)> {
    let (id, inode) = text.trim_end().split_once(' ')?;
    Some((u64::from_str_radix(id, 16).ok()?, inode.parse().ok()?))
}

/// Writes the id whole or not at all.
fn write_id(dir: &Path, path: &Path, id: u64) -> io::Result<()> {
    let draft = dir.join("edge.new");
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    let inode = file.metadata()?.ino();
    writeln!(file, "{id:016x} {inode}")?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    File::open(dir)?.sync_all()
}

/// Whether a name in the folder is ours without being a segment.
pub(super) fn is_own_name(name: &str) -> bool {
    matches!(name, EDGE_FILE | "edge.new" | snapshot::FILE | snapshot::FILE_NEW | quarantine::FOLDER)
}
