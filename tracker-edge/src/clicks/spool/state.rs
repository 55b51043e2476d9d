//! What is shared about one spool: between its writer, the upkeep threads and shipping.

use super::segment::{Segment, lock};
use shared::keys::Watermark;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::watch;
use uuid::Uuid;

/// What the writer stores on every click, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Hot {
    /// Sequences taken.
    pub(super) accepted: AtomicU64,
    /// Segment (upper half) and first free slot in it (lower half).
    pub(super) place: AtomicU64,
    /// Sequences taken and not kept, because there was no room.
    pub(super) lost: AtomicU64,
    /// Segments taken into use.
    pub(super) taken: AtomicU64,
}

/// How far a strict spool has been synced.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Settled {
    /// Below this sequence, the disk has said yes or no.
    pub(super) seq: u64,
    /// From here...
    pub(super) failed_from: u64,
    /// ...to before here it said no.
    pub(super) failed_to: u64,
}

/// One spool of this folder.
#[derive(Debug)]
pub(crate) struct Spool {
    pub(crate) id: Uuid,
    pub(super) edge: u64,
    /// Whether this process writes it; recovered ones are only shipped.
    pub(crate) live: bool,
    pub(super) hot: Hot,
    /// Sequences lost before there was any segment.
    pub(super) lost_early: AtomicU64,
    /// The segment in use is not trusted any more: take another one.
    pub(super) roll: AtomicBool,
    /// The writer is gone.
    pub(super) closed: AtomicBool,
    pub(super) settled: watch::Sender<Settled>,
    /// In their order. Those not in use yet are at the end.
    pub(super) segments: Mutex<VecDeque<Arc<Segment>>>,
    pub(super) progress: Mutex<Progress>,
}

/// What shipping knows about a spool.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Progress {
    /// Redis has been asked for the watermark.
    pub(crate) polled: bool,
    /// The watermark last read.
    pub(crate) heard: Option<Watermark>,
    /// What Postgres has, as believed: segments below are freed.
    pub(crate) watermark: Option<Watermark>,
    /// Everything below was sent to Redis and acknowledged by it.
    pub(crate) shipped_seq: u64,
    /// What is sent next; goes back.
    pub(crate) next_to_ship: u64,
    /// Since when there has always been something to send.
    pub(crate) behind_since: Option<Instant>,
    /// Lost sequences found while reading: damaged records and missing files.
    pub(crate) damaged: u64,
    /// All is committed, and the drainer has been told that nothing follows.
    pub(crate) ended: bool,
}

impl Spool {
    pub(super) fn new(id: Uuid, edge: u64, live: bool) -> Self {
        Self {
            id,
            edge,
            live,
            hot: Hot::default(),
            lost_early: AtomicU64::new(0),
            roll: AtomicBool::new(false),
            closed: AtomicBool::new(!live),
            settled: watch::Sender::new(Settled::default()),
            segments: Mutex::new(VecDeque::new()),
            progress: Mutex::new(Progress::default()),
        }
    }

    /// Sequences taken so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.hot.accepted.load(Ordering::Acquire)
    }

    /// Whether nothing will be added.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// What shipping knows.
    pub(crate) fn progress(&self) -> Progress {
        *lock(&self.progress)
    }

    /// Notes what shipping found out.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut lock(&self.progress));
    }

    /// Whether nothing of it is left, on disk or to tell.
    pub(crate) fn is_gone(&self) -> bool {
        let done = self.is_closed() && (self.progress().ended || self.accepted() == 0);
        done && lock(&self.segments).is_empty()
    }

    /// The segment with this index, or the first in use after it.
    pub(super) fn segment_from(&self, index: u32) -> Option<Arc<Segment>> {
        let segments = lock(&self.segments);
        segments.iter().find(|segment| segment.index >= index && segment.first_seq().is_some()).cloned()
    }

    /// The last segment in use that starts at or before this sequence, else the first one in use.
    pub(super) fn segment_with(&self, seq: u64) -> Option<Arc<Segment>> {
        let segments = lock(&self.segments);
        let used = |segment: &&Arc<Segment>| segment.first_seq().is_some();
        segments
            .iter()
            .filter(used)
            .take_while(|segment| segment.first_seq().is_some_and(|first| first <= seq))
            .last()
            .or_else(|| segments.iter().find(used))
            .cloned()
    }

    /// The lowest sequence that is still kept, and whether anything before it was ever freed.
    pub(crate) fn first_kept(&self) -> (u64, bool) {
        match self.segment_from(0) {
            Some(segment) if segment.index == 0 => (0, false),
            Some(segment) => (segment.first_seq().unwrap_or(0), true),
            // Nothing was ever written, or everything is freed.
            None if self.hot.taken.load(Ordering::Acquire) == 0 => (0, false),
            None => (self.accepted(), true),
        }
    }
}
