//! Full disks, refused syncs, used-up budgets: the click path goes on, and every loss is counted exactly.

use super::faulty::FaultyDisk;
use super::kit::*;
use crate::clicks::spool::segment::lock;
use crate::clicks::spool::{Appended, Durability, SpoolConfig, SpoolSet};
use shared::keys::Watermark;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tempfile::TempDir;

/// Appends until so many were lost in a row; returns how many were stored.
fn fill(writer: &mut crate::clicks::spool::Writer, from: u64, lost: u64) -> u64 {
    let (mut stored, mut in_a_row, mut n) = (0, 0, from);
    while in_a_row < lost {
        match with_click(n, |click| writer.append(click)) {
            Appended::Stored => (stored, in_a_row) = (stored + 1, 0),
            Appended::Lost => in_a_row += 1,
        }
        n += 1;
    }
    stored
}

#[test]
fn f5_a_disk_full_from_the_start_loses_every_click_and_counts_it() {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(FaultyDisk::with_room(0));
    let set = open_on(&dir, disk.clone());
    let mut writer = set.writer();
    assert!(set.degraded());
    assert_eq!(append(&mut writer, 0..1000), 0);
    assert_eq!(writer.next().seq, 1000, "a lost click takes its sequence all the same");
    assert_eq!(numbers_and_loss(&read_only_spool(&set)), (vec![], 1000));
    assert_eq!(set.report()[0].declared_loss, 1000);
    // Room again: what follows is kept, behind a hole of known size.
    disk.room.store(u64::MAX / 2, Ordering::SeqCst);
    set.tend(Instant::now());
    assert!(!set.degraded());
    assert_eq!(append(&mut writer, 1000..1100), 100);
    assert_eq!(numbers_and_loss(&read_only_spool(&set)), ((1000..1100).collect(), 1000));
    // And so for the next process.
    std::mem::forget(writer);
    drop(set);
    let set = open(&dir);
    assert_eq!(numbers_and_loss(&read_only_spool(&set)), ((1000..1100).collect(), 1000));
    assert_eq!(set.report()[0].accepted, 1100);
}

#[test]
fn f5_a_disk_that_fills_up_loses_exactly_what_it_says_also_across_a_crash() {
    for tail in [1, 7, 300] {
        let dir = TempDir::new().unwrap();
        let disk = Arc::new(FaultyDisk::with_room(2 * SEGMENT_BYTES));
        let set = open_on(&dir, disk.clone());
        let mut writer = set.writer();
        set.tend(Instant::now());
        let first = fill(&mut writer, 0, 50);
        set.tend(Instant::now());
        // The second segment, then the end.
        let taken = writer.next().seq;
        let second = fill(&mut writer, taken, tail);
        let accepted = writer.next().seq;
        let lost = accepted - first - second;
        assert_eq!(only_spool(&set).hot.lost.load(Ordering::SeqCst), lost);
        let before = numbers_and_loss(&read_only_spool(&set));
        assert_eq!((before.0.len() as u64, before.1), (first + second, lost));
        // kill -9 with the disk still full.
        std::mem::forget(writer);
        drop(set);
        let set = open_on(&dir, disk.clone());
        assert_eq!(numbers_and_loss(&read_only_spool(&set)), before, "{tail} lost at the end");
        assert_eq!(set.report()[0].accepted, accepted);
        drop(set);
        assert_eq!(numbers_and_loss(&read_only_spool(&open_on(&dir, disk))), before);
    }
}

#[test]
fn the_last_bytes_of_a_disk_are_used() {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(FaultyDisk::with_room(SEGMENT_BYTES + 1));
    let config = SpoolConfig { segment_bytes: 4 * SEGMENT_BYTES, ..config(&dir) };
    let set = SpoolSet::open_on(config, disk).unwrap();
    let mut writer = set.writer();
    assert_eq!(append(&mut writer, 0..100), 100);
    assert_eq!(lock(&only_spool(&set).segments)[0].len_bytes, SEGMENT_BYTES);
}

#[test]
fn a_full_disk_takes_the_oldest_committed_segment_and_never_an_uncommitted_one() {
    let dir = TempDir::new().unwrap();
    let config = SpoolConfig {
        disk_budget_bytes: 4 * SEGMENT_BYTES,
        retain_for: std::time::Duration::from_hours(1),
        ..config(&dir)
    };
    let set = SpoolSet::open_on(config, Arc::new(crate::clicks::spool::fs::Disk)).unwrap();
    let mut writer = set.writer();
    let spool = only_spool(&set);
    let mut stored = 0;
    for n in 0..20 {
        stored += append(&mut writer, n * 100..(n + 1) * 100);
        set.tend(Instant::now());
        assert!(set.report()[0].first_kept_seq == 0, "nothing is committed, nothing goes");
    }
    assert!(stored < 2000 && set.degraded(), "the budget is used up");
    let (numbers, lost) = numbers_and_loss(&read_only_spool(&set));
    assert_eq!((numbers.len(), lost as usize), (stored, 2000 - stored));
    // Postgres has the first half: retention gives way to new clicks.
    let half = spool.segment_with(500).unwrap().first_seq().unwrap();
    lock(&spool.progress).watermark = Some(Watermark { epoch: 1, next_seq: half });
    set.tend(Instant::now());
    set.tend(Instant::now());
    assert!(!set.degraded());
    assert_eq!(append(&mut writer, 2000..2100), 100);
    let (kept, freed) = spool.first_kept();
    assert!(freed && kept <= half, "kept from {kept}, committed to {half}");
    assert_eq!(numbers_and_loss(&read_only_spool(&set)).1, 2000 - stored as u64);
}

