//! Start after any end: what the segment files of earlier processes still hold.
//!
//! Recovery looks at every header but reads only the last segment of each spool (and those whose header
//! is damaged) to the end; the rest is verified when it is shipped. What it finds out it writes down, in
//! the files, so that doing it twice gives the same: `recover(recover(x)) = recover(x)`. It deletes only
//! segments that hold nothing, shortens only what follows the last record, and leaves alone whatever
//! it does not understand.

use super::folder;
use super::format::{self, HEADER_LEN, Header, HeaderError, Number, RecordBuf};
use super::fs::Fs;
use super::segment::{Segment, View, end_of, len_to, lock};
use super::state::Spool;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use uuid::Uuid;

/// What a folder held.
#[derive(Default)]
pub(super) struct Recovered {
    pub(super) spools: Vec<Arc<Spool>>,
    /// Bytes of their segments.
    pub(super) bytes: u64,
    /// Files left alone: not ours, not readable by this build, or damaged beyond recognition.
    pub(super) foreign: u64,
}

/// File name of a segment.
pub(super) fn file_name(spool: Uuid, index: u32) -> String {
    format!("{}-{index:08}.seg", spool.simple())
}

fn parse_name(name: &str) -> Option<(Uuid, u32)> {
    let (spool, index) = name.strip_suffix(".seg")?.split_once('-')?;
    let spool = Uuid::try_parse(spool).ok()?;
    let index = index.parse().ok()?;
    (file_name(spool, index) == name).then_some((spool, index))
}

/// A segment file as found.
struct Found {
    segment: Segment,
    edge: Option<u64>,
    /// Whether it is as long as it was made.
    whole: bool,
    /// Records known to have been written, when the header says so.
    floor: u64,
    /// The file and where its records end, once that was needed.
    scan: Option<Scan>,
}

struct Scan {
    records: u64,
    end_slot: usize,
    broken: bool,
}

/// Recovers all spools of a folder. Fails only if the folder cannot be listed.
pub(super) fn recover(dir: &Path, fs: &Arc<dyn Fs>, edge: u64) -> io::Result<Recovered> {
    let mut recovered = Recovered::default();
    let mut by_spool: BTreeMap<Uuid, BTreeMap<u32, Found>> = BTreeMap::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if folder::is_own_name(&name) {
            continue;
        }
        let found = match parse_name(&name) {
            Some((spool, index)) => inspect(entry.path(), spool, index, fs).map(|found| (spool, found)),
            None => Err("not a segment"),
        };
        match found {
            Ok((_, None)) => remove(fs, &entry.path()),
            Ok((spool, Some(found))) => {
                by_spool.entry(spool).or_default().insert(found.segment.index, found);
            }
            Err(why) => {
                recovered.foreign += 1;
                tracing::warn!(file = %name, why, "left alone in the spool folder");
            }
        }
    }
    let mut buf = RecordBuf::new();
    for (id, found) in by_spool {
        let mut found: Vec<_> = found.into_values().collect();
        recovered.foreign += place_lost_starts(&mut found, fs, &mut buf);
        if let Some(spool) = assemble(id, found, fs, edge, &mut buf) {
            recovered.bytes += lock(&spool.segments).iter().map(|segment| segment.len_bytes).sum::<u64>();
            recovered.spools.push(Arc::new(spool));
        }
    }
    Ok(recovered)
}

/// Looks at one file. `Ok(None)`: it holds nothing.
fn inspect(path: PathBuf, spool: Uuid, index: u32, fs: &Arc<dyn Fs>) -> Result<Option<Found>, &'static str> {
    let head = fs.read(&path, HEADER_LEN as u64).map_err(|_| "its header cannot be read")?;
    let len_bytes = std::fs::metadata(&path).map_err(|_| "it cannot be examined")?.len();
    let header = match Header::decode(&head) {
        Ok(header) if (header.spool, header.index) == (spool, index) => Some(header),
        Ok(_) => return Err("it is named as another segment"),
        Err(HeaderError::UnknownVersion(_)) => return Err("a newer build wrote it"),
        // The name says the same, and the records prove it.
        Err(HeaderError::Damaged) => None,
    };
    let segment = Segment::new(path, spool, index, len_bytes);
    let seed = segment.seed;
    let view = View::loaded(&head, Arc::clone(fs), segment.path.clone());
    let numbers = [Number::FirstSeq, Number::Sealed, Number::LostAfter];
    for number in numbers {
        if let Some(value) = view.number(seed, number) {
            segment.note(number, value);
        }
    }
    let floor = view.number(seed, Number::Floor).unwrap_or(0);
    let edge = header.map(|header| header.edge);
    let whole = header.is_none_or(|header| header.len_bytes == len_bytes);
    let mut found = Found { segment, edge, whole, floor, scan: None };
    if found.segment.first_seq().is_none() {
        // Never used, or the header was damaged: the records tell.
        let used = found.scan(fs, &mut RecordBuf::new()).map_err(|_| "it cannot be read")?.records > 0;
        if !used && found.segment.sealed().is_none() {
            let blank = header.is_some() || head.iter().all(|byte| *byte == 0);
            return if blank { Ok(None) } else { Err("it is damaged beyond recognition") };
        }
    }
    Ok(Some(found))
}

