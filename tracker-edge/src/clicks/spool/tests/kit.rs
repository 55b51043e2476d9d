//! What the spool's tests are made of: a folder, numbered clicks, and everything a reader gets.

use super::super::config::SpoolConfig;
use super::super::fs::{Disk, Fs};
use super::super::reader::{Read, Reader};
use super::super::set::SpoolSet;
use super::super::state::Spool;
use super::super::writer::Writer;
use shared::click::{note, push_note};
use shared::token::LinkKey;
use shared::{Click, ClickClass, frame};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// A small segment: 960 slots.
pub(super) const SEGMENT_BYTES: u64 = 64 << 10;
/// The clock frames are cut with.
pub(super) const CLOCK_MS: i64 = 1_795_000_000_000;

pub(super) fn config(dir: &TempDir) -> SpoolConfig {
    SpoolConfig {
        segment_bytes: SEGMENT_BYTES,
        retain_for: Duration::ZERO,
        ..SpoolConfig::new(dir.path().join("spool"))
    }
}

/// A set without threads on the real file system.
pub(super) fn open(dir: &TempDir) -> Arc<SpoolSet> {
    open_on(dir, Arc::new(Disk))
}

pub(super) fn open_on(dir: &TempDir, fs: Arc<dyn Fs>) -> Arc<SpoolSet> {
    SpoolSet::open_on(config(dir), fs).unwrap()
}

/// Click number `n`: everything in it follows from `n`, so that a reader can tell which one it got.
pub(super) fn with_click<R>(n: u64, use_it: impl FnOnce(&Click<'_>) -> R) -> R {
    let mut notes = Vec::new();
    for kind in 0..n % 7 {
        let value = format!("{n}-{}", "x".repeat((n as usize * 7) % note::VALUE_LEN_MAX));
        push_note(&mut notes, note::SUB1 + kind as u8, &value);
    }
    use_it(&Click {
        at_ms: CLOCK_MS + n as i64,
        link: LinkKey(n + 1),
        advertiser: (n % 5) as u32 + 1,
        visitor: n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        class: ClickClass::ALL[(n % 9) as usize],
        flags: (n % 2) as u8,
        country: *b"NL",
        notes: &notes,
    })
}

/// Appends clicks with these numbers and returns how many were stored.
pub(super) fn append(writer: &mut Writer, numbers: std::ops::Range<u64>) -> usize {
    numbers.filter(|n| with_click(*n, |click| writer.append(click)) == super::super::Appended::Stored).count()
}

/// A frame as a drainer sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Got {
    pub(super) start: u64,
    pub(super) first_seq: u64,
    pub(super) end: u64,
    /// Numbers of the clicks, proved to be those clicks.
    pub(super) numbers: Vec<u64>,
    /// Hash of its bytes.
    pub(super) digest: u64,
}

/// Decodes a frame and checks every click in it against what was appended.
pub(super) fn check(bytes: &[u8], read: (u64, u64, usize)) -> Got {
    let frame = frame::decode(bytes).unwrap();
    let numbers: Vec<u64> = frame.clicks.iter().map(|click| click.link.0 - 1).collect();
    for (click, n) in frame.clicks.iter().zip(&numbers) {
        with_click(*n, |expected| assert_eq!(click, expected));
    }
    let (start, end, clicks) = read;
    assert_eq!(start, frame.header.first_seq - frame.header.lost_before);
    assert_eq!(end, frame.header.first_seq + frame.clicks.len() as u64);
    assert_eq!(clicks, frame.clicks.len());
    Got { start, first_seq: frame.header.first_seq, end, numbers, digest: xxhash_rust::xxh3::xxh3_64(bytes) }
}

/// All frames up to where nothing more is, and the loss at the end.
pub(super) fn read_all(reader: &mut Reader) -> Vec<Got> {
    let mut frames = Vec::new();
    let mut bytes = Vec::new();
    loop {
        match reader.next(CLOCK_MS, &mut bytes) {
            Read::Frame { start, end, clicks } => frames.push(check(&bytes, (start, end, clicks))),
            Read::NeedsDisk(segment) => reader.supply(segment.load().unwrap()),
            Read::Idle | Read::End if reader.has_undeclared_loss() => {
                let Read::Frame { start, end, clicks } = reader.tail(CLOCK_MS, false, &mut bytes) else {
                    unreachable!("a tail is a frame")
                };
                frames.push(check(&bytes, (start, end, clicks)));
            }
            Read::Idle | Read::End => return frames,
        }
    }
}

/// Everything of the only spool of a set.
pub(super) fn read_only_spool(set: &SpoolSet) -> Vec<Got> {
    read_all(&mut set.reader(&only_spool(set)))
}

pub(super) fn only_spool(set: &SpoolSet) -> Arc<Spool> {
    let spools = set.spools();
    assert_eq!(spools.len(), 1);
    Arc::clone(&spools[0])
}

/// The numbers in frames, which must follow on each other, and how many sequences they lose.
pub(super) fn numbers_and_loss(frames: &[Got]) -> (Vec<u64>, u64) {
    for pair in frames.windows(2) {
        assert_eq!(pair[0].end, pair[1].start, "frames follow on each other");
    }
    let numbers = frames.iter().flat_map(|frame| frame.numbers.iter().copied()).collect();
    (numbers, frames.iter().map(|frame| frame.first_seq - frame.start).sum())
}

/// Ends a set as a power cut does: without the sync of a clean end.
pub(super) fn drop_without_sync(set: Arc<SpoolSet>) {
    set.forget();
    drop(set);
}
