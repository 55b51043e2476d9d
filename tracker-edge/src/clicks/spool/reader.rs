//! Reading a spool in order and cutting it into frames.
//!
//! A frame ends where a record carries a cut mark. Where there is none yet, the reader decides, and writes
//! the mark before the frame leaves, so that whoever reads again gets the same bytes. Frames never span
//! segments or lost records. What cannot be read is passed over and declared lost with the next frame.
//!
//! One reader per spool. It never waits: a segment that is not in memory is asked for
//! ([`Read::NeedsDisk`]) and handed in ([`Reader::supply`]).

use super::format::{self, RecordBuf, cut_salt};
use super::fs::Fs;
use super::quarantine;
use super::segment::{Place, Segment, Step, View, lock, step};
use super::state::Spool;
use shared::Click;
use shared::frame::{self, CLICKS_MAX, FrameHeader};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// What reading on gave.
pub(crate) enum Read {
    /// A frame, encoded into the caller's buffer: it covers the sequences from `start` to before `end`.
    Frame { start: u64, end: u64, clicks: usize },
    /// The next segment has to be read from disk first.
    NeedsDisk(OnDisk),
    /// Nothing more for now.
    Idle,
    /// Nothing more, ever.
    End,
}

/// A segment that has to be read from disk.
pub(crate) struct OnDisk {
    segment: Arc<Segment>,
    fs: Arc<dyn Fs>,
}

/// A segment read from disk, for [`Reader::supply`].
pub(crate) struct Loaded {
    segment: Arc<Segment>,
    view: View,
}

impl OnDisk {
    /// Reads the segment. May wait for the disk, so not on an async thread. A missing file reads as an
    /// empty one: its records are lost.
    pub(crate) fn load(self) -> io::Result<Loaded> {
        let view = match self.segment.load(&self.fs) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                View::loaded(&[], self.fs, self.segment.path.clone())
            }
            done => done?,
        };
        Ok(Loaded { segment: self.segment, view })
    }
}

/// The segment being read.
struct At {
    segment: Arc<Segment>,
    view: View,
    place: Place,
}

/// Clicks collected for a frame.
#[derive(Default)]
struct Batch {
    /// Without their notes, and where these are.
    clicks: Vec<(Click<'static>, Range<usize>)>,
    notes: Vec<u8>,
    /// Where the last record stands.
    last: Place,
}

/// Reads one spool.
pub(crate) struct Reader {
    spool: Arc<Spool>,
    fs: Arc<dyn Fs>,
    at: Option<At>,
    supplied: Option<Loaded>,
    /// Segments below this index are behind.
    index: u32,
    /// Sequence of the next record.
    seq: u64,
    /// Lost sequences directly before `seq` that no frame has declared yet.
    lost: u64,
    /// Go to this sequence, once its segment is open.
    seek: Option<u64>,
    /// Damage below this sequence has been counted.
    damage_counted_to: u64,
    batch: Batch,
    buf: RecordBuf,
}

impl Reader {
    /// A reader at the first sequence that is still kept.
    pub(super) fn new(spool: Arc<Spool>, fs: Arc<dyn Fs>) -> Self {
        let mut reader = Self {
            spool,
            fs,
            at: None,
            supplied: None,
            index: 0,
            seq: 0,
            lost: 0,
            seek: None,
            damage_counted_to: 0,
            batch: Batch::default(),
            buf: RecordBuf::new(),
        };
        reader.seek(None);
        reader
    }

    /// Sequence of what comes next, lost ones not yet declared included.
    pub(crate) fn position(&self) -> u64 {
        self.seq - self.lost
    }

    /// Goes to a sequence, or to what is kept first when it is not known. A watermark is where a frame ended,
    /// also when a power cut took the mark that said so; so what is cut from there on is what would follow.
    /// Returns how many sequences that were asked for are no longer kept: they will be declared lost.
    pub(crate) fn seek(&mut self, seq: Option<u64>) -> u64 {
        let (first_kept, freed) = self.spool.first_kept();
        let seq = seq.unwrap_or(first_kept);
        self.at = None;
        self.lost = 0;
        self.seq = seq;
        self.index = self.spool.segment_with(seq).map_or(0, |segment| segment.index);
        self.seek = Some(seq);
        if freed { first_kept.saturating_sub(seq) } else { 0 }
    }

