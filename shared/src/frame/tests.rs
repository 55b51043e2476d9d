//! Round trips, refusals, and no panic on any bytes.

use super::*;
use crate::click::push_note;
use proptest::prelude::*;

fn header(first_seq: u64) -> FrameHeader {
    FrameHeader {
        spool: Uuid::from_u128(0x0123_4567_89ab_cdef_0011_2233_4455_6677),
        edge: 42,
        first_seq,
        clock_ms: 1_795_000_000_500,
        lost_before: first_seq.min(3),
        last: false,
    }
}

fn notes() -> Vec<u8> {
    let mut notes = Vec::new();
    push_note(&mut notes, note::SUB1, "spring-sale");
    push_note(&mut notes, note::REFERRER_HOST, "blog.example");
    notes
}

prop_compose! {
    fn any_click()(at_ms in 1_794_999_000_000i64..1_796_000_000_000, link in 1u64..50, advertiser in 1u32..9,
                   visitor: u64, class in 0u8..9, flags in 0u8..2, with_notes: bool) -> (Click<'static>, bool) {
        (Click { at_ms, link: LinkKey(link), advertiser, visitor, class: ClickClass::from_u8(class).unwrap(),
                 flags, country: *b"DE", notes: &[] }, with_notes)
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(clicks in prop::collection::vec(any_click(), 0..200), first_seq in 0u64..1 << 48) {
        let notes = notes();
        let clicks: Vec<_> = clicks
            .into_iter()
            .map(|(click, with)| Click { notes: if with { &notes } else { &[] }, ..click })
            .collect();
        let mut bytes = Vec::new();
        encode(&header(first_seq), &clicks, &mut bytes);
        let frame = decode(&bytes).unwrap();
        prop_assert_eq!(frame.header, header(first_seq));
        prop_assert_eq!(&frame.clicks, &clicks);
        prop_assert_eq!(frame.counters, count(&clicks));
        let seen = Peek { header: header(first_seq), clicks: clicks.len() as u32, intact: true };
        prop_assert_eq!(peek(&bytes), Some(seen));
        *bytes.last_mut().unwrap() ^= 1;
        prop_assert_eq!(peek(&bytes), Some(Peek { intact: false, ..seen }));
    }

    #[test]
    fn any_flipped_bit_is_noticed(clicks in prop::collection::vec(any_click(), 1..20), at: prop::sample::Index, bit in 0u32..8) {
        let clicks: Vec<_> = clicks.into_iter().map(|(click, _)| click).collect();
        let mut bytes = Vec::new();
        encode(&header(0), &clicks, &mut bytes);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn any_cut_is_noticed(clicks in prop::collection::vec(any_click(), 1..20), at: prop::sample::Index) {
        let clicks: Vec<_> = clicks.into_iter().map(|(click, _)| click).collect();
        let mut bytes = Vec::new();
        encode(&header(0), &clicks, &mut bytes);
        prop_assert!(decode(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400), sound: bool) {
        if sound && bytes.len() > HEADER_LEN {
            bytes[..4].copy_from_slice(MAGIC);
            bytes[4] = VERSION;
            let checksum = xxh3_64(&bytes);
            bytes.extend_from_slice(&checksum.to_le_bytes());
        }
        drop(decode(&bytes));
        peek(&bytes);
    }
}

/// A click's time is its distance to the first one's, in 32 bits: of a clock that jumps by more than 24 days within a
/// frame the click has the nearest time there is, and everything else.
#[test]
fn a_time_too_far_from_the_first_is_brought_near_and_nothing_else_changes() {
    let first = 1_795_000_000_000;
    let clicks =
        [0, i64::from(i32::MAX) + 1, i64::from(i32::MIN) - 1, i64::from(i32::MAX), -5].map(|distance| {
            let (link, country) = (LinkKey(1), *b"DE");
            let (class, flags) = (ClickClass::Human, FLAG_BILLABLE);
            Click {
                at_ms: first + distance,
                link,
                advertiser: 1,
                visitor: 2,
                class,
                flags,
                country,
                notes: &[],
            }
        });
    let mut bytes = Vec::new();
    encode(&header(7), &clicks, &mut bytes);
    let read = decode(&bytes).unwrap();
    let near = |click: Click<'static>| Click {
        at_ms: click.at_ms.clamp(first + i64::from(i32::MIN), first + i64::from(i32::MAX)),
        ..click
    };
    assert_eq!(read.clicks, clicks.map(near));
    assert_eq!(read.header, header(7));
}

#[test]
fn a_frame_fits_after_the_watermark_it_continues() {
    // Loses 98 and 99, then holds clicks 100 to 109.
    let frame = FrameHeader { lost_before: 2, ..header(100) };
    for (next_seq, fit) in [
        (0, Fit::Gap),
        (97, Fit::Gap),
        (98, Fit::New { lost: 2, skip: 0, next_seq: 110 }),
        (99, Fit::New { lost: 1, skip: 0, next_seq: 110 }),
        (100, Fit::New { lost: 0, skip: 0, next_seq: 110 }),
        (104, Fit::New { lost: 0, skip: 4, next_seq: 110 }),
        (109, Fit::New { lost: 0, skip: 9, next_seq: 110 }),
        (110, Fit::Known),
        (999, Fit::Known),
    ] {
        assert_eq!(frame.fit(10, next_seq), fit, "watermark {next_seq}");
    }
    assert_eq!(frame.fit(0, 98), Fit::New { lost: 2, skip: 0, next_seq: 100 });
    assert_eq!(frame.fit(0, 100), Fit::Known);
    assert_eq!(header(0).fit(0, 0), Fit::Known);
}

#[test]
fn an_unknown_version_is_told_apart_from_damage() {
    let mut bytes = Vec::new();
    encode(&header(0), &[], &mut bytes);
    bytes[4] = 255;
    assert_eq!(decode(&bytes), Err(FrameError::UnknownVersion(255)));
    assert_eq!(decode(b"nonsense"), Err(FrameError::Magic));
}

fn golden(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/frame/golden").join(name);
    let text = std::fs::read_to_string(path).expect("the golden file is part of the repository");
    hex::decode(text.split_whitespace().collect::<String>()).unwrap()
}

#[test]
fn the_golden_bytes_are_written_and_read_for_ever() {
    assert_eq!(VERSION, 1, "a new version needs golden bytes of its own, beside these");
    let notes = notes();
    let clicks: Vec<_> = [(0, 7, &notes[..]), (3, 7, &[]), (8, 9, &notes[..])]
        .into_iter()
        .map(|(class, link, notes)| Click {
            at_ms: 1_794_999_999_000 + i64::from(class),
            link: LinkKey(link),
            advertiser: 5,
            visitor: 0x0123_4567_89ab_cdef ^ link,
            class: ClickClass::from_u8(class).unwrap(),
            flags: class & 1,
            country: *b"DE",
            notes,
        })
        .collect();
    let mut bytes = Vec::new();
    encode(&FrameHeader { last: true, ..header(70) }, &clicks, &mut bytes);
    let golden = golden("v1.hex");
    assert_eq!(hex::encode(&bytes), hex::encode(&golden), "the bytes of version 1 changed");
    let frame = decode(&golden).unwrap();
    assert_eq!(frame.header, FrameHeader { last: true, ..header(70) });
    assert_eq!(frame.clicks, clicks);
}
