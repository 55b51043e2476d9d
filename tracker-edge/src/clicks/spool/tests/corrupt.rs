//! Damage: flipped bits, cut files, vanished pages, foreign files. One damaged record costs one click.

use super::kit::*;
use crate::clicks::spool::format::{HEADER_LEN, SLOT_LEN};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempDir;

/// A folder with one crashed spool of `clicks` clicks in one segment, and that segment.
fn crashed(dir: &TempDir, clicks: u64, synced: bool) -> PathBuf {
    let set = open(dir);
    let mut writer = set.writer();
    assert_eq!(append(&mut writer, 0..clicks), clicks as usize);
    if synced {
        set.sync();
    }
    std::mem::forget(writer);
    drop_without_sync(set);
    segments(dir).remove(0)
}

/// Segment files in their order, the unused ones last.
fn segments(dir: &TempDir) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.path().join("spool")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

/// Where record `number` of a segment file starts, and its slots.
fn record(path: &Path, number: u32) -> (usize, usize) {
    let bytes = std::fs::read(path).unwrap();
    let mut at = HEADER_LEN;
    for _ in 0..number {
        at += slots(&bytes[at..]) * SLOT_LEN;
    }
    (at, slots(&bytes[at..]))
}

fn slots(record: &[u8]) -> usize {
    let notes = usize::from(u16::from_le_bytes([record[52], record[53]]));
    1 + notes.saturating_sub(10).div_ceil(SLOT_LEN)
}

/// What a fresh process reads from a folder with this file instead, and that it does so twice.
fn read_with(dir: &TempDir, path: &Path, bytes: &[u8]) -> (Vec<u64>, u64) {
    std::fs::write(path, bytes).unwrap();
    let set = open(dir);
    let read = match set.spools().len() {
        0 => (vec![], 0),
        _ => numbers_and_loss(&read_only_spool(&set)),
    };
    drop(set);
    let after: Vec<_> = segments(dir).iter().map(|path| std::fs::read(path).unwrap()).collect();
    let set = open(dir);
    let again = match set.spools().len() {
        0 => (vec![], 0),
        _ => numbers_and_loss(&read_only_spool(&set)),
    };
    drop(set);
    let later: Vec<_> = segments(dir).iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert_eq!(read, again, "reading twice");
    assert!(after == later, "recovering twice changes nothing more");
    read
}

#[test]
fn f7_a_flipped_byte_costs_exactly_its_record() {
    let dir = TempDir::new().unwrap();
    let path = crashed(&dir, 30, false);
    let whole = std::fs::read(&path).unwrap();
    // One with notes over several slots, in the middle; and the very last.
    for number in [23u64, 29] {
        let (at, slots) = record(&path, number as u32);
        assert!(number != 23 || slots == 3);
        for offset in 0..slots * SLOT_LEN {
            let mut bytes = whole.clone();
            bytes[at + offset] ^= 1 << (offset % 8);
            let (numbers, lost) = read_with(&dir, &path, &bytes);
            if (8..16).contains(&offset) {
                // Only the mark where a frame ends.
                assert_eq!((numbers, lost), ((0..30).collect(), 0), "byte {offset} of {number}");
            } else {
                let rest: Vec<_> = (0..30).filter(|n| *n != number).collect();
                assert_eq!((numbers, lost), (rest, 1), "byte {offset} of {number}");
            }
        }
    }
    assert!(std::fs::read_dir(dir.path().join("spool/damaged")).unwrap().count() >= 1, "the bytes are kept");
}

#[test]
fn a_flipped_byte_of_the_header_costs_nothing() {
    let dir = TempDir::new().unwrap();
    let path = crashed(&dir, 10, true);
    let whole = std::fs::read(&path).unwrap();
    let interesting = (0..64).chain(512..544).chain(2048..2080).chain([100, 4095]);
    for offset in interesting {
        let mut bytes = whole.clone();
        bytes[offset] ^= 0x10;
        assert_eq!(read_with(&dir, &path, &bytes), ((0..10).collect(), 0), "byte {offset}");
    }
    // The whole sector with the identity and one copy of the numbers.
    let mut bytes = whole.clone();
    bytes[..1024].fill(0xff);
    assert_eq!(read_with(&dir, &path, &bytes), ((0..10).collect(), 0));
}

