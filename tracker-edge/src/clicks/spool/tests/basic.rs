//! A good day: what is appended is read, in order, once, and freed when Postgres has it.

use super::kit::*;
use crate::clicks::spool::reader::Read;
use crate::clicks::spool::segment::lock;
use crate::clicks::spool::{Durability, OpenError, SpoolSet};
use shared::frame::CLICKS_MAX;
use shared::keys::Watermark;
use std::time::{Duration, Instant};
use tempfile::TempDir;

#[test]
fn clicks_come_back_in_order_over_many_segments() {
    let dir = TempDir::new().unwrap();
    let set = open(&dir);
    let mut writer = set.writer();
    let spool = only_spool(&set);
    let mut reader = set.reader(&spool);
    let mut frames = Vec::new();
    for round in 0..50 {
        assert_eq!(writer.next().seq, round * 100);
        assert_eq!(append(&mut writer, round * 100..(round + 1) * 100), 100);
        set.tend(Instant::now());
        frames.extend(read_all(&mut reader));
    }
    let (numbers, lost) = numbers_and_loss(&frames);
    assert_eq!(numbers, (0..5000).collect::<Vec<_>>());
    assert_eq!(lost, 0);
    assert!(lock(&spool.segments).len() > 5);
    assert_eq!(writer.next().spool_tag, (spool.id.as_u128() >> 96) as u32);
}

#[test]
fn a_frame_is_the_same_bytes_whoever_reads_it_again() {
    let dir = TempDir::new().unwrap();
    let set = open(&dir);
    let mut writer = set.writer();
    let mut reader = set.reader(&only_spool(&set));
    let mut frames = Vec::new();
    for (from, to) in [(0, 1), (1, 3), (3, 200), (200, 400), (400, 600)] {
        append(&mut writer, from..to);
        set.tend(Instant::now());
        frames.extend(read_all(&mut reader));
    }
    assert!(frames.iter().all(|frame| frame.numbers.len() <= CLICKS_MAX));
    // The same process, from the start and from a watermark.
    assert_eq!(read_only_spool(&set), frames);
    reader.seek(Some(3));
    assert_eq!(read_all(&mut reader), frames[2..]);
    // A watermark inside a frame: whoever set it knew of an end there, so the rest is a frame.
    reader.seek(Some(2));
    let again = read_all(&mut reader);
    assert_eq!((again[0].start, again[0].end, &again[1..]), (2, 3, &frames[2..]));
    // Another process after a crash, also with clicks that were never cut.
    append(&mut writer, 600..700);
    std::mem::forget(writer);
    set.close();
    drop(reader);
    drop(set);
    let set = open(&dir);
    let again = read_only_spool(&set);
    assert_eq!(again[..frames.len()], frames);
    assert_eq!(numbers_and_loss(&again).0, (0..700).collect::<Vec<_>>());
    // And a third cuts the rest where the second did.
    set.close();
    drop(set);
    assert_eq!(read_only_spool(&open(&dir)), again);
}

#[test]
fn every_start_and_every_writer_has_a_spool_of_its_own() {
    let dir = TempDir::new().unwrap();
    for start in 1..4u64 {
        let set = open(&dir);
        let mut writers = [set.writer(), set.writer()];
        for writer in &mut writers {
            assert_eq!(append(writer, 0..10), 10);
        }
        let ids: std::collections::BTreeSet<_> = set.report().iter().map(|report| report.spool).collect();
        assert_eq!(ids.len() as u64, 2 * start);
    }
    let set = open(&dir);
    assert!(set.report().iter().all(|report| report.accepted == 10 && !report.live));
}

#[test]
fn a_writer_that_was_never_used_leaves_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let set = open(&dir);
    drop(set.writer());
    set.close();
    let left: Vec<_> = std::fs::read_dir(dir.path().join("spool"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["edge"]);
    assert!(set.report().is_empty());
}

#[test]
fn segments_go_when_postgres_has_had_them_for_long_enough() {
    let dir = TempDir::new().unwrap();
    let mut config = config(&dir);
    config.retain_for = Duration::from_mins(1);
    let set = SpoolSet::open_on(config, std::sync::Arc::new(crate::clicks::spool::fs::Disk)).unwrap();
    let mut writer = set.writer();
    let spool = only_spool(&set);
    let now = Instant::now();
    for round in 0..20 {
        assert_eq!(append(&mut writer, round * 100..(round + 1) * 100), 100);
        set.tend(now);
    }
    let before = lock(&spool.segments).len();
    let commit = |next_seq| lock(&spool.progress).watermark = Some(Watermark { epoch: 1, next_seq });
    commit(1000);
    set.tend(now);
    assert_eq!(lock(&spool.segments).len(), before, "kept for the time of retention");
    // The database went back: the time starts again.
    commit(0);
    set.tend(now + Duration::from_secs(30));
    commit(1000);
    set.tend(now + Duration::from_secs(61));
    assert_eq!(lock(&spool.segments).len(), before);
    set.tend(now + Duration::from_secs(122));
    let (kept, freed) = spool.first_kept();
    assert!(freed && kept > 0 && kept <= 1000, "kept from {kept}");
    let (numbers, lost) = numbers_and_loss(&read_only_spool(&set));
    assert_eq!(
        (numbers, lost),
        ((kept..2000).collect(), 0),
        "a reader that is told nothing starts with what is kept"
    );
    // Asked for what is gone, it declares that lost.
    let mut reader = set.reader(&spool);
    assert_eq!(reader.seek(Some(5)), kept - 5);
    let frames = read_all(&mut reader);
    assert_eq!(frames[0].start, 5);
    assert_eq!(numbers_and_loss(&frames), ((kept..2000).collect(), kept - 5));
    // The end of a spool is kept until it has been told, then nothing of it is left.
    drop(writer);
    commit(2000);
    set.tend(now + Duration::from_secs(200));
    set.tend(now + Duration::from_mins(5));
    assert_eq!(lock(&spool.segments).len(), 1);
    lock(&spool.progress).ended = true;
    set.tend(now + Duration::from_secs(400));
    assert!(set.report().is_empty());
    assert_eq!(std::fs::read_dir(dir.path().join("spool")).unwrap().count(), 1);
}

