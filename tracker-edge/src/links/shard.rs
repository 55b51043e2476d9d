//! One part of the link map: an open-addressed table of 16-byte slots and an arena they point into.
//!
//! Readers take no lock and make no system call: they load the current table, probe it and copy the
//! record out. Everything they touch is an atomic, so no `unsafe` is needed. One writer at a time, under
//! the shard's mutex, works in place:
//!
//! - A record is written into the arena first, then its place is published (release), then, when the
//!   key is new, the key. What is in the arena never changes, so a reader sees a whole record: the old
//!   one or the new one.
//! - A table that is too small or too dirty is replaced by another behind an [`ArcSwap`]; readers of the
//!   old one finish on it.
//!
//! Keys are never removed in place: links that made room are left out when the shard is rebuilt.
//!
//! Linear probing needs keys that come in no order of their slots, or in tables of their final size: keys in
//! order fill a growing table from one end, and every one of them walks past all before it. Each shard therefore
//! has an order of its own ([`Table::spread`]), so that what one map wrote out in its order another takes in
//! without any, and what has to go is taken from everywhere.
//!
//! A slot's place: bits 0–31 first word in the arena, 32–41 words, 42–57 minute of the last check,
//! 58 whether it was read since the last eviction.

use super::stored::{self, WORDS_MAX};
use arc_swap::ArcSwap;
use shared::LinkKey;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Words of an arena chunk's addresses: 64 KiB. More wastes memory in small edges, less splits records.
const CHUNK_WORDS: usize = 16_384;
/// Words a chunk has: with the counts in front of them it fills its pages and begins no other.
const CHUNK_ROOM: usize = CHUNK_WORDS - 2 * size_of::<usize>() / size_of::<u32>();
const CHUNK_BYTES: usize = CHUNK_WORDS * 4;
const SLOTS_MIN: usize = 16;
const WORDS_SHIFT: u32 = 32;
const CHECKED_SHIFT: u32 = 42;
const HIT: u64 = 1 << 58;
const CHECKED_MASK: u64 = 0xffff << CHECKED_SHIFT;

/// Bits of the hash that choose the shard.
const SHARD_BITS: u32 = 6;
/// Parts of the map: enough that rebuilding one is a matter of milliseconds with 10 million links.
pub(crate) const SHARDS: usize = 1 << SHARD_BITS;

/// Spreads keys that are not random (in tests) as well as those that are.
#[inline]
pub(crate) const fn hash(key: LinkKey) -> u64 {
    let wide = key.0 as u128 * 0x9e37_79b9_7f4a_7c15;
    wide as u64 ^ (wide >> 64) as u64
}

/// The shard of a hash: its highest bits; the slot is chosen by those below.
#[inline]
pub(crate) const fn shard_of(hash: u64) -> usize {
    (hash >> (u64::BITS - SHARD_BITS)) as usize
}

/// Room for one record copied out of the arena.
pub(crate) type Scratch = [u8; WORDS_MAX * 4];

type Chunk = Arc<[AtomicU32]>;

#[derive(Default)]
struct Slot {
    /// The link's key; 0 while the slot is free.
    key: AtomicU64,
    place: AtomicU64,
}

struct Table {
    /// An odd number of the shard's own that decides where keys lie.
    spread: u64,
    slots: Arc<[Slot]>,
    chunks: Box<[OnceLock<Chunk>]>,
}

/// What only the writer knows.
struct Writer {
    /// Words of the arena in use, including what nothing points to any more.
    words: usize,
    garbage: usize,
    len: usize,
}

/// What became of a record that was offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Put {
    /// The link was not known here.
    Inserted,
    /// It replaces an older version.
    Updated,
    /// What is here is as new, or newer.
    Stale,
    /// There is no room for it.
    Refused,
}

/// A record just copied out.
pub(crate) struct Copied {
    /// Its length in the scratch.
    pub(crate) len: usize,
    /// Whether its last check lies further back than the reader asked for. Says so once.
    pub(crate) check_due: bool,
}

/// One part of the map.
pub(crate) struct Shard {
    table: ArcSwap<Table>,
    writer: Mutex<Writer>,
}

impl Table {
    fn with_slots(spread: u64, slots: usize, chunks: usize) -> Self {
        Self {
            spread,
            slots: (0..slots.max(SLOTS_MIN)).map(|_| Slot::default()).collect(),
            chunks: (0..chunks.max(1)).map(|_| OnceLock::new()).collect(),
        }
    }

