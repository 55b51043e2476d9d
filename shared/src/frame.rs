//! A batch of clicks on its way from an edge to Postgres.
//!
//! A frame is cut once and never cut again: what is sent again is byte for byte what was sent before.
//! Layout of version 1, little-endian, no padding but the named:
//!
//! ```text
//!   0  magic "AOSF"            4
//!   4  version = 1             1
//!   5  flags                   1   bit 0: last frame of its spool
//!   6  reserved, 0             2
//!   8  spool id               16   128 random bits per thread and start
//!  24  edge id                 8   random, kept in the spool folder
//!  32  first sequence          8
//!  40  clock, ms               8   the edge's wall clock when it cut the frame
//!  48  base time, ms           8   clicks hold their distance to it
//!  56  lost before             8   sequences directly before the first that hold no click
//!  64  clicks                  4
//!  68  counters                4
//!  72  bytes of notes          4
//!  76  reserved, 0             4
//!  80  counters               24 each: link 8, advertiser 4, count 4, class 1, billable 1, 0 ×6
//!      clicks                 32 each: time − base 4 (signed; what is further is brought near),
//!                                      advertiser 4, link 8, visitor 8,
//!                                      class 1, flags 1, country 2, bytes of notes 2, 0 ×2
//!      notes                       of all clicks, in their order
//!      checksum                8   XXH3-64 of everything before
//! ```
//!
//! The counters are the metering counters: they are sorted by (advertiser, link, class, billable) and
//! are exactly the sums over the clicks. Limits: [`CLICKS_MAX`] clicks, [`FRAME_LEN_MAX`] bytes.
//!
//! # Sequences and declared loss
//!
//! Every click an edge accepts takes the next sequence of its spool, also when it could not be kept
//! (full disk, damaged record): sequences without a click are declared loss, and
//! `accepted = stored + in transit + parked + declared loss` is a sum over sequences. A frame covers
//! `lost_before` lost sequences and then its clicks, so a reader that holds the spool's watermark
//! needs nothing else to tell what fits: [`FrameHeader::fit`]. Frames overlap after a re-send; the
//! part below the watermark is skipped, lost sequences too, so a loss is counted once.
//!
//! A frame with no clicks carries the edge's clock, and the loss nothing has followed yet. It has no
//! identity: two of them may differ under one spool and sequence. A frame with clicks is the same
//! bytes whenever it is sent, unless the edge lost power or a disk damaged a record in between.

use crate::click::{Click, ClickClass, FLAG_BILLABLE, note};
use crate::token::LinkKey;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

/// Clicks in a frame at most.
pub const CLICKS_MAX: usize = 512;
/// Version this build writes.
pub const VERSION: u8 = 1;
const MAGIC: &[u8; 4] = b"AOSF";
const HEADER_LEN: usize = 80;
const COUNTER_LEN: usize = 24;
const CLICK_LEN: usize = 32;
const CHECKSUM_LEN: usize = 8;
const FLAG_LAST: u8 = 1;
/// Bytes of a frame at most: every click with all its notes and a counter of its own.
pub const FRAME_LEN_MAX: usize =
    HEADER_LEN + CLICKS_MAX * (COUNTER_LEN + CLICK_LEN + note::NOTES_LEN_MAX) + CHECKSUM_LEN;

/// What stands before the clicks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// The spool the clicks come from.
    pub spool: Uuid,
    /// The edge installation.
    pub edge: u64,
    /// Sequence of the first click, or the next one when there is none.
    pub first_seq: u64,
    /// The edge's wall clock at the cut, ms since the Unix epoch.
    pub clock_ms: i64,
    /// How many sequences directly before `first_seq` hold no click, for ever: declared loss.
    pub lost_before: u64,
    /// Nothing will follow in this spool.
    pub last: bool,
}

