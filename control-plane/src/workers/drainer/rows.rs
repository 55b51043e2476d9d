//! Clicks as rows for Postgres: the binary `COPY` stream and the sums for the fold. Pure.
//!
//! A click's time is kept within [`LATEST_AHEAD_MS`] and [`EARLIEST_BACK_MS`] of now, so that an edge with
//! a mad clock cannot reach a partition that does not exist; such clicks are flagged.
//!
//! The encoder goes frame by frame, so that Postgres works on the first while the next is written, and adds up
//! by sorting numbers: nothing is allocated for a row.

use super::batch::Taken;
use shared::click::{Click, note};
use std::borrow::Cow;

/// A click's time lies at most this far ahead; later ones happened now.
pub const LATEST_AHEAD_MS: i64 = 5 * 60_000;
/// A click's time lies at most this far back: partitions of these days always exist.
pub const EARLIEST_BACK_MS: i64 = 7 * 24 * 3_600_000;
/// Bit of `clicks.flags`: the time was out of range.
pub const FLAG_TIME_CORRECTED: i16 = 2;
/// Bit of `clicks.flags`: the month it happened in was closed when it came.
pub const FLAG_LATE: i16 = 4;

/// What a `COPY` stream ends with.
const END: [u8; 2] = (-1i16).to_be_bytes();
const SIGNATURE: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// The columns, in the order of the statement in `queries.rs`.
const FIELDS: i16 = 10;
/// Bytes of a row without notes.
const ROW_LEN: usize = 2 + 4 * 12 + 2 * 8 + 3 * 6 + 4;
/// Between the Unix epoch and Postgres', 1 January 2000.
const EPOCH_SHIFT_MS: i64 = 946_684_800_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Sums over a batch, a column each: one row of `click_deltas`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Deltas<'a> {
    /// Account numbers.
    pub advertisers: Vec<i32>,
    /// Links.
    pub link_keys: Vec<i64>,
    /// Hours since the Unix epoch.
    pub hours: Vec<i32>,
    /// Click classes.
    pub classes: Vec<i16>,
    /// Whether these are metered.
    pub billable: Vec<bool>,
    /// How many.
    pub counts: Vec<i32>,
    /// Where clicks came from.
    pub sources: Sources<'a>,
}

/// Where the clicks of a batch came from, a column each: the country, and the first sub id.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sources<'a> {
    /// Account numbers.
    pub advertisers: Vec<i32>,
    /// Links.
    pub link_keys: Vec<i64>,
    /// Days since the Unix epoch.
    pub days: Vec<i32>,
    /// [`COUNTRY`] or [`SUB_ID`].
    pub kinds: Vec<i16>,
    /// Two letters, or the sub id.
    pub names: Vec<Cow<'a, str>>,
    /// How many.
    pub counts: Vec<i32>,
}

/// A source that is a country.
pub const COUNTRY: i16 = 0;
/// A source that is a sub id.
pub const SUB_ID: i16 = 1;

/// Writes the rows of a batch, and adds them up.
#[derive(Debug)]
pub struct Encoder<'a> {
    now_ms: i64,
    open_from_ms: i64,
    /// Hour and day that the keys count from: the earliest a click can have.
    first_hour: i64,
    first_day: i64,
    /// Advertiser, link, hour, class, billable: one number that orders as they do.
    metered: Vec<u128>,
    /// Advertiser, link, day, country.
    countries: Vec<u128>,
    /// Advertiser, link, day; and the name.
    subs: Vec<(u128, &'a [u8])>,
    corrected: u64,
}

impl<'a> Encoder<'a> {
    /// Of a batch of so many clicks. Months before `open_from_ms` are closed. What `COPY` begins with is
    /// written to `out`.
    pub fn new(clicks: usize, now_ms: i64, open_from_ms: i64, out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(SIGNATURE);
        let earliest_ms = now_ms - EARLIEST_BACK_MS;
        Self {
            now_ms,
            open_from_ms,
            first_hour: earliest_ms.div_euclid(HOUR_MS),
            first_day: earliest_ms.div_euclid(DAY_MS),
            metered: Vec::with_capacity(clicks),
            countries: Vec::with_capacity(clicks),
            subs: Vec::new(),
            corrected: 0,
        }
    }

