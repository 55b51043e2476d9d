//! One segment file: what is known of it, and ways to look into it.
//!
//! A [`Segment`] outlives its mapping: while the writer or the sync thread hold the [`Mapping`] it is read
//! through memory, afterwards it is loaded from disk, by `read` and not by mapping, so that a bad sector
//! is an error instead of a signal.

use super::format::{
    self, CUT_WORD, FIRST_SLOT_WORD, HEADER_LEN, Number, RecordBuf, SLOT_LEN, SLOT_WORDS, cut_salt,
};
use super::fs::Fs;
use super::mapping::Mapping;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;
use uuid::Uuid;

/// Stands for a number that is not known yet.
const UNSET: u64 = u64::MAX;

/// Locks; a panic elsewhere leaves these small states whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A segment file of one spool.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) index: u32,
    pub(super) seed: u64,
    /// Bytes it takes on disk.
    pub(super) len_bytes: u64,
    map: Mutex<Weak<Mapping>>,
    first_seq: AtomicU64,
    sealed: AtomicU64,
    lost_after: AtomicU64,
    /// Since when Postgres has all of it; only upkeep looks.
    pub(super) committed_since: Mutex<Option<Instant>>,
}

impl Segment {
    /// A segment nothing was written to.
    pub(super) fn new(path: PathBuf, spool: Uuid, index: u32, len_bytes: u64) -> Self {
        Self {
            path,
            index,
            seed: format::seed(spool, index),
            len_bytes,
            map: Mutex::new(Weak::new()),
            first_seq: AtomicU64::new(UNSET),
            sealed: AtomicU64::new(UNSET),
            lost_after: AtomicU64::new(0),
            committed_since: Mutex::new(None),
        }
    }

    /// Lets readers look through this mapping for as long as somebody holds it.
    pub(super) fn mapped(&self, map: &Arc<Mapping>) {
        *lock(&self.map) = Arc::downgrade(map);
    }

    /// Sequence of the first record, once there is one.
    pub(super) fn first_seq(&self) -> Option<u64> {
        known(self.first_seq.load(Ordering::Acquire))
    }

    /// Records in it, once nothing more will be written.
    pub(super) fn sealed(&self) -> Option<u64> {
        known(self.sealed.load(Ordering::Acquire))
    }

    /// Sequences lost after its last record, so far.
    pub(super) fn lost_after(&self) -> u64 {
        self.lost_after.load(Ordering::Acquire)
    }

    /// Remembers a number, without writing it to the file.
    pub(super) fn note(&self, number: Number, value: u64) {
        match number {
            Number::FirstSeq => self.first_seq.store(value, Ordering::Release),
            Number::Sealed => self.sealed.store(value, Ordering::Release),
            Number::LostAfter => self.lost_after.store(value, Ordering::Release),
            Number::Floor => {}
        }
    }

    /// Writes a number to the file and remembers it. The file has it first.
    pub(super) fn put(&self, map: &Mapping, number: Number, value: u64) {
        let word = format::checked(self.seed, number as u64, value).to_le();
        for at in number.words() {
            map.words()[at].store(word, Ordering::Release);
        }
        self.note(number, value);
    }

    /// The sequence after everything this segment accounts for; `None` while it is being written.
    pub(super) fn end_seq(&self) -> Option<u64> {
        let sealed = self.sealed()?;
        Some(self.first_seq()? + sealed + self.lost_after())
    }

    /// The segment through memory, if it is still mapped.
    pub(super) fn view_mapped(&self) -> Option<View> {
        lock(&self.map).upgrade().map(View::Mapped)
    }

    /// The segment read from disk. May wait for the disk.
    pub(super) fn load(&self, fs: &Arc<dyn Fs>) -> io::Result<View> {
        let bytes = fs.read(&self.path, u64::MAX)?;
        Ok(View::loaded(&bytes, Arc::clone(fs), self.path.clone()))
    }
}

fn known(value: u64) -> Option<u64> {
    (value != UNSET).then_some(value)
}

/// A segment's words, wherever they are. Beyond the end of a file everything is zero.
pub(super) enum View {
    /// Shared with the writer.
    Mapped(Arc<Mapping>),
    /// Read from disk; nobody writes records to it any more.
    Loaded {
        /// The file's words, the last one filled up with zeros.
        words: Vec<u64>,
        /// Where cut marks go.
        file: (Arc<dyn Fs>, PathBuf),
    },
}

