//! What happens beside the writers: making segments ready, syncing, freeing.
//!
//! Two threads, so that a slow disk's sync does not keep a writer without its next segment. Both only call
//! the passes below, which tests call themselves.

use super::config::SpoolConfig;
use super::format::{Header, Number};
use super::fs::Fs;
use super::mapping::Mapping;
use super::metrics::Metrics;
use super::recovery::file_name;
use super::segment::{Segment, len_to, lock, slots_in};
use super::state::Spool;
use super::writer::Ready;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Segments made ready ahead of a writer.
const AHEAD: u64 = 1;
/// When the disk or the budget has no room for a whole segment, one this small is tried: the last
/// bytes are worth having, and with any segment at all the count of lost clicks outlives a crash.
pub(super) const SEGMENT_BYTES_MIN: u64 = 64 << 10;

/// A live spool's supply of segments.
struct Supply {
    spool: Arc<Spool>,
    sender: SyncSender<Ready>,
    given: u64,
}

/// A segment that may hold what is not synced yet.
struct Dirty {
    spool: Arc<Spool>,
    segment: Arc<Segment>,
    map: Arc<Mapping>,
    synced: Written,
    /// The disk refused it once: nothing it says later is believed.
    distrusted: bool,
    /// Its writer has left it, and it is synced or never will be.
    done: bool,
}

/// How much of a segment is written.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Written {
    slots: usize,
    sealed: bool,
    lost_after: u64,
}

/// What was carried over to the metrics.
#[derive(Default)]
struct Told {
    accepted: u64,
    lost: u64,
    damaged: u64,
}

/// Everything the threads and the set share.
pub(super) struct Upkeep {
    pub(super) config: SpoolConfig,
    pub(super) fs: Arc<dyn Fs>,
    pub(super) edge: u64,
    pub(super) spools: Mutex<Vec<Arc<Spool>>>,
    pub(super) metrics: Metrics,
    /// Bytes of all segments.
    pub(super) bytes: AtomicU64,
    /// Clicks cannot be kept on disk.
    pub(super) degraded: AtomicBool,
    /// Whether the folder is ours to write; without it nothing is kept.
    pub(super) writable: bool,
    pub(super) stop: AtomicBool,
    /// The end is played by a test: nothing is tidied up.
    #[cfg(test)]
    pub(super) forgotten: AtomicBool,
    supplies: Mutex<Vec<Supply>>,
    dirty: Mutex<Vec<Dirty>>,
    /// Recovered segments: a process that was killed left its last interval to the kernel, which takes half
    /// a minute.
    pub(super) recovered: Mutex<Vec<Arc<Segment>>>,
    told: Mutex<Told>,
}