    /// Writes the rows of these clicks.
    pub fn write(&mut self, taken: &Taken<'a>, out: &mut Vec<u8>) {
        let bytes = taken.spool.as_bytes();
        let spool_tag = [bytes[0], bytes[1], bytes[2], bytes[3]];
        let notes: usize = taken.clicks.iter().map(|click| click.notes.len()).sum();
        out.reserve(taken.clicks.len() * ROW_LEN + notes + END.len());
        for (seq, click) in (taken.first_seq..).zip(taken.clicks) {
            let (at_ms, mut flags) = settle(click, self.now_ms);
            if at_ms < self.open_from_ms {
                flags |= FLAG_LATE;
            }
            self.corrected += u64::from(flags & FLAG_TIME_CORRECTED != 0);
            row(out, click, at_ms, seq, spool_tag, flags);
            self.count(click, at_ms);
        }
    }

    fn count(&mut self, click: &Click<'a>, at_ms: i64) {
        let whose = u128::from(click.advertiser) << 96 | u128::from(click.link.0) << 32;
        // Both fit: a click's time lies within a week and five minutes.
        let hour = (at_ms.div_euclid(HOUR_MS) - self.first_hour) as u16;
        let day = (at_ms.div_euclid(DAY_MS) - self.first_day) as u16;
        let kind = u128::from(click.class as u8) << 8 | u128::from(click.billable());
        self.metered.push(whose | u128::from(hour) << 16 | kind);
        let of_day = whose | u128::from(day) << 16;
        if click.country.iter().all(u8::is_ascii_uppercase) {
            self.countries.push(of_day | u128::from(u16::from_be_bytes(click.country)));
        }
        if !click.notes.is_empty()
            && let Some((_, sub)) = click.notes().find(|(kind, _)| *kind == note::SUB1)
        {
            self.subs.push((of_day, sub));
        }
    }

    /// Clicks whose time was out of range.
    pub fn corrected(&self) -> u64 {
        self.corrected
    }

    /// Writes what `COPY` ends with, and gives the sums.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Deltas<'a> {
        out.extend_from_slice(&END);
        self.metered.sort_unstable();
        let mut deltas = Deltas::default();
        for same in self.metered.chunk_by(|a, b| a == b) {
            let key = same[0];
            deltas.advertisers.push((key >> 96) as i32);
            deltas.link_keys.push((key >> 32) as i64);
            deltas.hours.push((self.first_hour + i64::from((key >> 16) as u16)) as i32);
            deltas.classes.push(i16::from((key >> 8) as u8));
            deltas.billable.push(key & 1 == 1);
            deltas.counts.push(same.len() as i32);
        }
        deltas.sources = self.sources();
        deltas
    }

    /// Adds the sources up. A name Postgres could not keep as text is nobody's.
    fn sources(mut self) -> Sources<'a> {
        self.countries.sort_unstable();
        self.subs.sort_unstable();
        let first_day = self.first_day;
        let mut sources = Sources::default();
        let mut add = |key: u128, kind: i16, name: Cow<'a, str>, count: usize| {
            sources.advertisers.push((key >> 96) as i32);
            sources.link_keys.push((key >> 32) as i64);
            sources.days.push((first_day + i64::from((key >> 16) as u16)) as i32);
            sources.kinds.push(kind);
            sources.names.push(name);
            sources.counts.push(count as i32);
        };
        for same in self.countries.chunk_by(|a, b| a == b) {
            let letters = (same[0] as u16).to_be_bytes().map(char::from);
            add(same[0], COUNTRY, letters.into_iter().collect(), same.len());
        }
        for same in self.subs.chunk_by(|a, b| a == b) {
            let (key, name) = same[0];
            if let Some(name) = std::str::from_utf8(name).ok().filter(|name| !name.contains('\0')) {
                add(key, SUB_ID, Cow::Borrowed(name), same.len());
            }
        }
        sources
    }
}

fn settle(click: &Click<'_>, now_ms: i64) -> (i64, i16) {
    let flags = i16::from(click.flags);
    if click.at_ms > now_ms + LATEST_AHEAD_MS {
        (now_ms, flags | FLAG_TIME_CORRECTED)
    } else if click.at_ms < now_ms - EARLIEST_BACK_MS {
        (now_ms - EARLIEST_BACK_MS, flags | FLAG_TIME_CORRECTED)
    } else {
        (click.at_ms, flags)
    }
}

