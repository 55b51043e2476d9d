//! What a batch changes, decided from the frames and the spools' watermarks alone. Pure.
//!
//! Per spool: skip what the watermark has passed, take what comes next, drop what leaves a gap (the edge
//! sends it again). Whatever the order and however often frames come, each sequence is taken once; the
//! caller must hold the spools' row locks from reading the state to committing the plan.

use shared::click::Click;
use shared::frame::{Fit, Frame, FrameHeader};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A spool, as its row says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SpoolState {
    /// Every sequence below is committed.
    pub watermark: u64,
    /// Sequences stored as clicks.
    pub stored: u64,
    /// Sequences parked.
    pub parked: u64,
    /// Sequences declared lost.
    pub declared_loss: u64,
    /// The edge's clock in its newest frame.
    pub clock_ms: i64,
    /// Nothing will follow.
    pub finished: bool,
    /// First sequence and checksum of the newest frame taken.
    pub last_frame: Option<(u64, u64)>,
}

/// One piece of work, in the order of its stream.
#[derive(Debug)]
pub enum Item<'a> {
    /// A sound frame.
    Frame(Frame<'a>),
    /// A frame that cannot be stored.
    Park {
        /// Why, in a word.
        reason: &'static str,
        /// What its fixed places say: header and number of clicks.
        header: Option<(FrameHeader, u32)>,
        /// Whether the header can be believed: then, when it is the next one, the watermark moves past it.
        /// Otherwise only its bytes are kept.
        moves: bool,
    },
}

/// Clicks to store.
#[derive(Debug, PartialEq)]
pub struct Taken<'a> {
    /// The spool.
    pub spool: Uuid,
    /// Sequence of the first click.
    pub first_seq: u64,
    /// The clicks.
    pub clicks: &'a [Click<'a>],
}

/// What is parked of an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parked {
    /// Which item.
    pub item: usize,
    /// Why.
    pub reason: &'static str,
    /// Spool, first sequence and clicks, as far as the bytes say so.
    pub named: Option<(Uuid, u64, u32)>,
    /// First sequence and number of those the spool counts as parked.
    pub counted: Option<(u64, u64)>,
}

/// Everything one transaction writes.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// Clicks, in order.
    pub taken: Vec<Taken<'a>>,
    /// Frames to park.
    pub parked: Vec<Parked>,
    /// Frames dropped because something before them is missing.
    pub gaps: usize,
    /// Frames that were committed before.
    pub known: usize,
    /// Same name, other content: parked, and somebody must look.
    pub conflicts: usize,
    /// Sequences newly declared lost.
    pub lost: u64,
}

impl Plan<'_> {
    /// Clicks to store.
    pub fn clicks(&self) -> usize {
        self.taken.iter().map(|taken| taken.clicks.len()).sum()
    }
}

/// Decides what to write, and moves `spools` to what they are afterwards. Every spool named by an item is
/// in `spools`; the rows of new ones are made before.
pub fn plan<'a>(items: &'a [Item<'a>], spools: &mut BTreeMap<Uuid, SpoolState>) -> Plan<'a> {
    let mut plan = Plan::default();
    for (at, item) in items.iter().enumerate() {
        match item {
            Item::Frame(frame) => take(at, frame, spools, &mut plan),
            Item::Park { reason, header, moves: false } => plan.parked.push(Parked {
                item: at,
                reason,
                named: header.map(|(header, clicks)| (header.spool, header.first_seq, clicks)),
                counted: None,
            }),
            Item::Park { reason, header, moves: true } => {
                if let Some((header, clicks)) = header {
                    pass(at, reason, header, *clicks, spools, &mut plan);
                }
            }
        }
    }
    plan
}

fn take<'a>(at: usize, frame: &'a Frame<'a>, spools: &mut BTreeMap<Uuid, SpoolState>, plan: &mut Plan<'a>) {
    let header = &frame.header;
    let Some(spool) = spools.get_mut(&header.spool) else { return };
    spool.clock_ms = spool.clock_ms.max(header.clock_ms);
    let name = (header.first_seq, frame.checksum);
    let conflict =
        !frame.clicks.is_empty() && spool.last_frame.is_some_and(|last| last.0 == name.0 && last.1 != name.1);
    if conflict {
        plan.conflicts += 1;
        let clicks = frame.clicks.len() as u32;
        let named = Some((header.spool, header.first_seq, clicks));
        plan.parked.push(Parked { item: at, reason: "conflict", named, counted: None });
        return;
    }
    match header.fit(frame.clicks.len(), spool.watermark) {
        Fit::Known => {
            plan.known += 1;
            spool.finished |= header.last && header.first_seq >= spool.watermark;
        }
        Fit::Gap => plan.gaps += 1,
        Fit::New { lost, skip, next_seq } => {
            let clicks = frame.clicks.get(skip..).unwrap_or_default();
            spool.watermark = next_seq;
            spool.stored += clicks.len() as u64;
            spool.declared_loss += lost;
            spool.finished |= header.last;
            plan.lost += lost;
            if !clicks.is_empty() {
                spool.last_frame = Some(name);
                let first_seq = header.first_seq + skip as u64;
                plan.taken.push(Taken { spool: header.spool, first_seq, clicks });
            }
        }
    }
}

/// Moves the watermark past a frame that cannot be stored, when it is the next one.
fn pass(
    at: usize,
    reason: &'static str,
    header: &FrameHeader,
    clicks: u32,
    spools: &mut BTreeMap<Uuid, SpoolState>,
    plan: &mut Plan<'_>,
) {
    let Some(spool) = spools.get_mut(&header.spool) else { return };
    match header.fit(clicks as usize, spool.watermark) {
        // The edge sends it again when it is its turn; or it was parked already.
        Fit::Gap => plan.gaps += 1,
        Fit::Known => plan.known += 1,
        Fit::New { lost, skip, next_seq } => {
            let count = u64::from(clicks).saturating_sub(skip as u64);
            spool.watermark = next_seq;
            spool.parked += count;
            spool.declared_loss += lost;
            plan.lost += lost;
            let counted = (count > 0).then(|| (header.first_seq + skip as u64, count));
            let named = Some((header.spool, header.first_seq, clicks));
            plan.parked.push(Parked { item: at, reason, named, counted });
        }
    }
}

#[cfg(test)]
mod tests;