#[test]
fn f6_i19_a_file_cut_anywhere_is_its_longest_sound_prefix() {
    for synced in [false, true] {
        let dir = TempDir::new().unwrap();
        let path = crashed(&dir, 10, synced);
        let whole = std::fs::read(&path).unwrap();
        let (at, slots) = record(&path, 9);
        // What follows the notes is padding: zeros, there or not.
        let end = at + 54 + usize::from(u16::from_le_bytes([whole[at + 52], whole[at + 53]]));
        for cut in at..at + slots * SLOT_LEN {
            let (numbers, lost) = read_with(&dir, &path, &whole[..cut]);
            if cut >= end {
                assert_eq!((numbers, lost), ((0..10).collect(), 0), "cut at {}", cut - at);
                continue;
            }
            assert_eq!(numbers, (0..9).collect::<Vec<_>>(), "cut at {}", cut - at);
            // Of what was synced the header knows; of what was not, only a commit word tells, whose first byte
            // may be zero.
            let told = whole[at..cut].iter().any(|byte| *byte != 0);
            assert_eq!(lost, u64::from(synced || told), "cut at {}", cut - at);
        }
        assert_eq!(read_with(&dir, &path, &whole[..at + slots * SLOT_LEN]), ((0..10).collect(), 0));
    }
}

#[test]
fn i19_a_file_cut_at_every_slot_gives_what_lies_before() {
    let dir = TempDir::new().unwrap();
    let path = crashed(&dir, 40, false);
    let whole = std::fs::read(&path).unwrap();
    let (end, slots) = record(&path, 39);
    let mut complete = 0;
    for slot in 0..(end - HEADER_LEN) / SLOT_LEN + slots {
        let cut = HEADER_LEN + slot * SLOT_LEN;
        let (next, slots) = record_in(&whole, complete);
        if cut >= next + slots * SLOT_LEN {
            complete += 1;
        }
        let (numbers, lost) = read_with(&dir, &path, &whole[..cut]);
        assert_eq!(numbers, (0..u64::from(complete)).collect::<Vec<_>>(), "cut at slot {slot}");
        assert!(lost <= 1);
    }
}

fn record_in(bytes: &[u8], number: u32) -> (usize, usize) {
    let mut at = HEADER_LEN;
    for _ in 0..number {
        at += slots(&bytes[at..]) * SLOT_LEN;
    }
    (at, slots(&bytes[at..]))
}

#[test]
fn a_page_that_never_reached_the_disk_costs_the_records_in_it() {
    let dir = TempDir::new().unwrap();
    let path = crashed(&dir, 200, false);
    let whole = std::fs::read(&path).unwrap();
    for page in 2..8 {
        let mut bytes = whole.clone();
        bytes[page * 4096..(page + 1) * 4096].fill(0);
        let inside = (0..200u32)
            .filter(|number| {
                let (at, slots) = record_in(&whole, *number);
                at < (page + 1) * 4096 && at + slots * SLOT_LEN > page * 4096
            })
            .count() as u64;
        let (numbers, lost) = read_with(&dir, &path, &bytes);
        assert_eq!((numbers.len() as u64, lost), (200 - inside, inside), "page {page}");
    }
}

#[test]
fn a_segment_that_vanished_is_a_hole_of_known_size() {
    let dir = TempDir::new().unwrap();
    let set = open(&dir);
    let mut writer = set.writer();
    let spool = only_spool(&set);
    for n in 0..30 {
        append(&mut writer, n * 50..(n + 1) * 50);
        set.tend(Instant::now());
    }
    let start = |index| spool.segment_from(index).unwrap().first_seq().unwrap();
    let (from, to) = (start(1), start(2));
    std::mem::forget(writer);
    drop(set);
    std::fs::remove_file(&segments(&dir)[1]).unwrap();
    let (numbers, lost) = numbers_and_loss(&read_only_spool(&open(&dir)));
    assert_eq!(numbers, (0..from).chain(to..1500).collect::<Vec<_>>());
    assert_eq!(lost, to - from);
    // One that vanishes while the process runs is found out when it is read.
    let set = open(&dir);
    std::fs::remove_file(&segments(&dir)[1]).unwrap();
    let (after, _) = numbers_and_loss(&read_only_spool(&set));
    assert!(after.len() < numbers.len() && after.last() == Some(&1499));
}