/// How a frame stands to what is already committed of its spool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fit {
    /// All of it is committed (or it is empty and says nothing new).
    Known,
    /// It continues the spool.
    New {
        /// Sequences to add to the spool's declared loss.
        lost: u64,
        /// Clicks at its start that are committed already.
        skip: usize,
        /// The watermark afterwards.
        next_seq: u64,
    },
    /// Something before it is missing: drop it, the edge sends again from the watermark.
    Gap,
}

impl FrameHeader {
    /// What to do with this frame, of `clicks` clicks, when every sequence below `next_seq` is
    /// committed (0 for a spool never seen).
    pub fn fit(&self, clicks: usize, next_seq: u64) -> Fit {
        let start = self.first_seq.saturating_sub(self.lost_before);
        let end = self.first_seq.saturating_add(clicks as u64);
        if end <= next_seq {
            return Fit::Known;
        }
        if start > next_seq {
            return Fit::Gap;
        }
        Fit::New {
            lost: self.first_seq.saturating_sub(next_seq),
            skip: next_seq.saturating_sub(self.first_seq) as usize,
            next_seq: end,
        }
    }
}

/// Key of a metering counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CounterKey {
    /// Who pays.
    pub advertiser: u32,
    /// The link.
    pub link: LinkKey,
    /// The class counted.
    pub class: ClickClass,
    /// Whether these clicks are metered.
    pub billable: bool,
}

/// Clicks by advertiser, link, class and billability, sorted by these.
pub type Counters = Vec<(CounterKey, u32)>;

/// A decoded frame, borrowing the click notes from its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// The header.
    pub header: FrameHeader,
    /// The metering counters as the edge wrote them.
    pub counters: Counters,
    /// The clicks, in sequence from `header.first_seq`.
    pub clicks: Vec<Click<'a>>,
    /// The checksum the frame carries: with spool and first sequence, its identity.
    pub checksum: u64,
}

/// Why bytes are not a frame this build can read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not a frame at all.
    #[error("not a click frame")]
    Magic,
    /// A frame of a version this build does not know: leave it for one that does.
    #[error("frame version {0} is unknown to this build")]
    UnknownVersion(u8),
    /// The bytes changed on the way, or were cut short.
    #[error("frame checksum does not match")]
    Checksum,
    /// The checksum holds but the content breaks the format.
    #[error("frame breaks its format: {0}")]
    Layout(&'static str),
}