#[test]
fn a_closed_spool_ends_and_an_open_one_only_rests() {
    let dir = TempDir::new().unwrap();
    let set = open(&dir);
    let mut writer = set.writer();
    let mut reader = set.reader(&only_spool(&set));
    let mut bytes = Vec::new();
    assert!(matches!(reader.next(CLOCK_MS, &mut bytes), Read::Idle));
    append(&mut writer, 0..1);
    assert!(matches!(reader.next(CLOCK_MS, &mut bytes), Read::Frame { start: 0, end: 1, clicks: 1 }));
    assert!(matches!(reader.next(CLOCK_MS, &mut bytes), Read::Idle));
    drop(writer);
    assert!(matches!(reader.next(CLOCK_MS, &mut bytes), Read::End));
    reader.tail(CLOCK_MS, true, &mut bytes);
    let header = shared::frame::decode(&bytes).unwrap().header;
    assert_eq!((header.first_seq, header.lost_before, header.last), (1, 0, true));
}

#[test]
fn a_folder_belongs_to_one_process() {
    let dir = TempDir::new().unwrap();
    let first = open(&dir);
    let refused = SpoolSet::open(config(&dir)).unwrap_err();
    assert!(matches!(refused, OpenError::InUse(_)), "{refused}");
    first.close();
    SpoolSet::open(config(&dir)).unwrap().close();
}

#[test]
fn the_edge_id_stays_with_the_folder_and_not_with_its_copy() {
    let dir = TempDir::new().unwrap();
    let id = open(&dir).edge_id();
    assert_eq!(open(&dir).edge_id(), id);
    let copy = TempDir::new().unwrap();
    std::fs::create_dir(copy.path().join("spool")).unwrap();
    std::fs::copy(dir.path().join("spool/edge"), copy.path().join("spool/edge")).unwrap();
    let copied = open(&copy).edge_id();
    assert_ne!(copied, id);
    assert_eq!(open(&copy).edge_id(), copied);
}

#[tokio::test]
async fn strict_commits_when_the_disk_has_it() {
    let dir = TempDir::new().unwrap();
    let set = SpoolSet::open(crate::clicks::spool::SpoolConfig { strict: true, ..config(&dir) }).unwrap();
    let mut writer = set.writer();
    for n in 0..20 {
        append(&mut writer, n..n + 1);
        assert_eq!(writer.commit().await, Durability::Synced);
    }
    // A commit that is waited for after its writer is gone still ends.
    append(&mut writer, 20..21);
    let commit = writer.commit();
    drop(writer);
    assert_eq!(commit.await, Durability::Synced);
    set.close();
}

#[tokio::test]
async fn a_spool_that_is_not_strict_never_waits() {
    let dir = TempDir::new().unwrap();
    let set = open(&dir);
    let mut writer = set.writer();
    append(&mut writer, 0..1);
    assert_eq!(writer.commit().await, Durability::Interval);
}

#[test]
fn notes_of_every_length_come_back() {
    use shared::click::note::NOTES_LEN_MAX;
    let dir = TempDir::new().unwrap();
    let set = open(&dir);
    let mut writer = set.writer();
    let mut reader = set.reader(&only_spool(&set));
    let mut bytes = Vec::new();
    for len in 0..=NOTES_LEN_MAX + 3 {
        let notes: Vec<u8> = (0..len).map(|at| at as u8 | 1).collect();
        with_click(7, |click| {
            let stored = writer.append(&shared::Click { notes: &notes, ..*click });
            assert_eq!(stored, crate::clicks::spool::Appended::Stored);
        });
        set.tend(Instant::now());
        while !matches!(reader.next(CLOCK_MS, &mut bytes), Read::Frame { .. }) {}
        let frame = shared::frame::decode(&bytes).unwrap();
        let expected: &[u8] = if len > NOTES_LEN_MAX { &[] } else { &notes };
        assert_eq!(frame.clicks[0].notes, expected, "{len} bytes of notes");
    }
}
