//! Appending clicks: what every redirect goes through.
//!
//! An append takes no lock, makes no system call and allocates nothing. Once per segment it takes the next
//! one, which upkeep has made ready, and wakes upkeep to make another. When there is none it declares the
//! click lost, durably, and goes on: it never waits.

use super::format::{Number, RecordBuf, SLOT_WORDS};
use super::mapping::Mapping;
use super::segment::{Segment, slots_in, word_of};
use super::state::Spool;
use shared::Click;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::thread::Thread;

/// Where a click is: what its click id says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot {
    /// The first four bytes of the spool's id, big-endian.
    pub spool_tag: u32,
    /// Sequence in the spool.
    pub seq: u64,
}

/// What became of a click.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Appended {
    /// It is in the page cache: it outlives this process, and the machine after the next sync.
    Stored,
    /// There was no room; it is counted as declared loss.
    Lost,
}

/// Whether a click has reached the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Durability {
    /// It will within the sync interval; the spool is not strict.
    Interval,
    /// It has.
    Synced,
    /// It has not, and may never: the disk refused, or there was no room.
    Failed,
}

/// A segment made ready: allocated, mapped, populated.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) segment: Arc<Segment>,
    pub(super) map: Arc<Mapping>,
}

/// The segment in use.
struct Open {
    segment: Arc<Segment>,
    map: Arc<Mapping>,
    slots: usize,
    /// First free slot.
    slot: usize,
    /// Records in it.
    number: u32,
    /// Clicks were lost after its last record: it takes no more.
    full: bool,
}

/// Appends to one spool. One per worker; dropping it ends the spool.
pub struct Writer {
    spool: Arc<Spool>,
    ready: Receiver<Ready>,
    open: Option<Open>,
    next_seq: u64,
    last_lost: bool,
    buf: RecordBuf,
    upkeep: Option<Thread>,
    /// The thread that syncs on demand; present in strict mode.
    sync: Option<Thread>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("spool", &self.spool.id)
            .field("next_seq", &self.next_seq)
            .finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn new(
        spool: Arc<Spool>,
        ready: Receiver<Ready>,
        upkeep: Option<Thread>,
        sync: Option<Thread>,
    ) -> Self {
        Self { spool, ready, open: None, next_seq: 0, last_lost: false, buf: RecordBuf::new(), upkeep, sync }
    }

    /// The place the next click gets, stored or lost.
    pub fn next(&self) -> Slot {
        let (tag, _, _, _) = self.spool.id.as_fields();
        Slot { spool_tag: tag, seq: self.next_seq }
    }

    /// Records a click. It takes the next sequence in any case.
    pub fn append(&mut self, click: &Click<'_>) -> Appended {
        if self.spool.roll.load(Ordering::Relaxed) {
            self.leave_distrusted();
        }
        let stored = self.store(click) || (self.take_next() && self.store(click));
        if !stored {
            self.declare_lost();
        }
        self.last_lost = !stored;
        self.next_seq += 1;
        self.spool.hot.accepted.store(self.next_seq, Ordering::Release);
        if stored { Appended::Stored } else { Appended::Lost }
    }

    /// Resolves when the last appended click has reached the disk. Ready at once unless the spool is strict.
    pub fn commit(&self) -> impl Future<Output = Durability> + Send + use<> {
        let waiting = self.sync.as_ref().map(|sync| {
            let wait = self.spool.settled.subscribe();
            sync.unpark();
            (wait, self.next_seq.saturating_sub(1))
        });
        let lost = self.last_lost;
        async move {
            match waiting {
                None => Durability::Interval,
                Some(_) if lost => Durability::Failed,
                Some((mut wait, seq)) => match wait.wait_for(|settled| settled.seq > seq).await {
                    Ok(settled) if (settled.failed_from..settled.failed_to).contains(&seq) => {
                        Durability::Failed
                    }
                    Ok(_) => Durability::Synced,
                    Err(_) => Durability::Failed,
                },
            }
        }
    }

    /// Puts the click into the open segment; `false` when there is none or no room in it.
    fn store(&mut self, click: &Click<'_>) -> bool {
        let Some(open) = &mut self.open else { return false };
        if open.full {
            return false;
        }
        let slots = self.buf.encode(open.segment.seed, open.number, click);
        if open.slot + slots > open.slots {
            return false;
        }
        let at = word_of(open.slot);
        let words = &open.map.words()[at..at + slots * SLOT_WORDS];
        for (place, word) in words.iter().enumerate().skip(1) {
            word.store(self.buf.word(place), Ordering::Relaxed);
        }
        // Whoever sees the commit word sees the whole record. The kernel keeps both when we are killed.
        words[0].store(self.buf.word(0), Ordering::Release);
        open.slot += slots;
        open.number += 1;
        let place = u64::from(open.segment.index) << 32 | open.slot as u64;
        self.spool.hot.place.store(place, Ordering::Release);
        true
    }

    /// Goes over to the next segment, if one is ready.
    #[cold]
    fn take_next(&mut self) -> bool {
        let Ok(Ready { segment, map }) = self.ready.try_recv() else {
            // Upkeep looks by itself; a thread that is out of disk is not to be woken for every click.
            return false;
        };
        self.seal();
        segment.put(&map, Number::FirstSeq, self.next_seq);
        let slots = slots_in(segment.len_bytes);
        self.open = Some(Open { segment, map, slots, slot: 0, number: 0, full: false });
        self.spool.roll.store(false, Ordering::Relaxed);
        self.spool.hot.taken.fetch_add(1, Ordering::Release);
        if let Some(upkeep) = &self.upkeep {
            upkeep.unpark();
        }
        true
    }

    /// Leaves a segment whose sync failed, as soon as there is another: memory still outlives this process,
    /// so that until then it is better than nothing.
    #[cold]
    fn leave_distrusted(&mut self) {
        if !self.take_next() && self.open.is_none() {
            self.spool.roll.store(false, Ordering::Relaxed);
        }
    }

    #[cold]
    fn declare_lost(&mut self) {
        self.seal();
        match &mut self.open {
            Some(open) => {
                open.full = true;
                let lost = open.segment.lost_after() + 1;
                open.segment.put(&open.map, Number::LostAfter, lost);
            }
            None => {
                self.spool.lost_early.fetch_add(1, Ordering::Release);
            }
        }
        self.spool.hot.lost.fetch_add(1, Ordering::Release);
    }

    /// Writes down how many records the open segment has. Once.
    fn seal(&mut self) {
        if let Some(open) = &self.open
            && open.segment.sealed().is_none()
        {
            open.segment.put(&open.map, Number::Sealed, u64::from(open.number));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.seal();
        self.spool.closed.store(true, Ordering::Release);
        for thread in [&self.upkeep, &self.sync].into_iter().flatten() {
            thread.unpark();
        }
    }
}