    /// Lets go of the segment being read, until reading goes on.
    pub(crate) fn rest(&mut self) {
        self.seek(Some(self.position()));
    }

    /// Hands in the segment that was asked for.
    pub(crate) fn supply(&mut self, loaded: Loaded) {
        self.supplied = Some(loaded);
    }

    /// Cuts the next frame into `out`. `clock_ms` is the clock of a frame that is cut now.
    pub(crate) fn next(&mut self, clock_ms: i64, out: &mut Vec<u8>) -> Read {
        self.batch.clicks.clear();
        self.batch.notes.clear();
        loop {
            // Asked first: what is closed or sealed now has nothing after what is read below.
            let closed = self.spool.is_closed();
            if self.at.is_none()
                && let Err(nothing) = self.open(closed)
            {
                return nothing;
            }
            let Some(at) = &mut self.at else { continue };
            let growing = at.segment.sealed().is_none() && !closed;
            let before = at.place;
            match step(&at.view, at.segment.seed, &mut at.place, &mut self.buf, growing) {
                Step::Record { lost: 1.., .. } if !self.batch.clicks.is_empty() => {
                    at.place = before;
                    return self.finish(clock_ms, None, out);
                }
                Step::Record { at: found, lost, .. } => {
                    self.pass_over(u64::from(lost), before.slot..found.slot);
                    if let Some(done) = self.take(found, clock_ms, out) {
                        return done;
                    }
                }
                Step::Empty | Step::Broken if !self.batch.clicks.is_empty() => {
                    return self.finish(clock_ms, None, out);
                }
                Step::Empty | Step::Broken if growing => return Read::Idle,
                Step::Empty | Step::Broken => {
                    if let Some(nothing) = self.leave_segment(closed) {
                        return nothing;
                    }
                }
            }
        }
    }

    /// A frame without clicks, into `out`: the edge's clock, and the loss nothing has followed yet.
    pub(crate) fn tail(&mut self, clock_ms: i64, last: bool, out: &mut Vec<u8>) -> Read {
        let header = self.header(clock_ms, last);
        frame::encode(&header, &[], out);
        let start = self.position();
        self.lost = 0;
        Read::Frame { start, end: self.seq, clicks: 0 }
    }

    /// Whether there is loss that no frame has declared yet.
    pub(crate) fn has_undeclared_loss(&self) -> bool {
        self.lost > 0
    }

    /// Opens the next segment in use.
    fn open(&mut self, closed: bool) -> Result<(), Read> {
        let Some(segment) = self.spool.segment_from(self.index) else {
            self.lose_to(self.spool.lost_early.load(std::sync::atomic::Ordering::Acquire));
            return Err(if closed { Read::End } else { Read::Idle });
        };
        let supplied = self.supplied.take().filter(|loaded| Arc::ptr_eq(&loaded.segment, &segment));
        let Some(view) = supplied.map(|loaded| loaded.view).or_else(|| segment.view_mapped()) else {
            return Err(Read::NeedsDisk(OnDisk { segment, fs: Arc::clone(&self.fs) }));
        };
        let first_seq = segment.first_seq().unwrap_or(self.seq);
        self.index = segment.index;
        let mut at = At { segment, view, place: Place::default() };
        match self.seek.take() {
            Some(target) if target > first_seq => {
                self.seq = first_seq + skip_records(&mut at, target - first_seq, &mut self.buf);
            }
            _ => {
                self.lost += first_seq.saturating_sub(self.seq);
                self.seq = first_seq;
            }
        }
        self.at = Some(at);
        Ok(())
    }

    /// Takes the record in the buffer into the batch; returns the frame it completes.
    fn take(&mut self, found: Place, clock_ms: i64, out: &mut Vec<u8>) -> Option<Read> {
        let at = self.at.as_ref()?;
        // `step` only returns records that hold a click.
        let click = self.buf.click()?;
        let notes = self.batch.notes.len();
        self.batch.notes.extend_from_slice(click.notes);
        let range = notes..self.batch.notes.len();
        self.batch.clicks.push((Click { notes: &[], ..click }, range));
        self.batch.last = found;
        self.seq += 1;
        let mark = format::unchecked(at.segment.seed, cut_salt(found.number), self.buf.cut());
        if mark.is_some() || self.batch.clicks.len() == CLICKS_MAX {
            return Some(self.finish(clock_ms, mark, out));
        }
        None
    }