/// Sums the counters over clicks.
pub fn count(clicks: &[Click<'_>]) -> Counters {
    // Numbers that order as the keys do: sorting them costs a tenth of a map of the keys, and every click
    // passes here on the edge and in the drainer.
    let mut keys: Vec<u128> = clicks.iter().map(pack).collect();
    keys.sort_unstable();
    keys.chunk_by(|a, b| a == b)
        .filter_map(|same| Some((unpack(*same.first()?)?, same.len() as u32)))
        .collect()
}

fn pack(click: &Click<'_>) -> u128 {
    u128::from(click.advertiser) << 80
        | u128::from(click.link.0) << 16
        | u128::from(click.class as u8) << 8
        | u128::from(click.billable())
}

fn unpack(key: u128) -> Option<CounterKey> {
    let class = ClickClass::from_u8((key >> 8) as u8)?;
    let (advertiser, link) = ((key >> 80) as u32, LinkKey((key >> 16) as u64));
    Some(CounterKey { advertiser, link, class, billable: key & 1 == 1 })
}

/// Writes a frame into `out`, which is cleared first.
///
/// At most [`CLICKS_MAX`] clicks; more is a bug of the caller.
pub fn encode(header: &FrameHeader, clicks: &[Click<'_>], out: &mut Vec<u8>) {
    assert!(clicks.len() <= CLICKS_MAX, "a frame holds at most {CLICKS_MAX} clicks");
    let counters = count(clicks);
    let base_ms = clicks.first().map_or(header.clock_ms, |click| click.at_ms);
    let notes_len: usize = clicks.iter().map(|click| click.notes.len()).sum();
    out.clear();
    out.reserve(
        HEADER_LEN + counters.len() * COUNTER_LEN + clicks.len() * CLICK_LEN + notes_len + CHECKSUM_LEN,
    );
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&[VERSION, u8::from(header.last) * FLAG_LAST, 0, 0]);
    out.extend_from_slice(header.spool.as_bytes());
    out.extend_from_slice(&header.edge.to_le_bytes());
    out.extend_from_slice(&header.first_seq.to_le_bytes());
    out.extend_from_slice(&header.clock_ms.to_le_bytes());
    out.extend_from_slice(&base_ms.to_le_bytes());
    out.extend_from_slice(&header.lost_before.to_le_bytes());
    for length in [clicks.len(), counters.len(), notes_len, 0] {
        out.extend_from_slice(&(length as u32).to_le_bytes());
    }
    for (key, count) in &counters {
        out.extend_from_slice(&key.link.0.to_le_bytes());
        out.extend_from_slice(&key.advertiser.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&[key.class as u8, u8::from(key.billable), 0, 0, 0, 0, 0, 0]);
    }
    for click in clicks {
        let delta_ms = (click.at_ms - base_ms).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        out.extend_from_slice(&delta_ms.to_le_bytes());
        out.extend_from_slice(&click.advertiser.to_le_bytes());
        out.extend_from_slice(&click.link.0.to_le_bytes());
        out.extend_from_slice(&click.visitor.to_le_bytes());
        out.extend_from_slice(&[click.class as u8, click.flags, click.country[0], click.country[1]]);
        out.extend_from_slice(&(click.notes.len() as u16).to_le_bytes());
        out.extend_from_slice(&[0, 0]);
    }
    for click in clicks {
        out.extend_from_slice(click.notes);
    }
    let checksum = xxh3_64(out);
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// Reads fixed-layout fields; every read is checked.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(FrameError::Layout("too short"))?;
        self.0 = rest;
        Ok(*head)
    }

    fn slice(&mut self, len: usize) -> Result<&'a [u8], FrameError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(FrameError::Layout("too short"))?;
        self.0 = rest;
        Ok(head)
    }

    fn u8(&mut self) -> Result<u8, FrameError> {
        Ok(u8::from_le_bytes(self.take()?))
    }

    fn u32(&mut self) -> Result<u32, FrameError> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64, FrameError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn class(&mut self) -> Result<ClickClass, FrameError> {
        ClickClass::from_u8(self.u8()?).ok_or(FrameError::Layout("unknown click class"))
    }
}

/// Reads a frame of any version this build knows. Never panics, and allocates in proportion to the input.
pub fn decode(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let (magic, rest) = bytes.split_at_checked(4).ok_or(FrameError::Magic)?;
    let (&version, _) = rest.split_first().ok_or(FrameError::Magic)?;
    if magic != MAGIC {
        return Err(FrameError::Magic);
    }
    if version != VERSION {
        return Err(FrameError::UnknownVersion(version));
    }
    let (body, checksum) = bytes.split_last_chunk::<CHECKSUM_LEN>().ok_or(FrameError::Checksum)?;
    let checksum = u64::from_le_bytes(*checksum);
    if xxh3_64(body) != checksum {
        return Err(FrameError::Checksum);
    }
    decode_v1(body, checksum)
}

/// What stands at the fixed places of bytes that look like a frame but could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peek {
    /// The header. Only `intact` says whether it can be believed.
    pub header: FrameHeader,
    /// How many clicks it announces.
    pub clicks: u32,
    /// The checksum holds: these are the bytes the edge wrote, and it would send the same again.
    pub intact: bool,
}