    #[inline]
    fn start(&self, hash: u64) -> usize {
        let spread = (hash << SHARD_BITS).wrapping_mul(self.spread);
        ((u128::from(spread) * self.slots.len() as u128) >> 64) as usize
    }

    /// The slot of a key, or the free slot where it would be. One is always free.
    #[inline]
    fn find(&self, hash: u64, key: u64) -> (&Slot, bool) {
        let mut at = self.start(hash);
        loop {
            let slot = &self.slots[at];
            match slot.key.load(Ordering::Acquire) {
                0 => return (slot, false),
                found if found == key => return (slot, true),
                _ => at = if at + 1 == self.slots.len() { 0 } else { at + 1 },
            }
        }
    }

    /// The arena words of a place, unless this table is older than the place.
    #[inline]
    fn words(&self, place: u64) -> Option<&[AtomicU32]> {
        let (first, words) = (place as u32 as usize, (place >> WORDS_SHIFT) as usize & 0x3ff);
        let chunk = self.chunks.get(first / CHUNK_WORDS)?.get()?;
        chunk.get(first % CHUNK_WORDS..first % CHUNK_WORDS + words)
    }

    fn bytes(&self) -> usize {
        let chunks = self.chunks.iter().filter(|chunk| chunk.get().is_some()).count();
        self.slots.len() * size_of::<Slot>() + chunks * CHUNK_BYTES
    }

    fn entries(&self) -> impl Iterator<Item = (u64, u64)> {
        self.slots.iter().filter_map(|slot| match slot.key.load(Ordering::Acquire) {
            0 => None,
            key => Some((key, slot.place.load(Ordering::Acquire))),
        })
    }
}

#[inline]
fn copy_out(words: &[AtomicU32], scratch: &mut Scratch) -> usize {
    for (to, word) in scratch.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
    }
    words.len() * 4
}

impl Shard {
    pub(crate) fn new() -> Self {
        let spread = RandomState::new().hash_one(()) | 1;
        Self {
            table: ArcSwap::from_pointee(Table::with_slots(spread, SLOTS_MIN, 1)),
            writer: Mutex::new(Writer { words: 0, garbage: 0, len: 0 }),
        }
    }

    /// Copies a link's record into the scratch.
    ///
    /// `check_after` is in minutes; the caller that is told `check_due` has to have the link checked.
    #[inline]
    pub(crate) fn get(
        &self,
        hash: u64,
        key: LinkKey,
        minute: u16,
        check_after: u16,
        scratch: &mut Scratch,
    ) -> Option<Copied> {
        // A second turn only when the place is newer than the table it was found in.
        for _ in 0..2 {
            let table = self.table.load();
            let (slot, true) = table.find(hash, key.0) else { return None };
            let place = slot.place.load(Ordering::Acquire);
            let Some(words) = table.words(place) else { continue };
            let len = copy_out(words, scratch);
            if place & HIT == 0 {
                slot.place.fetch_or(HIT, Ordering::Relaxed);
            }
            let age = minute.wrapping_sub((place >> CHECKED_SHIFT) as u16);
            let check_due = age >= check_after && {
                let checked = place & !CHECKED_MASK | HIT | u64::from(minute) << CHECKED_SHIFT;
                slot.place.compare_exchange(place | HIT, checked, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            };
            return Some(Copied { len, check_due });
        }
        None
    }

    /// Keeps a record unless what is here is as new. `bytes` is a [`stored`] record.
    pub(crate) fn put(
        &self,
        hash: u64,
        key: LinkKey,
        version: u64,
        bytes: &[u8],
        minute: u16,
        budget: usize,
    ) -> (Put, usize) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let table = self.table.load_full();
        let (slot, known) = table.find(hash, key.0);
        let place = slot.place.load(Ordering::Acquire);
        let mut replaced = 0;
        if known {
            let mut scratch = [0; WORDS_MAX * 4];
            let len = table.words(place).map_or(0, |words| copy_out(words, &mut scratch));
            if stored::decode(&scratch[..len]).is_some_and(|stored| stored.version >= version) {
                let checked = place & !CHECKED_MASK | u64::from(minute) << CHECKED_SHIFT;
                slot.place.store(checked, Ordering::Release);
                return (Put::Stale, 0);
            }
            replaced = len / 4;
        }
        let (table, evicted) = self.make_room(&mut writer, table, bytes.len() / 4, !known, budget);
        let Some(first) = append(&mut writer, &table, bytes) else { return (Put::Refused, evicted) };
        // Making room may have moved everything, or evicted the link itself.
        let (slot, still_known) = table.find(hash, key.0);
        let hit = if still_known { slot.place.load(Ordering::Acquire) & HIT } else { 0 };
        let place = first as u64
            | ((bytes.len() / 4) as u64) << WORDS_SHIFT
            | u64::from(minute) << CHECKED_SHIFT
            | hit;
        slot.place.store(place, Ordering::Release);
        if still_known {
            writer.garbage += replaced;
        } else {
            slot.key.store(key.0, Ordering::Release);
            writer.len += 1;
        }
        (if known { Put::Updated } else { Put::Inserted }, evicted)
    }

