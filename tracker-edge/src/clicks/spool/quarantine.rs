//! Bytes of damaged records, kept for a person to look at.
//!
//! The clicks in them are declared lost whether this works or not. Limits: the first 64 KiB of a damaged
//! stretch, a hundred stretches.

use std::path::Path;
use uuid::Uuid;

/// Name of the folder in the spool folder.
pub(super) const FOLDER: &str = "damaged";
/// Bytes kept of one stretch.
pub(super) const BYTES_MAX: usize = 64 << 10;
const FILES_MAX: usize = 100;

/// Keeps the bytes between two readable records.
pub(super) fn keep(spool_folder: &Path, spool: Uuid, first_seq: u64, bytes: &[u8]) {
    let folder = spool_folder.join(FOLDER);
    let kept = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::read_dir(&folder))
        .map(|files| files.count() < FILES_MAX)
        .and_then(|room| {
            let name = format!("{}-{first_seq}.bin", spool.simple());
            if room { std::fs::write(folder.join(name), bytes) } else { Ok(()) }
        });
    if let Err(error) = kept {
        tracing::warn!(%error, "could not keep the bytes of damaged click records");
    }
}