/// Looks at bytes that cannot be read, to name them; `None` when they are not of a version this build
/// knows, or announce what no frame can hold.
pub fn peek(bytes: &[u8]) -> Option<Peek> {
    if bytes.len() < HEADER_LEN || !bytes.starts_with(MAGIC) || bytes[4] != VERSION {
        return None;
    }
    let u64_at = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes).ok();
    let header = FrameHeader {
        spool: Uuid::from_slice(&bytes[8..24]).ok()?,
        edge: u64_at(24)?,
        first_seq: u64_at(32)?,
        clock_ms: u64_at(40)? as i64,
        lost_before: u64_at(56)?,
        last: bytes[5] & FLAG_LAST != 0,
    };
    let clicks = u32::from_le_bytes(bytes[64..68].try_into().ok()?);
    let sound = clicks as usize <= CLICKS_MAX
        && header.lost_before <= header.first_seq
        && header.first_seq.checked_add(u64::from(clicks)).is_some_and(|end| i64::try_from(end).is_ok());
    let intact = bytes
        .split_last_chunk::<CHECKSUM_LEN>()
        .is_some_and(|(body, checksum)| xxh3_64(body) == u64::from_le_bytes(*checksum));
    sound.then_some(Peek { header, clicks, intact })
}

fn decode_v1(body: &[u8], checksum: u64) -> Result<Frame<'_>, FrameError> {
    let mut reader = Reader(body);
    let _magic_and_version = reader.take::<5>()?;
    let flags = reader.u8()?;
    let _reserved = reader.take::<2>()?;
    let spool = Uuid::from_bytes(reader.take()?);
    let edge = reader.u64()?;
    let first_seq = reader.u64()?;
    let clock_ms = reader.u64()? as i64;
    let base_ms = reader.u64()? as i64;
    let lost_before = reader.u64()?;
    let (clicks_len, counters_len, notes_len) =
        (reader.u32()? as usize, reader.u32()? as usize, reader.u32()? as usize);
    let _reserved = reader.u32()?;
    if clicks_len > CLICKS_MAX || counters_len > clicks_len {
        return Err(FrameError::Layout("too many clicks or counters"));
    }
    if first_seq.checked_add(clicks_len as u64).is_none_or(|end| end > i64::MAX as u64) {
        return Err(FrameError::Layout("sequence out of range"));
    }
    if lost_before > first_seq {
        return Err(FrameError::Layout("more lost than there were sequences"));
    }
    let mut counters = Counters::with_capacity(counters_len);
    for _ in 0..counters_len {
        let (link, advertiser, count) = (LinkKey(reader.u64()?), reader.u32()?, reader.u32()?);
        let (class, billable) = (reader.class()?, reader.u8()? != 0);
        let _reserved = reader.take::<6>()?;
        counters.push((CounterKey { advertiser, link, class, billable }, count));
    }
    let mut fixed = Reader(reader.slice(clicks_len * CLICK_LEN)?);
    let mut notes = Reader(reader.slice(notes_len)?);
    if !reader.0.is_empty() {
        return Err(FrameError::Layout("bytes left over"));
    }
    let mut clicks = Vec::with_capacity(clicks_len);
    for _ in 0..clicks_len {
        let delta_ms = fixed.u32()? as i32;
        let (advertiser, link, visitor) = (fixed.u32()?, LinkKey(fixed.u64()?), fixed.u64()?);
        let (class, flags, country) = (fixed.class()?, fixed.u8()?, fixed.take::<2>()?);
        let notes_len = u16::from_le_bytes(fixed.take()?) as usize;
        let _reserved = fixed.take::<2>()?;
        clicks.push(Click {
            at_ms: base_ms.saturating_add(i64::from(delta_ms)),
            link,
            advertiser,
            visitor,
            class,
            flags: flags & FLAG_BILLABLE,
            country,
            notes: notes.slice(notes_len)?,
        });
    }
    if !notes.0.is_empty() {
        return Err(FrameError::Layout("notes left over"));
    }
    if counters != count(&clicks) {
        return Err(FrameError::Layout("counters differ from the clicks"));
    }
    let header = FrameHeader { spool, edge, first_seq, clock_ms, lost_before, last: flags & FLAG_LAST != 0 };
    Ok(Frame { header, counters, clicks, checksum })
}

#[cfg(test)]
mod tests;