    /// Sees to a free slot and free words, within the budget. Returns the table to write into and how
    /// many links had to go.
    fn make_room(
        &self,
        writer: &mut Writer,
        table: Arc<Table>,
        words: usize,
        new_key: bool,
        budget: usize,
    ) -> (Arc<Table>, usize) {
        let slots_full = new_key && (writer.len + 1) * 20 > table.slots.len() * 17;
        let chunk_full = writer.words.is_multiple_of(CHUNK_WORDS) || words > free_words(writer);
        if !slots_full && !chunk_full {
            return (table, 0);
        }
        let more = usize::from(chunk_full) * CHUNK_BYTES
            + usize::from(slots_full) * (table.slots.len() / 4) * size_of::<Slot>();
        let over_budget = table.bytes() + more > budget;
        // A quarter of garbage pays for copying the rest.
        let dirty = chunk_full && writer.garbage * 4 > writer.words && writer.words > CHUNK_WORDS / 2;
        if over_budget || dirty {
            let keep_words = if over_budget { budget / 2 / 4 } else { usize::MAX };
            let before = writer.len;
            let table = Arc::new(rebuild(writer, &table, keep_words));
            self.table.store(Arc::clone(&table));
            return (table, before - writer.len);
        }
        let chunks_needed = (writer.words + words).div_ceil(CHUNK_WORDS) + 1;
        let grown = Table {
            spread: table.spread,
            slots: if slots_full { grow_slots(&table) } else { Arc::clone(&table.slots) },
            chunks: if chunks_needed > table.chunks.len() {
                (0..chunks_needed * 2).map(|i| table.chunks.get(i).cloned().unwrap_or_default()).collect()
            } else if slots_full {
                table.chunks.clone()
            } else {
                return (table, 0);
            },
        };
        let grown = Arc::new(grown);
        self.table.store(Arc::clone(&grown));
        (grown, 0)
    }

    /// Calls `each` with key, minute of the last check and stored bytes of every link.
    pub(crate) fn for_each(&self, mut each: impl FnMut(LinkKey, u16, &[u8])) {
        let table = self.table.load_full();
        let mut scratch = [0; WORDS_MAX * 4];
        for (key, place) in table.entries() {
            if let Some(words) = table.words(place) {
                let len = copy_out(words, &mut scratch);
                each(LinkKey(key), (place >> CHECKED_SHIFT) as u16, &scratch[..len]);
            }
        }
    }

    /// Keys whose last check lies at least `age` minutes back.
    pub(crate) fn keys_unchecked_for(&self, age: u16, minute: u16) -> Vec<LinkKey> {
        let due = |place: u64| minute.wrapping_sub((place >> CHECKED_SHIFT) as u16) >= age;
        self.table
            .load_full()
            .entries()
            .filter(|(_, place)| due(*place))
            .map(|(key, _)| LinkKey(key))
            .collect()
    }

    /// Notes that a link was found to be right at this minute.
    pub(crate) fn checked(&self, hash: u64, key: LinkKey, minute: u16) {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let table = self.table.load();
        if let (slot, true) = table.find(hash, key.0) {
            let place = slot.place.load(Ordering::Acquire);
            slot.place.store(place & !CHECKED_MASK | u64::from(minute) << CHECKED_SHIFT, Ordering::Release);
        }
    }