fn row(copy: &mut Vec<u8>, click: &Click<'_>, at_ms: i64, seq: u64, spool_tag: [u8; 4], flags: i16) {
    let at_us = (at_ms - EPOCH_SHIFT_MS) * 1000;
    let country = i16::from_be_bytes(click.country);
    let mut fixed = [0; ROW_LEN];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        fixed[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(&FIELDS.to_be_bytes());
    for wide in [at_us, seq as i64, click.link.to_i64(), click.visitor as i64] {
        put(&8i32.to_be_bytes());
        put(&wide.to_be_bytes());
    }
    for four in [spool_tag, click.advertiser.to_be_bytes()] {
        put(&4i32.to_be_bytes());
        put(&four);
    }
    for two in [i16::from(click.class as u8), flags, country] {
        put(&2i32.to_be_bytes());
        put(&two.to_be_bytes());
    }
    let notes_len = if click.notes.is_empty() { -1 } else { click.notes.len() as i32 };
    put(&notes_len.to_be_bytes());
    copy.extend_from_slice(&fixed);
    copy.extend_from_slice(click.notes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::{ClickClass, LinkKey};
    use uuid::Uuid;

    const NOW: i64 = 1_781_524_800_000;

    fn click(at_ms: i64, link: u64, billable: bool) -> Click<'static> {
        Click {
            at_ms,
            link: LinkKey(link),
            advertiser: 7,
            visitor: 1,
            class: ClickClass::Human,
            flags: u8::from(billable),
            country: *b"DE",
            notes: &[],
        }
    }

    fn encode<'a>(clicks: &'a [Click<'a>]) -> (Vec<u8>, Deltas<'a>) {
        let mut copy = Vec::new();
        let mut encoder = Encoder::new(clicks.len(), NOW, 0, &mut copy);
        for clicks in clicks.chunks(2) {
            encoder.write(&Taken { spool: Uuid::from_u128(9), first_seq: 5, clicks }, &mut copy);
        }
        let deltas = encoder.finish(&mut copy);
        (copy, deltas)
    }

    #[test]
    fn a_row_is_as_long_as_it_says() {
        let clicks = [Click { notes: b"\x01\x02ab", ..click(NOW, 1, true) }, click(NOW, 2, true)];
        let (copy, _) = encode(&clicks);
        assert_eq!(copy.len(), 19 + 2 * ROW_LEN + 4 + 2);
        assert_eq!(copy[19..21], FIELDS.to_be_bytes());
        assert_eq!(copy[19 + ROW_LEN + 4..][..2], FIELDS.to_be_bytes());
    }

    #[test]
    fn times_stay_in_range_and_say_when_they_were_not() {
        let check = |at_ms: i64, kept_ms: i64, corrected: bool| {
            let (kept, flags) = settle(&click(at_ms, 1, true), NOW);
            assert_eq!((kept, flags), (kept_ms, if corrected { 3 } else { 1 }), "{at_ms}");
        };
        check(NOW, NOW, false);
        check(NOW + LATEST_AHEAD_MS, NOW + LATEST_AHEAD_MS, false);
        check(NOW + LATEST_AHEAD_MS + 1, NOW, true);
        check(NOW - EARLIEST_BACK_MS, NOW - EARLIEST_BACK_MS, false);
        check(NOW - EARLIEST_BACK_MS - 1, NOW - EARLIEST_BACK_MS, true);
        check(i64::MAX, NOW, true);
        check(i64::MIN, NOW - EARLIEST_BACK_MS, true);
    }

    #[test]
    fn sources_are_added_up_and_what_is_no_text_is_left_out() {
        let with = |country: [u8; 2], notes: &'static [u8]| Click { country, notes, ..click(NOW, 1, true) };
        let clicks = [
            with(*b"DE", b"\x01\x04news"),
            with(*b"DE", b"\x06\x01a\x01\x04news\x02\x01x"),
            with(*b"FR", b"\x01\x01\xff"),
            with([0; 2], b"\x01\x01\0"),
            with(*b"d1", b""),
        ];
        let sources = encode(&clicks).1.sources;
        assert_eq!(sources.names, ["DE", "FR", "news"]);
        assert_eq!(sources.kinds, [COUNTRY, COUNTRY, SUB_ID]);
        assert_eq!(sources.counts, [2, 1, 2]);
        assert_eq!(sources.days, vec![(NOW / DAY_MS) as i32; 3]);
    }

    #[test]
    fn sums_are_sorted_and_whole() {
        let hour = NOW / HOUR_MS;
        let clicks = [
            click(NOW, 2, true),
            click(NOW, 1, true),
            click(NOW, 2, false),
            click(NOW - HOUR_MS, 2, true),
            click(NOW, 2, true),
        ];
        let (_, deltas) = encode(&clicks);
        assert_eq!(deltas.link_keys, [1, 2, 2, 2]);
        assert_eq!(deltas.advertisers, [7; 4]);
        assert_eq!(deltas.hours, [hour, hour - 1, hour, hour].map(|hour| hour as i32));
        assert_eq!(deltas.billable, [true, true, false, true]);
        assert_eq!(deltas.counts, [1, 1, 1, 2]);
    }
}
