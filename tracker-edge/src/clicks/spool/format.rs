//! The bytes of a segment, version 1: pure functions between clicks and slots.
//!
//! The module documentation of [`super`] is the specification; this file is its only implementation.
//! A version once shipped never changes: its golden bytes must be read for ever.

use shared::click::note::NOTES_LEN_MAX;
use shared::token::LinkKey;
use shared::{Click, ClickClass};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes before the first slot: one page, so that slots keep their own.
pub(super) const HEADER_LEN: usize = 4096;
/// Bytes of a slot. A slot never straddles a disk sector, so a click without long notes is whole or absent.
pub(super) const SLOT_LEN: usize = 64;
/// Words of a slot.
pub(super) const SLOT_WORDS: usize = SLOT_LEN / 8;
/// First word of the first slot.
pub(super) const FIRST_SLOT_WORD: usize = HEADER_LEN / 8;
/// Slots of the longest record.
pub(super) const RECORD_SLOTS_MAX: usize = 1 + (NOTES_LEN_MAX - NOTES_INLINE).div_ceil(SLOT_LEN);
/// Bytes of the longest record.
pub(super) const RECORD_LEN_MAX: usize = RECORD_SLOTS_MAX * SLOT_LEN;
/// Word of a record that marks the end of a frame.
pub(super) const CUT_WORD: usize = 1;
/// Version this build writes.
pub(super) const VERSION: u8 = 1;

const MAGIC: &[u8; 4] = b"AOSS";
const NOTES_AT: usize = 54;
/// Bytes of notes that fit into the first slot.
const NOTES_INLINE: usize = SLOT_LEN - NOTES_AT;
/// Where the checksummed part of a record starts: after the commit and the cut word.
const SUMMED_AT: usize = 16;

/// The unchanging part of a segment's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    /// The spool the segment belongs to.
    pub(super) spool: Uuid,
    /// The edge installation that wrote it.
    pub(super) edge: u64,
    /// Place among the spool's segments, from 0.
    pub(super) index: u32,
    /// Bytes of the file.
    pub(super) len_bytes: u64,
}

/// Why bytes are not a segment's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HeaderError {
    /// Written by a newer build.
    UnknownVersion(u8),
    /// Damaged, or not one of ours.
    Damaged,
}

/// Bytes of [`Header`] in the file.
pub(super) const HEADER_FIXED_LEN: usize = 64;

impl Header {
    /// The header as written at byte 0.
    pub(super) fn encode(&self) -> [u8; HEADER_FIXED_LEN] {
        let mut bytes = [0; HEADER_FIXED_LEN];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4] = VERSION;
        bytes[8..24].copy_from_slice(self.spool.as_bytes());
        bytes[24..32].copy_from_slice(&self.edge.to_le_bytes());
        bytes[32..40].copy_from_slice(&u64::from(self.index).to_le_bytes());
        bytes[40..48].copy_from_slice(&self.len_bytes.to_le_bytes());
        let checksum = xxh3_64(&bytes[..56]);
        bytes[56..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the header from the start of a file.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let bytes = bytes.first_chunk::<HEADER_FIXED_LEN>().ok_or(HeaderError::Damaged)?;
        if &bytes[..4] != MAGIC || le_u64(bytes, 56) != xxh3_64(&bytes[..56]) {
            return Err(HeaderError::Damaged);
        }
        if bytes[4] != VERSION {
            return Err(HeaderError::UnknownVersion(bytes[4]));
        }
        Ok(Self {
            spool: Uuid::from_slice(&bytes[8..24]).map_err(|_| HeaderError::Damaged)?,
            edge: le_u64(bytes, 24),
            index: u32::try_from(le_u64(bytes, 32)).map_err(|_| HeaderError::Damaged)?,
            len_bytes: le_u64(bytes, 40),
        })
    }
}

/// What ties records and words to their segment: a record copied from elsewhere does not verify.
/// It comes from the spool's 128 random bits, which no visitor knows, so that no note can pretend to
/// be a record.
pub(super) fn seed(spool: Uuid, index: u32) -> u64 {
    let mut bytes = [0; 20];
    bytes[..16].copy_from_slice(spool.as_bytes());
    bytes[16..].copy_from_slice(&index.to_le_bytes());
    xxh3_64(&bytes)
}

/// A changing number in the header. It is stored as one word, so it is never half written, with 16 bits
/// of checksum, and twice, in two sectors, so that a damaged one does not matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Number {
    /// Sequence of the segment's first record. Absent: nothing was ever written.
    FirstSeq = 0,
    /// How many records the segment holds. Present once nothing more will come.
    Sealed = 1,
    /// Sequences taken after the last record and lost. Grows.
    LostAfter = 2,
    /// At least so many records were written. Grows with each sync.
    Floor = 3,
}

impl Number {
    /// The words it is stored in.
    pub(super) const fn words(self) -> [usize; 2] {
        [512 / 8 + self as usize, 2048 / 8 + self as usize]
    }
}

/// Values of checked words are below this.
pub(super) const VALUE_END: u64 = 1 << 48;