    /// Links and bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        (writer.len, self.table.load().bytes())
    }
}

/// Words left in the chunk being written.
fn free_words(writer: &Writer) -> usize {
    CHUNK_ROOM.saturating_sub(writer.words % CHUNK_WORDS)
}

/// Puts bytes into the arena; `None` when it is full for good.
fn append(writer: &mut Writer, table: &Table, bytes: &[u8]) -> Option<u32> {
    let words = bytes.len() / 4;
    if words > free_words(writer) {
        let rest = CHUNK_WORDS - writer.words % CHUNK_WORDS;
        writer.garbage += rest;
        writer.words += rest;
    }
    let first = u32::try_from(writer.words).ok()?;
    let chunk = table
        .chunks
        .get(writer.words / CHUNK_WORDS)?
        .get_or_init(|| (0..CHUNK_ROOM).map(|_| AtomicU32::new(0)).collect());
    for (word, bytes) in chunk.iter().skip(writer.words % CHUNK_WORDS).zip(bytes.chunks_exact(4)) {
        let value = u32::from_le_bytes(bytes.try_into().expect("chunks of four are four bytes"));
        word.store(value, Ordering::Relaxed);
    }
    writer.words += words;
    Some(first)
}

fn grow_slots(table: &Table) -> Arc<[Slot]> {
    // A quarter more each time keeps between 68 and 85 of 100 slots used.
    let grown = Table::with_slots(table.spread, table.slots.len() + table.slots.len() / 4 + SLOTS_MIN, 1);
    for (key, place) in table.entries() {
        let (slot, _) = grown.find(hash(LinkKey(key)), key);
        slot.place.store(place, Ordering::Relaxed);
        slot.key.store(key, Ordering::Release);
    }
    grown.slots
}

/// Copies the links into a fresh table: those read since last time first, then others while they fit.
fn rebuild(writer: &mut Writer, table: &Table, keep_words: usize) -> Table {
    let (hot, cold): (Vec<_>, Vec<_>) = table.entries().partition(|(_, place)| place & HIT != 0);
    let mut kept = Vec::with_capacity(hot.len() + cold.len());
    let mut words_kept = keep_evenly(hot, keep_words, &mut kept);
    words_kept += keep_evenly(cold, keep_words - words_kept, &mut kept);
    let chunks = words_kept.div_ceil(CHUNK_WORDS) + 2;
    let fresh = Table::with_slots(table.spread, kept.len() + kept.len() / 3 + SLOTS_MIN, chunks + chunks / 2);
    *writer = Writer { words: 0, garbage: 0, len: 0 };
    // An eviction starts a new round of counting reads; a mere cleaning does not.
    let marks = if keep_words == usize::MAX { !0 } else { !HIT };
    let mut scratch = [0; WORDS_MAX * 4];
    for (key, place) in kept {
        let Some(words) = table.words(place) else { continue };
        let len = copy_out(words, &mut scratch);
        let Some(first) = append(writer, &fresh, &scratch[..len]) else { continue };
        let (slot, _) = fresh.find(hash(LinkKey(key)), key);
        slot.place.store(place & marks & !0xffff_ffff | u64::from(first), Ordering::Relaxed);
        slot.key.store(key, Ordering::Release);
        writer.len += 1;
    }
    fresh
}

/// Words a link takes: four of slot go with every record.
const fn cost(place: u64) -> usize {
    ((place >> WORDS_SHIFT) as usize & 0x3ff) + 4
}

/// Keeps as many as there is room for, from one end to the other: the first ones alone would lie side by side
/// in a table, and always the same would have to go. Returns the words they take.
fn keep_evenly(entries: Vec<(u64, u64)>, room: usize, kept: &mut Vec<(u64, u64)>) -> usize {
    let all: usize = entries.iter().map(|(_, place)| cost(*place)).sum();
    if all <= room {
        kept.extend(entries);
        return all;
    }
    let (mut used, mut passed) = (0, 0);
    for (key, place) in entries {
        passed += cost(place);
        // Its share of the room, so far.
        if (used + cost(place)) as u128 * all as u128 <= passed as u128 * room as u128 {
            used += cost(place);
            kept.push((key, place));
        }
    }
    used
}

#[cfg(test)]
#[path = "shard_tests.rs"]
mod tests;
