//! Custom domains on local disk, as sealed as they came, so that an edge starts with them while Redis is away.
//!
//! Written beside the real file, synced, then renamed over it. Version 1, little-endian:
//!
//! ```text
//! magic "AOSDOMNS", version 4 = 1
//! records: length 4, a `shared::domain_record`; a length of 0 ends them
//! XXH3-64 of everything before 8
//! ```
//!
//! A file that is cut short, damaged or of another version is not used; each record in it is authenticated
//! besides.

use super::{BYTES_MAX, Domains};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// The file's name, beside the snapshot of links.
pub(crate) const FILE: &str = "domains.snapshot";
const MAGIC: &[u8; 8] = b"AOSDOMNS";
const VERSION: u32 = 1;

/// Writes all domains.
pub(super) fn save(domains: &Domains) -> io::Result<()> {
    let beside = domains.snapshot.with_extension("new");
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    let mut out = Sum { to: BufWriter::new(file), hash: Xxh3::new() };
    out.write(MAGIC)?;
    out.write(&VERSION.to_le_bytes())?;
    for domain in domains.map.load().values() {
        out.write(&(domain.record.len() as u32).to_le_bytes())?;
        out.write(&domain.record)?;
    }
    out.write(&0u32.to_le_bytes())?;
    let hash = out.hash.digest();
    out.to.write_all(&hash.to_le_bytes())?;
    out.to.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    std::fs::rename(&beside, &domains.snapshot)?;
    // The rename itself is only certain once the folder is synced.
    if let Some(folder) = domains.snapshot.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Loads the domains, if there is a usable file.
pub(crate) fn load(domains: &Domains) {
    let read = std::fs::metadata(&domains.snapshot).and_then(|found| {
        if found.len() > BYTES_MAX as u64 * 2 {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        std::fs::read(&domains.snapshot)
    });
    match read.map(|bytes| records(&bytes)) {
        Ok(Some(records)) => {
            domains.take(records, true);
            tracing::info!(domains = domains.map.load().len(), "custom domains from the snapshot");
        }
        Ok(None) => tracing::warn!("starting without the snapshot of custom domains: it is damaged"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, "starting without the snapshot of custom domains"),
    }
}

fn records(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (content, hash) = bytes.split_last_chunk::<8>()?;
    if xxh3_64(content) != u64::from_le_bytes(*hash) {
        return None;
    }
    let rest = content.strip_prefix(MAGIC)?;
    let mut rest = rest.strip_prefix(&VERSION.to_le_bytes())?;
    let mut records = Vec::new();
    loop {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 {
            return after.is_empty().then_some(records);
        }
        let (record, after) = after.split_at_checked(length)?;
        records.push(record.to_vec());
        rest = after;
    }
}

/// Sums up what it writes.
struct Sum {
    to: BufWriter<File>,
    hash: Xxh3,
}

impl Sum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.to.write_all(bytes)
    }
}