/// A 48-bit value and 16 bits of checksum in a word; never zero.
pub(super) fn checked(seed: u64, salt: u64, value: u64) -> u64 {
    let value = value.min(VALUE_END - 1);
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&salt.to_le_bytes());
    bytes[16..].copy_from_slice(&value.to_le_bytes());
    value << 16 | (xxh3_64(&bytes) & 0xffff).max(1)
}

/// The value of a checked word.
pub(super) fn unchecked(seed: u64, salt: u64, word: u64) -> Option<u64> {
    let value = word >> 16;
    (word != 0 && checked(seed, salt, value) == word).then_some(value)
}

/// Salt of a record's cut word; numbers of the header use their own number.
pub(super) const fn cut_salt(number: u32) -> u64 {
    1 << 32 | number as u64
}

/// One record's bytes, ready to be stored or just read. Reused, so that nothing is allocated per click.
pub(super) struct RecordBuf(Box<[u8; RECORD_LEN_MAX]>);

impl RecordBuf {
    /// An empty buffer.
    pub(super) fn new() -> Self {
        Self(Box::new([0; RECORD_LEN_MAX]))
    }

    /// Writes a click as record `number` of its segment and returns how many slots it takes.
    ///
    /// Notes beyond the format's limit are left out: a click without its notes is worth more than none.
    pub(super) fn encode(&mut self, seed: u64, number: u32, click: &Click<'_>) -> usize {
        let notes = if click.notes.len() > NOTES_LEN_MAX { &[] } else { click.notes };
        let bytes = &mut *self.0;
        bytes[8..16].fill(0);
        bytes[16..24].copy_from_slice(&click.at_ms.to_le_bytes());
        bytes[24..32].copy_from_slice(&click.link.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&click.visitor.to_le_bytes());
        bytes[40..44].copy_from_slice(&click.advertiser.to_le_bytes());
        bytes[44..48].copy_from_slice(&number.to_le_bytes());
        bytes[48] = click.class as u8;
        bytes[49] = click.flags;
        bytes[50..52].copy_from_slice(&click.country);
        bytes[52..54].copy_from_slice(&(notes.len() as u16).to_le_bytes());
        let slots = slots_of(notes.len());
        let end = slots * SLOT_LEN;
        bytes[NOTES_AT..NOTES_AT + notes.len()].copy_from_slice(notes);
        bytes[NOTES_AT + notes.len()..end].fill(0);
        let commit = commit_word(seed, &bytes[SUMMED_AT..end]);
        bytes[..8].copy_from_slice(&commit.to_le_bytes());
        slots
    }

    /// Word `at` of the record, as it stands in memory.
    pub(super) fn word(&self, at: usize) -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(&self.0[at * 8..at * 8 + 8]);
        u64::from_ne_bytes(word)
    }

    /// Puts word `at` as it stood in memory.
    pub(super) fn set_word(&mut self, at: usize, word: u64) {
        self.0[at * 8..at * 8 + 8].copy_from_slice(&word.to_ne_bytes());
    }

    /// How many slots the record whose first slot is in the buffer says it takes.
    pub(super) fn slots(&self) -> Option<usize> {
        let len = self.notes_len();
        (len <= NOTES_LEN_MAX).then(|| slots_of(len))
    }

    /// The record's number in its segment; meaningful once [`Self::verify`] said so.
    pub(super) fn number(&self) -> u32 {
        u32::from_le_bytes([self.0[44], self.0[45], self.0[46], self.0[47]])
    }

    /// The word that marks the end of a frame.
    pub(super) fn cut(&self) -> u64 {
        le_u64(&*self.0, CUT_WORD * 8)
    }

    /// Whether the record in the buffer, of so many slots, is what was written.
    pub(super) fn verify(&self, seed: u64, slots: usize) -> bool {
        le_u64(&*self.0, 0) == commit_word(seed, &self.0[SUMMED_AT..slots * SLOT_LEN])
    }

    /// The click. `None` for one that verifies but breaks the format: a class this build does not know.
    pub(super) fn click(&self) -> Option<Click<'_>> {
        let bytes = &*self.0;
        Some(Click {
            at_ms: le_u64(bytes, 16) as i64,
            link: LinkKey(le_u64(bytes, 24)),
            visitor: le_u64(bytes, 32),
            advertiser: u32::from_le_bytes([bytes[40], bytes[41], bytes[42], bytes[43]]),
            class: ClickClass::from_u8(bytes[48])?,
            flags: bytes[49],
            country: [bytes[50], bytes[51]],
            notes: &bytes[NOTES_AT..NOTES_AT + self.notes_len()],
        })
    }

    fn notes_len(&self) -> usize {
        usize::from(u16::from_le_bytes([self.0[52], self.0[53]]))
    }
}

const fn slots_of(notes_len: usize) -> usize {
    1 + notes_len.saturating_sub(NOTES_INLINE).div_ceil(SLOT_LEN)
}

/// Zero means "not written", so a checksum of zero is stored as one.
fn commit_word(seed: u64, payload: &[u8]) -> u64 {
    (xxh3_64(payload) ^ seed).max(1)
}

fn le_u64(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}