impl Found {
    /// Reads the file to its end. Once.
    fn scan(&mut self, fs: &Arc<dyn Fs>, buf: &mut RecordBuf) -> io::Result<&Scan> {
        let scan = match self.scan.take() {
            Some(scan) => scan,
            None => {
                let view = self.segment.load(fs)?;
                let (end, broken) = end_of(&view, self.segment.seed, buf);
                Scan { records: u64::from(end.number), end_slot: end.slot, broken }
            }
        };
        Ok(self.scan.insert(scan))
    }

    /// How many records the segment accounts for: those there, and those that must have been there.
    fn records(&mut self, fs: &Arc<dyn Fs>, buf: &mut RecordBuf) -> u64 {
        if let Some(sealed) = self.segment.sealed() {
            return sealed;
        }
        let floor = self.floor;
        match self.scan(fs, buf) {
            // Something stands there that was committed once: at least one click.
            Ok(scan) => floor.max(scan.records + u64::from(scan.broken)),
            Err(_) => floor,
        }
    }

    /// Writes a number to the file, so that the next recovery finds it. Failing is no harm done.
    fn put(&self, fs: &Arc<dyn Fs>, number: Number, value: u64) -> bool {
        self.segment.note(number, value);
        let word = format::checked(self.segment.seed, number as u64, value).to_le_bytes();
        number.words().iter().all(|at| fs.write_at(&self.segment.path, *at as u64 * 8, &word).is_ok())
    }
}

/// Puts a spool together from its segments, in their order.
fn assemble(
    id: Uuid,
    mut segments: Vec<Found>,
    fs: &Arc<dyn Fs>,
    edge: u64,
    buf: &mut RecordBuf,
) -> Option<Spool> {
    let last = segments.last_mut()?;
    let records = last.records(fs, buf);
    if last.segment.sealed().is_some() || last.put(fs, Number::Sealed, records) {
        shorten(last, fs, buf);
    }
    let accepted = last.segment.end_seq()?;
    if accepted == 0 {
        for found in &segments {
            remove(fs, &found.segment.path);
        }
        return None;
    }
    let spool = Spool::new(id, segments.iter().find_map(|found| found.edge).unwrap_or(edge), false);
    spool.hot.accepted.store(accepted, Ordering::Release);
    spool.hot.taken.store(segments.len() as u64, Ordering::Release);
    *lock(&spool.segments) = segments.into_iter().map(|found| Arc::new(found.segment)).collect();
    Some(spool)
}

/// A segment whose first sequence is not readable follows directly on the one before, or precedes the next.
/// One that has neither is left alone: under a wrong sequence its clicks would pass for others.
fn place_lost_starts(segments: &mut Vec<Found>, fs: &Arc<dyn Fs>, buf: &mut RecordBuf) -> u64 {
    for at in 0..segments.len() {
        let index = segments[at].segment.index;
        if segments[at].segment.first_seq().is_some() {
            continue;
        }
        let records = segments[at].records(fs, buf) + segments[at].segment.lost_after();
        let neighbour = |at: Option<usize>, of: u32| {
            at.filter(|at| segments.get(*at).is_some_and(|found| found.segment.index == of))
        };
        let before = index.checked_sub(1).and_then(|of| neighbour(at.checked_sub(1), of));
        let next = neighbour(Some(at + 1), index + 1);
        let follows = before.and_then(|before| {
            let first = segments[before].segment.first_seq()?;
            Some(first + segments[before].records(fs, buf) + segments[before].segment.lost_after())
        });
        let precedes = next.and_then(|next| segments[next].segment.first_seq()?.checked_sub(records));
        if let Some(first_seq) = follows.or(precedes).or((index == 0).then_some(0)) {
            segments[at].put(fs, Number::FirstSeq, first_seq);
        }
    }
    let before = segments.len();
    segments.retain(|found| found.segment.first_seq().is_some());
    let unplaced = (before - segments.len()) as u64;
    if unplaced > 0 {
        tracing::error!(unplaced, "segments left alone: nothing says which sequences they hold");
    }
    unplaced
}

/// Gives back what follows the last record, unless something unreadable stands there.
fn shorten(found: &mut Found, fs: &Arc<dyn Fs>, buf: &mut RecordBuf) {
    if !found.whole {
        return;
    }
    let Ok(Scan { end_slot, broken: false, .. }) = found.scan(fs, buf) else { return };
    let len_bytes = len_to(*end_slot);
    if len_bytes < found.segment.len_bytes && fs.shorten(&found.segment.path, len_bytes).is_ok() {
        found.segment.len_bytes = len_bytes;
    }
}

fn remove(fs: &Arc<dyn Fs>, path: &Path) {
    if let Err(error) = fs.remove(path) {
        tracing::warn!(%error, "could not remove an empty segment");
    }
}