#[test]
fn a_first_sequence_that_is_lost_follows_from_the_neighbours() {
    let dir = TempDir::new().unwrap();
    let set = open(&dir);
    let mut writer = set.writer();
    for n in 0..30 {
        append(&mut writer, n * 50..(n + 1) * 50);
        set.tend(Instant::now());
    }
    std::mem::forget(writer);
    drop(set);
    let expected = ((0..1500).collect::<Vec<_>>(), 0);
    drop(open(&dir));
    for at in 0..segments(&dir).len() {
        let path = &segments(&dir)[at];
        let mut bytes = std::fs::read(path).unwrap();
        bytes[512..520].fill(0);
        bytes[2048..2056].fill(0);
        std::fs::write(path, bytes).unwrap();
        assert_eq!(numbers_and_loss(&read_only_spool(&open(&dir))), expected, "segment {at}");
    }
    // Without neighbours nothing says which clicks these are: they are left for a person.
    let kept = segments(&dir);
    for (at, path) in kept.iter().enumerate() {
        if at != 2 {
            std::fs::remove_file(path).unwrap();
        }
    }
    let mut bytes = std::fs::read(&kept[2]).unwrap();
    bytes[512..520].fill(0);
    bytes[2048..2056].fill(0);
    std::fs::write(&kept[2], bytes).unwrap();
    assert!(open(&dir).spools().is_empty());
    assert!(kept[2].exists());
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let path = crashed(&dir, 10, false);
    let folder = dir.path().join("spool");
    let whole = std::fs::read(&path).unwrap();
    let other = "0123456789abcdef0123456789abcdef";
    let mut newer = whole.clone();
    newer[4] = 2;
    let checksum = xxhash_rust::xxh3::xxh3_64(&newer[..56]);
    newer[56..64].copy_from_slice(&checksum.to_le_bytes());
    let files: [(String, &[u8]); 7] = [
        ("notes.txt".into(), b"hello"),
        ("x-00000000.seg".into(), &whole),
        (format!("{other}-00000000.seg"), &whole),
        (format!("{other}-00000001.seg"), &[7; 9000]),
        (format!("{other}-2.seg"), &whole),
        (format!("{other}-00000003.seg.bak"), &whole),
        (path.file_name().unwrap().to_str().unwrap().replace("-00000000", "-00000009"), &newer),
    ];
    for (name, bytes) in &files {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    std::fs::create_dir(folder.join("folder")).unwrap();
    // An empty file under a segment's name is what a crash while making one leaves.
    std::fs::write(folder.join(format!("{other}-00000004.seg")), b"").unwrap();
    for _ in 0..2 {
        let set = open(&dir);
        assert_eq!(numbers_and_loss(&read_only_spool(&set)), ((0..10).collect(), 0));
    }
    for (name, bytes) in &files {
        assert_eq!(&std::fs::read(folder.join(name)).unwrap(), bytes, "{name}");
    }
    assert!(!folder.join(format!("{other}-00000004.seg")).exists());
}

#[test]
fn f9_a_cloned_folder_ships_the_same_bytes() {
    let (dir, copy) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    crashed(&dir, 250, false);
    std::fs::create_dir(copy.path().join("spool")).unwrap();
    for entry in std::fs::read_dir(dir.path().join("spool")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join("spool").join(entry.file_name())).unwrap();
    }
    let (first, second) = (open(&dir), open(&copy));
    assert_ne!(first.edge_id(), second.edge_id());
    // Cut at different times: the clock of a recovered frame is its own.
    let frames = read_only_spool(&first);
    let mut reader = second.reader(&only_spool(&second));
    let mut bytes = Vec::new();
    let mut digests = Vec::new();
    loop {
        match reader.next(CLOCK_MS + 99_999, &mut bytes) {
            crate::clicks::spool::reader::Read::Frame { .. } => {
                digests.push(xxhash_rust::xxh3::xxh3_64(&bytes));
            }
            crate::clicks::spool::reader::Read::NeedsDisk(segment) => reader.supply(segment.load().unwrap()),
            _ => break,
        }
    }
    assert_eq!(digests, frames.iter().map(|frame| frame.digest).collect::<Vec<_>>());
    // New clicks of the two never share a spool.
    let ids = [&first, &second].map(|set| set.writer().next().spool_tag);
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn notes_that_look_like_records_are_not() {
    let dir = TempDir::new().unwrap();
    let set = open(&dir);
    let mut writer = set.writer();
    append(&mut writer, 0..5);
    // The slots of a real record of this very segment, as the note of another click.
    let path = segments(&dir).remove(0);
    let (at, _) = record(&path, 1);
    let stolen = std::fs::read(&path).unwrap()[at..at + SLOT_LEN].to_vec();
    let mut notes = vec![b'n'; 10];
    notes.extend_from_slice(&stolen);
    with_click(5, |click| {
        let stored = writer.append(&shared::Click { notes: &notes, ..*click });
        assert_eq!(stored, crate::clicks::spool::Appended::Stored);
    });
    append(&mut writer, 6..10);
    std::mem::forget(writer);
    drop(set);
    // With its own record damaged, the note is looked at as a record, and must not pass for number 1 again.
    let (at, _) = record(&path, 5);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at + 20] ^= 1;
    assert_eq!(read_with(&dir, &path, &bytes), ((0..5).chain(6..10).collect(), 1));
}