#[tokio::test]
async fn f8_a_segment_whose_sync_failed_is_left_and_never_believed_again() {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(FaultyDisk::with_room(u64::MAX / 2));
    let set = open_on(&dir, disk.clone());
    let mut writer = set.writer();
    append(&mut writer, 0..100);
    set.sync();
    set.tend(Instant::now());
    append(&mut writer, 100..150);
    disk.sync_fails.store(true, Ordering::SeqCst);
    set.sync();
    append(&mut writer, 150..200);
    let spool = only_spool(&set);
    assert_eq!(lock(&spool.segments)[0].sealed(), Some(150), "the next click goes to another segment");
    assert_eq!(spool.segment_with(150).unwrap().index, 1);
    set.sync();
    set.tend(Instant::now());
    // Strict callers are told: 100 to 149 were refused, 150 to 199 are safe.
    let settled = *spool.settled.borrow();
    assert_eq!((settled.seq, settled.failed_from, settled.failed_to), (200, 100, 150));
    // The clicks themselves are still in memory, and shipped.
    assert_eq!(numbers_and_loss(&read_only_spool(&set)), ((0..200).collect(), 0));
    // With the power, what was refused goes, and nothing else.
    std::mem::forget(writer);
    drop(set);
    disk.cut_power(&dir.path().join("spool"));
    let set = open(&dir);
    let (numbers, lost) = numbers_and_loss(&read_only_spool(&set));
    assert_eq!(numbers, (0..100).chain(150..200).collect::<Vec<_>>());
    assert_eq!(lost, 50);
}

#[tokio::test]
async fn f8_strict_answers_are_told_when_the_disk_refused() {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(FaultyDisk::with_room(u64::MAX / 2));
    let set = SpoolSet::open_on(SpoolConfig { strict: true, ..config(&dir) }, disk.clone()).unwrap();
    disk.sync_fails.store(true, Ordering::SeqCst);
    set.start_threads();
    let mut writer = set.writer();
    append(&mut writer, 0..1);
    assert_eq!(writer.commit().await, Durability::Failed);
    // The next one is in another segment as soon as there is one.
    let mut n = 1;
    while writer.commit().await != Durability::Synced {
        append(&mut writer, n..n + 1);
        n += 1;
        assert!(n < 10_000, "never synced again");
    }
    set.close();
}

#[test]
fn f4_a_power_cut_takes_what_was_not_synced_and_nothing_else() {
    for (synced, after) in [(0, 40), (1, 1), (60, 100), (150, 400), (400, 1)] {
        let dir = TempDir::new().unwrap();
        let disk = Arc::new(FaultyDisk::with_room(u64::MAX / 2));
        let set = open_on(&dir, disk.clone());
        let mut writer = set.writer();
        for n in 0..synced {
            append(&mut writer, n..n + 1);
            set.tend(Instant::now());
        }
        set.sync();
        for n in synced..synced + after {
            append(&mut writer, n..n + 1);
            set.tend(Instant::now());
        }
        std::mem::forget(writer);
        drop_without_sync(set);
        disk.cut_power(&dir.path().join("spool"));
        let set = open_on(&dir, disk);
        let report = set.report();
        if synced == 0 {
            assert!(report.is_empty());
            continue;
        }
        let (numbers, lost) = numbers_and_loss(&read_only_spool(&set));
        assert_eq!((numbers, lost), ((0..synced).collect(), 0), "{synced} synced, {after} after");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_done_without() {
    // A file where the folder should be is a mistake of configuration, and said so.
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("spool"), b"").unwrap();
    let error = SpoolSet::open_on(config(&dir), Arc::new(FaultyDisk::with_room(0))).unwrap_err();
    assert!(error.to_string().contains("cannot be used"), "{error}");
    for bad in [
        SpoolConfig { segment_bytes: 4096, ..config(&dir) },
        SpoolConfig { segment_bytes: SEGMENT_BYTES + 1, ..config(&dir) },
        SpoolConfig { segment_bytes: 2 << 30, ..config(&dir) },
        SpoolConfig { sync_interval: std::time::Duration::ZERO, ..config(&dir) },
    ] {
        assert!(matches!(SpoolSet::open(bad), Err(crate::clicks::spool::OpenError::Config(_))));
    }
}
