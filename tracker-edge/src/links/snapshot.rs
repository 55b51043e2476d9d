//! The link map on local disk, so that an edge starts with what it knew although Redis is away.
//!
//! Written from time to time to a file beside the real one, synced, then renamed over it: a reader sees
//! a whole snapshot, the old or the new. Version 1, little-endian:
//!
//! ```text
//! magic "AOSLINKS", version 4 = 1, length of the position 4, position
//! records: length 2, a `shared::link_record`; a length of 0 ends them
//! links 8, XXH3-64 of everything before 8
//! ```
//!
//! The position is the place in the change stream the map had certainly reached when the save began
//! (epoch, number, entry, separated by line feeds), or nothing. A snapshot that is cut short, damaged or of
//! another version is not used: starting empty is slower, not wrong.

use super::cache::Cache;
use super::shard::SHARDS;
use super::updates::Position;
use shared::LinkRecord;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;
use xxhash_rust::xxh3::Xxh3;

/// The file's name, unless configured otherwise; it lies in the spool folder, the one place that is kept.
pub(crate) const FILE: &str = "links.snapshot";
/// The file being written, before it takes the other's place.
pub(crate) const FILE_NEW: &str = "links.new";
const MAGIC: &[u8; 8] = b"AOSLINKS";
const VERSION: u32 = 1;
/// Large enough that a save is a few thousand system calls for ten million links.
const BUFFER: usize = 1 << 20;
/// No position is longer; a length beyond it is damage.
const POSITION_MAX: usize = 1024;

/// Why a snapshot was not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// There is none, or it cannot be read.
    #[error("cannot read the snapshot")]
    Io(#[from] io::Error),
    /// Not a snapshot of this version.
    #[error("not a snapshot this build can read")]
    Unknown,
    /// Cut short or damaged.
    #[error("the snapshot is damaged")]
    Damaged,
}