    /// Encodes the batch, after marking its last record where that is not done yet.
    fn finish(&mut self, clock_ms: i64, mark: Option<u64>, out: &mut Vec<u8>) -> Read {
        let count = self.batch.clicks.len() as u64;
        let clicks: Vec<Click<'_>> = self
            .batch
            .clicks
            .iter()
            .map(|(click, notes)| Click { notes: &self.batch.notes[notes.clone()], ..*click })
            .collect();
        let clock_ms = match mark {
            Some(clock_ms) => clock_ms as i64,
            // Two edges on copies of one folder must cut the same bytes, so the clock is not theirs.
            None if !self.spool.live => clicks.last().map_or(clock_ms, |click| click.at_ms.max(0)),
            None => clock_ms,
        };
        let header = FrameHeader { first_seq: self.seq - count, ..self.header(clock_ms, false) };
        frame::encode(&header, &clicks, out);
        if mark.is_none()
            && let Some(at) = &mut self.at
        {
            let Place { slot, number } = self.batch.last;
            if let Err(error) = at.view.set_cut(at.segment.seed, slot, number, clock_ms) {
                // Cut again elsewhere, the frame overlaps what was sent; the drainer copes with that.
                tracing::warn!(spool = %self.spool.id, %error, "could not mark where a frame ends");
            }
        }
        self.lost = 0;
        Read::Frame { start: header.first_seq - header.lost_before, end: self.seq, clicks: clicks.len() }
    }

    fn header(&self, clock_ms: i64, last: bool) -> FrameHeader {
        FrameHeader {
            spool: self.spool.id,
            edge: self.spool.edge,
            first_seq: self.seq,
            clock_ms,
            lost_before: self.lost,
            last,
        }
    }

    /// After the last readable record of a segment: what it accounts for beyond, and the next segment.
    fn leave_segment(&mut self, closed: bool) -> Option<Read> {
        let at = self.at.as_ref()?;
        let (index, slot, slots) = (at.segment.index, at.place.slot, at.view.slots());
        let full = at.segment.lost_after();
        let next = self.spool.segment_from(index + 1);
        let end = next.as_ref().and_then(|next| next.first_seq()).or_else(|| at.segment.end_seq());
        let missing = end.unwrap_or(self.seq).saturating_sub(self.seq);
        // What was lost for want of room was counted when it happened.
        let damaged = missing.saturating_sub(full);
        if self.seq >= self.damage_counted_to && damaged > 0 {
            self.pass_over(damaged, slot..slots);
        }
        self.lose_to(end.unwrap_or(self.seq));
        if next.is_some() {
            self.at = None;
            self.index = index + 1;
            return None;
        }
        Some(if closed { Read::End } else { Read::Idle })
    }

    fn lose_to(&mut self, end: u64) {
        self.lost += end.saturating_sub(self.seq);
        self.seq = self.seq.max(end);
    }

    /// Counts unreadable records, once however often they are passed.
    fn pass_over(&mut self, lost: u64, slots: Range<usize>) {
        let from = self.seq;
        self.lose_to(from + lost);
        if lost == 0 || from < self.damage_counted_to {
            return;
        }
        self.damage_counted_to = self.seq;
        lock(&self.spool.progress).damaged += lost;
        if let Some(at) = &self.at {
            tracing::error!(
                spool = %self.spool.id, segment = at.segment.index, slot = slots.start, first_seq = from, lost,
                "damaged click records passed over and declared lost"
            );
            let end = slots.end.min(slots.start + quarantine::BYTES_MAX / format::SLOT_LEN);
            let bytes = at.view.bytes(slots.start..end.min(at.view.slots()));
            if let (Some(folder), false) = (at.segment.path.parent(), bytes.is_empty()) {
                quarantine::keep(folder, self.spool.id, from, &bytes);
            }
        }
    }
}

/// Goes to record `target`, or to the end of what is readable before it, and returns the number reached.
fn skip_records(at: &mut At, target: u64, buf: &mut RecordBuf) -> u64 {
    let mut place = Place::default();
    let (seed, growing) = (at.segment.seed, at.segment.sealed().is_none());
    while let Step::Record { at: found, .. } = step(&at.view, seed, &mut place, buf, growing) {
        if u64::from(found.number) >= target {
            break;
        }
        at.place = place;
    }
    u64::from(at.place.number)
}
