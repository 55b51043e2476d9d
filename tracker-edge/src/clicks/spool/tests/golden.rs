//! Bytes of version 1, checked in: what was once written must be read for ever.

use super::kit::*;
use crate::clicks::spool::format::{self, Header, Number, RecordBuf, VERSION};
use crate::clicks::spool::fs::Disk;
use crate::clicks::spool::segment::{Step, View, end_of, len_to, step};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use uuid::Uuid;

const SPOOL: Uuid = Uuid::from_u128(0x6a09_e667_f3bc_c908_b2fb_1366_ea95_7d3e);
const EDGE: u64 = 0x0123_4567_89ab_cdef;
const NAME: &str = "6a09e667f3bcc908b2fb1366ea957d3e-00000002.seg";

fn golden_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/clicks/spool/tests/golden").join(NAME)
}

/// The file as this build writes it: eight clicks from sequence 70 on, two frames cut, three lost after.
fn build() -> Vec<u8> {
    let seed = format::seed(SPOOL, 2);
    let mut bytes = vec![0; format::HEADER_LEN];
    let header = Header { spool: SPOOL, edge: EDGE, index: 2, len_bytes: 65536 };
    bytes[..64].copy_from_slice(&header.encode());
    for (number, value) in
        [(Number::FirstSeq, 70), (Number::Sealed, 8), (Number::LostAfter, 3), (Number::Floor, 5)]
    {
        for at in number.words() {
            bytes[at * 8..at * 8 + 8]
                .copy_from_slice(&format::checked(seed, number as u64, value).to_le_bytes());
        }
    }
    let mut buf = RecordBuf::new();
    for number in 0..8u32 {
        let slots = with_click(u64::from(number), |click| buf.encode(seed, number, click));
        if number == 2 || number == 5 {
            let cut = format::checked(seed, format::cut_salt(number), CLOCK_MS as u64);
            buf.set_word(format::CUT_WORD, cut.to_le());
        }
        for word in 0..slots * format::SLOT_WORDS {
            bytes.extend_from_slice(&buf.word(word).to_ne_bytes());
        }
    }
    bytes
}

#[test]
fn version_1_is_written_as_ever() {
    assert_eq!(VERSION, 1, "a new version needs golden bytes of its own, beside these");
    let golden = std::fs::read(golden_path()).expect("the golden file is part of the repository");
    assert!(build() == golden, "the bytes of version 1 changed: readers in the field would lose clicks");
}

#[test]
fn version_1_is_read_as_ever() {
    let golden = std::fs::read(golden_path()).unwrap();
    let header = Header::decode(&golden).unwrap();
    assert_eq!(header, Header { spool: SPOOL, edge: EDGE, index: 2, len_bytes: 65536 });
    let seed = format::seed(SPOOL, 2);
    let view = View::loaded(&golden, Arc::new(Disk), golden_path());
    let numbers = [Number::FirstSeq, Number::Sealed, Number::LostAfter, Number::Floor];
    assert_eq!(numbers.map(|number| view.number(seed, number)), [Some(70), Some(8), Some(3), Some(5)]);
    let mut buf = RecordBuf::new();
    let (end, broken) = end_of(&view, seed, &mut buf);
    assert_eq!((end.number, len_to(end.slot), broken), (8, golden.len() as u64, false));
    let mut place = crate::clicks::spool::segment::Place::default();
    for number in 0..8 {
        assert!(matches!(step(&view, seed, &mut place, &mut buf, false), Step::Record { lost: 0, .. }));
        with_click(number, |click| assert_eq!(buf.click().as_ref(), Some(click)));
    }
}

#[test]
fn version_1_is_recovered_and_shipped_as_ever() {
    let dir = TempDir::new().unwrap();
    std::fs::create_dir(dir.path().join("spool")).unwrap();
    std::fs::copy(golden_path(), dir.path().join("spool").join(NAME)).unwrap();
    let set = open(&dir);
    let frames = read_only_spool(&set);
    let shape: Vec<_> =
        frames.iter().map(|frame| (frame.start, frame.first_seq, frame.end, frame.digest)).collect();
    // Cut where they were cut, then the rest, then what was lost. The first two are the very bytes that
    // were sent before.
    let expected = [(70, 70, 73), (73, 73, 76), (76, 76, 78), (78, 81, 81)];
    assert_eq!(
        shape.iter().map(|(start, first, end, _)| (*start, *first, *end)).collect::<Vec<_>>(),
        expected
    );
    assert_eq!([shape[0].3, shape[1].3], [FIRST_FRAME, SECOND_FRAME]);
}

/// XXH3 of the first two frames' bytes.
const FIRST_FRAME: u64 = 3476857755970510951;
const SECOND_FRAME: u64 = 9683542247292067890;
