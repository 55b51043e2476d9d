//! Clicks as rows for Postgres: the binary `COPY` stream and the sums for the fold. Pure.
//!
//! A click's time is kept within [`LATEST_AHEAD_MS`] and [`EARLIEST_BACK_MS`] of now, so that an edge with
//! a mad clock cannot reach a partition that does not exist; such clicks are flagged.

use super::batch::Taken;
use shared::click::{Click, note};

/// A click's time lies at most this far ahead; later ones happened now.
pub const LATEST_AHEAD_MS: i64 = 5 * 60_000;
/// A click's time lies at most this far back: partitions of these days always exist.
pub const EARLIEST_BACK_MS: i64 = 7 * 24 * 3_600_000;
/// Bit of `clicks.flags`: the time was out of range.
pub const FLAG_TIME_CORRECTED: i16 = 2;
/// Bit of `clicks.flags`: the month it happened in was closed when it came.
pub const FLAG_LATE: i16 = 4;

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
pub struct Deltas {
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
    pub sources: Sources,
}

/// Where the clicks of a batch came from, a column each: the country, and the first sub id.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sources {
    /// Account numbers.
    pub advertisers: Vec<i32>,
    /// Links.
    pub link_keys: Vec<i64>,
    /// Days since the Unix epoch.
    pub days: Vec<i32>,
    /// [`COUNTRY`] or [`SUB_ID`].
    pub kinds: Vec<i16>,
    /// Two letters, or the sub id.
    pub names: Vec<String>,
    /// How many.
    pub counts: Vec<i32>,
}

/// A source that is a country.
pub const COUNTRY: i16 = 0;
/// A source that is a sub id.
pub const SUB_ID: i16 = 1;

/// The rows of a batch.
#[derive(Debug, Default)]
pub struct Rows {
    /// The whole `COPY` stream.
    pub copy: Vec<u8>,
    /// The sums.
    pub deltas: Deltas,
    /// Clicks whose time was out of range.
    pub corrected: u64,
}

type Key = (u32, i64, i32, u8, bool);
type SourceKey<'a> = (u32, i64, i32, i16, &'a [u8]);

/// Writes the rows of all clicks taken. Months before `open_from_ms` are closed.
pub fn encode(taken: &[Taken<'_>], now_ms: i64, open_from_ms: i64) -> Rows {
    let clicks: usize = taken.iter().map(|taken| taken.clicks.len()).sum();
    let notes: usize = taken.iter().flat_map(|taken| taken.clicks).map(|click| click.notes.len()).sum();
    let mut copy = Vec::with_capacity(SIGNATURE.len() + clicks * ROW_LEN + notes + 2);
    let mut keys: Vec<Key> = Vec::with_capacity(clicks);
    let mut sources: Vec<SourceKey<'_>> = Vec::new();
    let mut corrected = 0;
    copy.extend_from_slice(SIGNATURE);
    for taken in taken {
        let bytes = taken.spool.as_bytes();
        let spool_tag = [bytes[0], bytes[1], bytes[2], bytes[3]];
        for (seq, click) in (taken.first_seq..).zip(taken.clicks) {
            let (at_ms, mut flags) = settle(click, now_ms);
            if at_ms < open_from_ms {
                flags |= FLAG_LATE;
            }
            corrected += u64::from(flags & FLAG_TIME_CORRECTED != 0);
            row(&mut copy, click, at_ms, seq, spool_tag, flags);
            let hour = at_ms.div_euclid(HOUR_MS) as i32;
            let link = click.link.to_i64();
            keys.push((click.advertiser, link, hour, click.class as u8, click.billable()));
            let day = at_ms.div_euclid(DAY_MS) as i32;
            if click.country.iter().all(u8::is_ascii_uppercase) {
                sources.push((click.advertiser, link, day, COUNTRY, &click.country));
            }
            if let Some((_, sub)) = click.notes().find(|(kind, _)| *kind == note::SUB1) {
                sources.push((click.advertiser, link, day, SUB_ID, sub));
            }
        }
    }
    copy.extend_from_slice(&(-1i16).to_be_bytes());
    Rows { copy, deltas: Deltas { sources: sum_sources(sources), ..sum(keys) }, corrected }
}

/// Adds the sources up. A name Postgres could not keep as text is nobody's.
fn sum_sources(mut keys: Vec<SourceKey<'_>>) -> Sources {
    keys.sort_unstable();
    let mut sources = Sources::default();
    for same in keys.chunk_by(|a, b| a == b) {
        let (advertiser, link, day, kind, name) = same[0];
        let Some(name) = std::str::from_utf8(name).ok().filter(|name| !name.contains('\0')) else { continue };
        sources.advertisers.push(advertiser as i32);
        sources.link_keys.push(link);
        sources.days.push(day);
        sources.kinds.push(kind);
        sources.names.push(name.to_owned());
        sources.counts.push(same.len() as i32);
    }
    sources
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

fn sum(mut keys: Vec<Key>) -> Deltas {
    keys.sort_unstable();
    let mut deltas = Deltas::default();
    for same in keys.chunk_by(|a, b| a == b) {
        let (advertiser, link, hour, class, billable) = same[0];
        deltas.advertisers.push(advertiser as i32);
        deltas.link_keys.push(link);
        deltas.hours.push(hour);
        deltas.classes.push(i16::from(class));
        deltas.billable.push(billable);
        deltas.counts.push(same.len() as i32);
    }
    deltas
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

    #[test]
    fn a_row_is_as_long_as_it_says() {
        let clicks = [Click { notes: b"\x01\x02ab", ..click(NOW, 1, true) }, click(NOW, 2, true)];
        let taken = [Taken { spool: Uuid::from_u128(9), first_seq: 5, clicks: &clicks }];
        let rows = encode(&taken, NOW, 0);
        assert_eq!(rows.copy.len(), 19 + 2 * ROW_LEN + 4 + 2);
        assert_eq!(rows.copy[19..21], FIELDS.to_be_bytes());
        assert_eq!(rows.copy[19 + ROW_LEN + 4..][..2], FIELDS.to_be_bytes());
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
        let sources =
            encode(&[Taken { spool: Uuid::nil(), first_seq: 0, clicks: &clicks }], NOW, 0).deltas.sources;
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
        let deltas = encode(&[Taken { spool: Uuid::nil(), first_seq: 0, clicks: &clicks }], NOW, 0).deltas;
        assert_eq!(deltas.link_keys, [1, 2, 2, 2]);
        assert_eq!(deltas.hours, [hour, hour - 1, hour, hour].map(|hour| hour as i32));
        assert_eq!(deltas.billable, [true, true, false, true]);
        assert_eq!(deltas.counts, [1, 1, 1, 2]);
    }
}