/// Writes everything the map holds. Returns the number of links.
pub(crate) fn save(path: &Path, cache: &Cache, position: Option<&Position>) -> io::Result<u64> {
    let beside = path.with_file_name(FILE_NEW);
    let mut out = Sum { to: BufWriter::with_capacity(BUFFER, File::create(&beside)?), hash: Xxh3::new() };
    let position = position.map_or_else(String::new, position_text);
    out.write_all(MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    out.write_all(&(position.len() as u32).to_le_bytes())?;
    out.write_all(position.as_bytes())?;
    let (mut links, mut failed) = (0u64, None);
    for shard in 0..SHARDS {
        cache.for_each_in(shard, |record| {
            if failed.is_none() {
                failed = write_record(&mut out, record).err();
                links += 1;
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
    }
    out.write_all(&0u16.to_le_bytes())?;
    out.write_all(&links.to_le_bytes())?;
    let hash = out.hash.digest();
    out.to.write_all(&hash.to_le_bytes())?;
    let file = out.to.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    // The rename itself is only certain once the folder is synced.
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(links)
}

fn write_record(out: &mut impl Write, record: &LinkRecord<'_>) -> io::Result<()> {
    let bytes = record.encode();
    out.write_all(&(bytes.len() as u16).to_le_bytes())?;
    out.write_all(&bytes)
}

/// Reads a snapshot into the map. Returns the number of links and the position they had reached.
/// Nothing is read into the map before the whole file was found sound: a flipped bit in a destination
/// would send people somewhere else.
pub(crate) fn load(path: &Path, cache: &Cache) -> Result<(u64, Option<Position>), LoadError> {
    let mut file = File::open(path)?;
    verify(&mut file)?;
    file.rewind()?;
    let mut from = BufReader::with_capacity(BUFFER, file);
    if &take::<8>(&mut from)? != MAGIC || u32::from_le_bytes(take(&mut from)?) != VERSION {
        return Err(LoadError::Unknown);
    }
    let position_len = u32::from_le_bytes(take(&mut from)?) as usize;
    if position_len > POSITION_MAX {
        return Err(LoadError::Damaged);
    }
    let mut bytes = vec![0; position_len];
    fill(&mut from, &mut bytes)?;
    let position = std::str::from_utf8(&bytes).ok().and_then(parse_position);
    let mut links = 0;
    loop {
        let len = usize::from(u16::from_le_bytes(take(&mut from)?));
        if len == 0 {
            break;
        }
        bytes.resize(len, 0);
        fill(&mut from, &mut bytes)?;
        cache.put(&LinkRecord::decode(&bytes).map_err(|_| LoadError::Damaged)?);
        links += 1;
    }
    if u64::from_le_bytes(take(&mut from)?) != links {
        return Err(LoadError::Damaged);
    }
    Ok((links, position))
}

/// Compares the file with the checksum at its end.
fn verify(file: &mut File) -> Result<(), LoadError> {
    let summed = file.metadata()?.len().checked_sub(8).ok_or(LoadError::Damaged)?;
    let mut hash = Xxh3::new();
    let mut block = vec![0; BUFFER];
    let mut left = summed;
    while left > 0 {
        let len = left.min(BUFFER as u64) as usize;
        let Some(part) = block.get_mut(..len) else { break };
        fill(file, part)?;
        hash.update(part);
        left -= len as u64;
    }
    if u64::from_le_bytes(take(file)?) == hash.digest() { Ok(()) } else { Err(LoadError::Damaged) }
}

fn position_text(position: &Position) -> String {
    match position.number {
        Some(number) => format!("{}\n{number}\n{}", position.epoch, position.entry),
        None => String::new(),
    }
}

fn parse_position(text: &str) -> Option<Position> {
    let mut lines = text.split('\n');
    let (epoch, number, entry) = (lines.next()?, lines.next()?.parse().ok()?, lines.next()?);
    Some(Position { epoch: epoch.to_owned(), number: Some(number), entry: entry.to_owned(), missing: 0 })
}

/// Passes bytes on and sums them.
struct Sum<W> {
    to: W,
    hash: Xxh3,
}

impl<W: Write> Write for Sum<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn fill(from: &mut impl Read, bytes: &mut [u8]) -> Result<(), LoadError> {
    from.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => LoadError::Damaged,
        _ => LoadError::Io(error),
    })
}

fn take<const N: usize>(from: &mut impl Read) -> Result<[u8; N], LoadError> {
    let mut bytes = [0; N];
    fill(from, &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::{ClassSet, LinkKey, LinkStatus, SystemClock};
    use std::sync::Arc;

    fn cache_of(links: u64) -> Cache {
        let cache = Cache::new(64 << 20, Arc::new(SystemClock));
        for link in 1..=links {
            let destination = format!("https://shop{}.example/{link}", link % 9);
            cache.put(&LinkRecord {
                link: LinkKey(link),
                version: link * 3,
                status: [LinkStatus::Active, LinkStatus::Gone, LinkStatus::Untracked][(link % 3) as usize],
                advertiser: 7,
                program: 8,
                affiliate: link as u32,
                pay_classes: ClassSet::DEFAULT,
                dedup_seconds: 10,
                click_id_param: if link % 2 == 0 { "cid" } else { "" },
                has_macros: link % 5 == 0,
                destination: &destination,
            });
        }
        cache
    }

    fn all(cache: &Cache) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for shard in 0..SHARDS {
            cache.for_each_in(shard, |record| all.push(record.encode()));
        }
        all.sort();
        all
    }

    fn position() -> Position {
        Position { epoch: "e".into(), number: Some(42), entry: "1700000000000-3".into(), missing: 0 }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("links.snapshot");
        let cache = cache_of(5_000);
        assert_eq!(save(&path, &cache, Some(&position())).unwrap(), 5_000);
        assert_eq!(save(&path, &cache, Some(&position())).unwrap(), 5_000, "over an older one");
        let loaded = cache_of(0);
        let (links, found) = load(&path, &loaded).unwrap();
        assert_eq!((links, found), (5_000, Some(position())));
        assert_eq!(all(&loaded), all(&cache));
    }

    #[test]
    fn an_empty_map_without_a_position_is_a_snapshot_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("links.snapshot");
        save(&path, &cache_of(0), None).unwrap();
        assert_eq!(load(&path, &cache_of(0)).unwrap(), (0, None));
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("links.snapshot");
        save(&path, &cache_of(5), Some(&position())).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for len in 0..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            assert!(load(&path, &cache_of(0)).is_err(), "cut to {len}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, damaged).unwrap();
            let cache = cache_of(0);
            assert!(load(&path, &cache).is_err(), "flipped at {at}");
            assert_eq!(cache.size().links, 0);
        }
        assert!(load(&folder.path().join("none"), &cache_of(0)).is_err());
    }
}