impl std::fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upkeep").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Upkeep {
    pub(super) fn new(config: SpoolConfig, fs: Arc<dyn Fs>, edge: u64, writable: bool) -> Self {
        Self {
            config,
            fs,
            edge,
            spools: Mutex::default(),
            metrics: Metrics::register(),
            bytes: AtomicU64::new(0),
            degraded: AtomicBool::new(!writable),
            writable,
            stop: AtomicBool::new(false),
            #[cfg(test)]
            forgotten: AtomicBool::new(false),
            supplies: Mutex::default(),
            dirty: Mutex::default(),
            recovered: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Starts supplying a spool, with its first segment at once.
    pub(super) fn supply(&self, spool: &Arc<Spool>) -> Receiver<Ready> {
        let (sender, receiver) = sync_channel(AHEAD as usize);
        let mut supply = Supply { spool: Arc::clone(spool), sender, given: 0 };
        self.fill(&mut supply);
        lock(&self.spools).push(Arc::clone(spool));
        lock(&self.supplies).push(supply);
        receiver
    }

    /// One round of making ready, freeing and counting.
    pub(super) fn tend(&self, now: Instant) {
        let mut supplies = lock(&self.supplies);
        for supply in supplies.iter_mut() {
            if !supply.spool.is_closed() {
                self.fill(supply);
            }
        }
        supplies.retain(|supply| {
            let closed = supply.spool.is_closed();
            if closed {
                self.remove_unused(&supply.spool);
            }
            !closed
        });
        drop(supplies);
        self.free_committed(now);
        self.tell();
    }

    /// Makes segments ready until the spool has enough.
    fn fill(&self, supply: &mut Supply) {
        while supply.given < supply.spool.hot.taken.load(Ordering::Acquire) + AHEAD && self.writable {
            match self.make_segment(&supply.spool, supply.given as u32) {
                Ok(ready) => {
                    lock(&supply.spool.segments).push_back(Arc::clone(&ready.segment));
                    lock(&self.dirty).push(Dirty {
                        spool: Arc::clone(&supply.spool),
                        segment: Arc::clone(&ready.segment),
                        map: Arc::clone(&ready.map),
                        synced: Written::default(),
                        distrusted: false,
                        done: false,
                    });
                    supply.given += 1;
                    self.set_degraded(None);
                    // The channel holds what may be given ahead, so there is room; a writer that is gone
                    // needs nothing, and its unused segments are removed.
                    drop(supply.sender.try_send(ready));
                }
                Err(error) => {
                    self.metrics.allocate_errors.increment(1);
                    self.set_degraded(Some(&error));
                    return;
                }
            }
        }
    }

    fn set_degraded(&self, error: Option<&io::Error>) {
        let was = self.degraded.swap(error.is_some(), Ordering::AcqRel);
        match error {
            Some(error) if !was => {
                tracing::error!(%error, "no room for clicks on disk: once what is ready is full, clicks are declared lost");
            }
            None if was => tracing::info!("clicks are kept on disk again"),
            _ => {}
        }
    }

    /// A segment of full size, else after freeing what Postgres has, else a small one.
    fn make_segment(&self, spool: &Arc<Spool>, index: u32) -> io::Result<Ready> {
        let full = self.config.segment_bytes;
        loop {
            match self.try_segment(spool, index, full) {
                Err(error) if is_no_room(&error) => {
                    if !self.free_oldest() {
                        return self.try_segment(spool, index, SEGMENT_BYTES_MIN).map_err(|_| error);
                    }
                }
                done => return done,
            }
        }
    }

    fn try_segment(&self, spool: &Arc<Spool>, index: u32, len_bytes: u64) -> io::Result<Ready> {
        if self.bytes.load(Ordering::Relaxed) + len_bytes > self.config.disk_budget_bytes {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "the spool's disk budget is used up"));
        }
        let path = self.config.dir.join(file_name(spool.id, index));
        let header = Header { spool: spool.id, edge: spool.edge, index, len_bytes };
        let file = self.fs.create(&path, len_bytes, &header.encode())?;
        let mapped = Mapping::new(&file, len_bytes as usize).and_then(|map| map.populate().map(|()| map));
        let map = match mapped {
            Ok(map) => Arc::new(map),
            Err(error) => {
                self.remove_file(&path);
                return Err(error);
            }
        };
        self.bytes.fetch_add(len_bytes, Ordering::Relaxed);
        let segment = Arc::new(Segment::new(path, spool.id, index, len_bytes));
        segment.mapped(&map);
        Ok(Ready { segment, map })
    }

    /// One round of syncing. What was appended before the call is on disk after it, unless the disk refused.
    pub(super) fn sync(&self) {
        // Asked first: what is accepted now is written where the loop below looks.
        let settled: Vec<_> = lock(&self.spools)
            .iter()
            .filter(|spool| spool.live)
            .map(|spool| (Arc::clone(spool), spool.accepted()))
            .collect();
        for segment in std::mem::take(&mut *lock(&self.recovered)) {
            self.sync_recovered(&segment);
        }
        let mut dirty = std::mem::take(&mut *lock(&self.dirty));
        for dirty in &mut dirty {
            self.sync_one(dirty);
        }
        dirty.retain(|dirty| !dirty.done);
        let mut list = lock(&self.dirty);
        dirty.append(&mut list);
        *list = dirty;
        drop(list);
        for (spool, seq) in settled {
            spool.settled.send_if_modified(|settled| {
                let moved = settled.seq < seq;
                settled.seq = settled.seq.max(seq);
                moved
            });
        }
    }

    fn sync_recovered(&self, segment: &Segment) {
        match self.fs.sync_file(&segment.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.metrics.sync_errors.increment(1);
                tracing::error!(segment = segment.index, %error, "the disk refused to sync a recovered segment");
            }
            _ => {}
        }
    }

    fn sync_one(&self, dirty: &mut Dirty) {
        let (spool, segment) = (&dirty.spool, &dirty.segment);
        let accepted = spool.accepted();
        let Some(first_seq) = segment.first_seq() else {
            dirty.done = spool.is_closed();
            return;
        };
        // Read before what was written: a writer that has left writes nothing more.
        let left =
            spool.is_closed() || spool.hot.taken.load(Ordering::Acquire) > u64::from(segment.index) + 1;
        let sealed = segment.sealed().is_some();
        let written =
            Written { slots: written_slots(spool, segment), sealed, lost_after: segment.lost_after() };
        if written == dirty.synced || dirty.distrusted {
            dirty.done = left;
            return;
        }
        if !sealed {
            segment.put(&dirty.map, Number::Floor, accepted.saturating_sub(first_seq));
        }
        match self.fs.sync(&segment.path, &dirty.map, len_to(written.slots) as usize) {
            Ok(()) => dirty.synced = written,
            Err(error) => {
                self.metrics.sync_errors.increment(1);
                tracing::error!(spool = %spool.id, segment = segment.index, %error,
                    "the disk refused a sync: the segment is not trusted any more");
                dirty.distrusted = true;
                if !sealed {
                    spool.roll.store(true, Ordering::Relaxed);
                }
                spool.settled.send_modify(|settled| {
                    let from = first_seq.max(settled.seq);
                    settled.failed_from = if settled.failed_to == from { settled.failed_from } else { from };
                    settled.failed_to = accepted;
                });
            }
        }
    }

    /// Frees segments that Postgres has had for long enough, and forgets spools that are done.
    fn free_committed(&self, now: Instant) {
        for spool in lock(&self.spools).iter() {
            let progress = *lock(&spool.progress);
            let committed = progress.watermark.map_or(0, |watermark| watermark.next_seq);
            let mut segments = lock(&spool.segments);
            mark_committed(&segments, spool.is_closed(), committed, now);
            while let Some(segment) = segments.front() {
                let since = *lock(&segment.committed_since);
                let due = since.is_some_and(|since| now.duration_since(since) >= self.config.retain_for);
                // The last one goes when the end has been told.
                if !due || (segments.len() == 1 && !progress.ended) || !self.free(segment) {
                    break;
                }
                segments.pop_front();
            }
        }
        lock(&self.spools).retain(|spool| !spool.is_gone());
    }

    /// Frees one committed segment before its time, the one committed longest; `false` when there is none.
    fn free_oldest(&self) -> bool {
        let spools = lock(&self.spools);
        let since = |spool: &Arc<Spool>| {
            let segments = lock(&spool.segments);
            // A spool keeps its last one, which its reader stands on.
            segments.front().filter(|_| segments.len() > 1).and_then(|first| *lock(&first.committed_since))
        };
        let oldest =
            spools.iter().filter_map(|spool| Some((since(spool)?, spool))).min_by_key(|(since, _)| *since);
        let Some((_, spool)) = oldest else { return false };
        let mut segments = lock(&spool.segments);
        let freed = segments.front().is_some_and(|segment| self.free(segment));
        if freed {
            segments.pop_front();
            self.metrics.freed_early.increment(1);
        }
        freed
    }

    fn free(&self, segment: &Segment) -> bool {
        let freed = self.remove_file(&segment.path);
        if freed {
            self.bytes.fetch_sub(segment.len_bytes, Ordering::Relaxed);
        }
        freed
    }

    /// Removes what was made ready for a writer that is gone.
    fn remove_unused(&self, spool: &Spool) {
        lock(&spool.segments).retain(|segment| segment.first_seq().is_some() || !self.free(segment));
    }

    fn remove_file(&self, path: &std::path::Path) -> bool {
        let removed = self.fs.remove(path);
        if let Err(error) = &removed {
            tracing::warn!(%error, "could not remove a segment");
        }
        removed.is_ok()
    }

    /// Carries the writers' counters over to the metrics.
    fn tell(&self) {
        let spools = lock(&self.spools);
        let live = || spools.iter().filter(|spool| spool.live);
        let accepted = live().map(|spool| spool.accepted()).sum::<u64>();
        let lost = live().map(|spool| spool.hot.lost.load(Ordering::Acquire)).sum::<u64>();
        let damaged = spools.iter().map(|spool| lock(&spool.progress).damaged).sum::<u64>();
        let mut told = lock(&self.told);
        self.metrics.accepted.increment(accepted.saturating_sub(told.accepted));
        self.metrics.lost_full.increment(lost.saturating_sub(told.lost));
        self.metrics.lost_damaged.increment(damaged.saturating_sub(told.damaged));
        *told = Told { accepted, lost, damaged };
        self.metrics.disk_bytes.set(self.bytes.load(Ordering::Relaxed) as f64);
        self.metrics.spools.set(spools.len() as f64);
        self.metrics.degraded.set(f64::from(u8::from(self.degraded.load(Ordering::Acquire))));
    }

    /// After the threads: what is left to sync and to remove.
    pub(super) fn finish(&self) {
        #[cfg(test)]
        if self.forgotten.load(Ordering::Acquire) {
            return;
        }
        self.tend(Instant::now());
        self.sync();
    }
}

/// Slots of a segment with records, as its writer last said.
fn written_slots(spool: &Spool, segment: &Segment) -> usize {
    let place = spool.hot.place.load(Ordering::Acquire);
    let (index, slot) = ((place >> 32) as u32, (place & 0xffff_ffff) as usize);
    match index.cmp(&segment.index) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Equal => slot,
        std::cmp::Ordering::Greater => slots_in(segment.len_bytes),
    }
}

/// Notes since when each segment is below the watermark; a watermark that went back takes that back.
fn mark_committed(
    segments: &std::collections::VecDeque<Arc<Segment>>,
    closed: bool,
    committed: u64,
    now: Instant,
) {
    for (at, segment) in segments.iter().enumerate() {
        let next = segments.get(at + 1).and_then(|next| next.first_seq());
        let end = next.or_else(|| if closed { segment.end_seq() } else { None });
        let mut since = lock(&segment.committed_since);
        *since = match end {
            Some(end) if end <= committed => since.or(Some(now)),
            _ => None,
        };
    }
}

fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