impl View {
    /// A view of a file's bytes.
    pub(super) fn loaded(bytes: &[u8], fs: Arc<dyn Fs>, path: PathBuf) -> Self {
        let words = bytes
            .chunks(8)
            .map(|chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                u64::from_ne_bytes(word)
            })
            .collect();
        Self::Loaded { words, file: (fs, path) }
    }

    /// A word as it stands in memory.
    pub(super) fn word(&self, at: usize) -> u64 {
        match self {
            Self::Mapped(map) => map.words().get(at).map_or(0, |word| word.load(Ordering::Acquire)),
            Self::Loaded { words, .. } => words.get(at).copied().unwrap_or(0),
        }
    }

    /// Slots, counting one that is only begun.
    pub(super) fn slots(&self) -> usize {
        let words = match self {
            Self::Mapped(map) => map.words().len(),
            Self::Loaded { words, .. } => words.len(),
        };
        words.saturating_sub(FIRST_SLOT_WORD).div_ceil(SLOT_WORDS)
    }

    /// A number of the header: the larger where its copies differ, for they only grow.
    pub(super) fn number(&self, seed: u64, number: Number) -> Option<u64> {
        let copies = number.words().map(|at| u64::from_le(self.word(at)));
        copies.into_iter().filter_map(|word| format::unchecked(seed, number as u64, word)).max()
    }

    /// Marks the record at a slot as the last of its frame.
    pub(super) fn set_cut(&mut self, seed: u64, slot: usize, number: u32, clock_ms: i64) -> io::Result<()> {
        let word = format::checked(seed, cut_salt(number), clock_ms.max(0) as u64).to_le();
        let at = word_of(slot) + CUT_WORD;
        match self {
            Self::Mapped(map) => map.words()[at].store(word, Ordering::Release),
            Self::Loaded { words, file: (fs, path) } => {
                words[at] = word;
                fs.write_at(path, at as u64 * 8, &word.to_ne_bytes())?;
            }
        }
        Ok(())
    }

    /// The bytes of a run of slots, as evidence.
    pub(super) fn bytes(&self, slots: std::ops::Range<usize>) -> Vec<u8> {
        (word_of(slots.start)..word_of(slots.end)).flat_map(|at| self.word(at).to_ne_bytes()).collect()
    }
}

/// First word of a slot.
pub(super) const fn word_of(slot: usize) -> usize {
    FIRST_SLOT_WORD + slot * SLOT_WORDS
}

/// Slots of a file of so many bytes.
pub(super) const fn slots_in(len_bytes: u64) -> usize {
    (len_bytes as usize).saturating_sub(HEADER_LEN) / SLOT_LEN
}

/// Bytes of a file up to a slot.
pub(super) const fn len_to(slot: usize) -> u64 {
    (HEADER_LEN + slot * SLOT_LEN) as u64
}

/// A place between two records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Place {
    /// The next slot.
    pub(super) slot: usize,
    /// The number the next record has.
    pub(super) number: u32,
}

/// What stands at a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// A record, now in the buffer; `lost` numbers before it are not readable.
    Record { at: Place, slots: usize, lost: u32 },
    /// Nothing, and nothing readable after it.
    Empty,
    /// Something unreadable, and nothing readable after it.
    Broken,
}

/// Reads the record at `place` into `buf` and moves on; looks beyond damage for the next readable one.
///
/// `growing` says that the writer is still at it: then an unwritten slot is the end, and is not searched
/// beyond.
pub(super) fn step(view: &View, seed: u64, place: &mut Place, buf: &mut RecordBuf, growing: bool) -> Step {
    let end = view.slots();
    let from = *place;
    let mut slot = from.slot;
    let empty = slot >= end || view.word(word_of(slot)) == 0;
    if empty && growing {
        return Step::Empty;
    }
    while slot < end {
        // A lost record took a slot at least, so that a plausible number is bounded by the way come.
        let reach = (slot - from.slot) as u64 + u64::from(from.number);
        if let Some((slots, number)) = read(view, seed, slot, buf, from.number, reach) {
            *place = Place { slot: slot + slots, number: number + 1 };
            return Step::Record { at: Place { slot, number }, slots, lost: number - from.number };
        }
        slot += 1;
    }
    if empty { Step::Empty } else { Step::Broken }
}

/// The record at a slot, if it verifies and its number is within bounds.
fn read(
    view: &View,
    seed: u64,
    slot: usize,
    buf: &mut RecordBuf,
    number_min: u32,
    number_max: u64,
) -> Option<(usize, u32)> {
    let at = word_of(slot);
    let commit = view.word(at);
    if commit == 0 {
        return None;
    }
    buf.set_word(0, commit);
    for word in 1..SLOT_WORDS {
        buf.set_word(word, view.word(at + word));
    }
    let number = buf.number();
    let slots = buf.slots()?;
    if number < number_min || u64::from(number) > number_max || slot + slots > view.slots() {
        return None;
    }
    for word in SLOT_WORDS..slots * SLOT_WORDS {
        buf.set_word(word, view.word(at + word));
    }
    (buf.verify(seed, slots) && buf.click().is_some()).then_some((slots, number))
}

/// Where the readable records of a segment nobody writes to any more end: the place after the last one, and
/// whether something unreadable stands there.
pub(super) fn end_of(view: &View, seed: u64, buf: &mut RecordBuf) -> (Place, bool) {
    let mut place = Place::default();
    loop {
        match step(view, seed, &mut place, buf, false) {
            Step::Record { .. } => {}
            Step::Empty => return (place, false),
            Step::Broken => return (place, true),
        }
    }
}
