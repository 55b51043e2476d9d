//! One spool's way into its stream.
//!
//! A turn sends what is due, in order, at most a window ahead of Postgres. Everything that can go wrong
//! leads back to one of two things: try the same frames again later, or read again from the watermark.

use super::Shared;
use super::redis::{Conn, Remedy, pause, remedy};
use super::window::{Heard, Sent, Window};
use crate::clicks::spool::reader::{Read, Reader};
use crate::clicks::spool::state::Spool;
use redis::RedisError;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// How often a spool looks for clicks: the longest a click waits to be cut into a frame.
pub(super) const TICK: Duration = Duration::from_millis(20);
/// How often a spool that is done looks whether a restored database wants it again.
const TICK_DONE: Duration = Duration::from_secs(1);
/// An idle edge shows its clock this often, so that a month can be closed.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Lost clicks that no click follows are declared this often while they grow.
const LOSS_EVERY: Duration = Duration::from_secs(1);
/// Frames in one pipeline at most.
const BURST_MAX: usize = 64;
/// Bytes in one pipeline, about: what a slow line carries before the response times out.
const BURST_BYTES: usize = 1 << 20;
/// Pauses after failed turns.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(4);

/// A frame waiting to be taken by Redis.
struct Encoded {
    start: u64,
    end: u64,
    clicks: u64,
    bytes: Vec<u8>,
}

/// Why a turn ended early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("redis: {0}")]
    Redis(#[from] RedisError),
    #[error("the disk: {0}")]
    Disk(#[from] io::Error),
}

/// Ships one spool.
pub(super) struct Sender {
    shared: Arc<Shared>,
    spool: Arc<Spool>,
    reader: Reader,
    stream: String,
    window: Window,
    outbox: VecDeque<Encoded>,
    /// Frames in the next pipeline: halved by a time-out, so that a slow line gets through.
    burst: usize,
    failures: u32,
    retry_at: Instant,
    sent_at: Instant,
    behind_since: Option<Instant>,
    /// Recovered spools wait for their turn, so that a folder of many does not fill memory and Redis.
    permit: Option<OwnedSemaphorePermit>,
    /// The last frame was sent, since the reader last went back.
    told_end: bool,
    /// First kept sequence when something that is not kept was last asked for.
    not_kept_told: Option<u64>,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>, spool: Arc<Spool>) -> Self {
        let now = Instant::now();
        Self {
            reader: shared.set.reader(&spool),
            stream: shared.keys.clicks(shared.shard(&spool)),
            shared,
            spool,
            window: Window::new(now),
            outbox: VecDeque::new(),
            burst: BURST_MAX,
            failures: 0,
            retry_at: now,
            sent_at: now,
            behind_since: None,
            permit: None,
            told_end: false,
            not_kept_told: None,
        }
    }

    /// Ships until nothing of the spool is left.
    pub(super) async fn run(mut self) {
        while !self.spool.is_gone() {
            self.turn().await;
            let rest = if self.spool.progress().ended { TICK_DONE } else { TICK };
            tokio::time::sleep(rest).await;
        }
    }

    /// Does what is due.
    async fn turn(&mut self) {
        let now = Instant::now();
        let heard_any = self.hear(now);
        if now < self.retry_at || !(self.spool.live || heard_any) {
            return;
        }
        match self.ship(now).await {
            Ok(()) => self.failures = 0,
            Err(failure) => self.retry_later(&failure, now),
        }
        self.tell(now);
    }

    /// Takes in what the watermark poll last read; returns whether it ever read.
    fn hear(&mut self, now: Instant) -> bool {
        let progress = self.spool.progress();
        let Some(read) = progress.heard else { return progress.polled };
        match self.window.heard(read, now) {
            Heard::Same => {}
            Heard::Back => {
                tracing::warn!(spool = %self.spool.id, next_seq = read.next_seq, epoch = read.epoch,
                    "the database went back: sending again from its watermark");
                self.shared.metrics().stalls.increment(1);
                self.read_again(read.next_seq, now);
            }
            Heard::Forward => {
                self.outbox.retain(|frame| frame.end > read.next_seq);
                let next = self.outbox.front().map_or_else(|| self.reader.position(), |frame| frame.start);
                if next < read.next_seq {
                    self.read_again(read.next_seq, now);
                }
            }
        }
        let believed = self.window.watermark();
        self.spool.update(|progress| progress.watermark = believed);
        true
    }

    /// Goes back, or ahead, to a sequence.
    fn read_again(&mut self, seq: u64, now: Instant) {
        self.outbox.clear();
        self.window.clear(now);
        self.told_end = false;
        self.spool.update(|progress| progress.ended = false);
        let not_kept = self.reader.seek(Some(seq));
        let first_kept = self.reader.position() + not_kept;
        if not_kept > 0 && self.not_kept_told != Some(first_kept) {
            self.not_kept_told = Some(first_kept);
            self.shared.metrics().not_kept.increment(not_kept);
            tracing::error!(spool = %self.spool.id, asked_for = seq, first_kept, lost = not_kept,
                "the database asks for clicks that are no longer kept: declaring them lost");
        }
    }

    async fn ship(&mut self, now: Instant) -> Result<(), Failure> {
        if self.spool.progress().ended || !self.may_go() {
            return Ok(());
        }
        self.look_into_stall(now).await?;
        loop {
            let more = self.fill(now).await?;
            if self.outbox.is_empty() {
                break;
            }
            self.send(now).await?;
            if !more {
                break;
            }
        }
        if self.window.is_empty() && self.told_end {
            self.permit = None;
            let committed =
                self.window.watermark().is_some_and(|mark| mark.next_seq >= self.spool.accepted());
            if committed {
                // Said again after the commit: the first time may have been lost with a Redis.
                self.told_end = false;
                self.fill(now).await?;
                self.send(now).await?;
                self.reader.rest();
                self.spool.update(|progress| progress.ended = true);
            }
        }
        Ok(())
    }

    /// Live spools always; recovered ones a few at a time.
    fn may_go(&mut self) -> bool {
        if self.spool.live || self.permit.is_some() || (self.told_end && self.window.is_empty()) {
            return true;
        }
        self.permit = Arc::clone(&self.shared.recovered_slots).try_acquire_owned().ok();
        self.permit.is_some()
    }

    /// When the watermark stands still: if the stream has lost the oldest frame, it will stand for ever.
    async fn look_into_stall(&mut self, now: Instant) -> Result<(), Failure> {
        let Some(oldest) = self.window.stalled(now).cloned() else { return Ok(()) };
        let mut conn = self.shared.redis.conn().await?;
        let mut range = redis::cmd("XRANGE");
        range.arg(&self.stream).arg(&oldest.entry).arg(&oldest.entry);
        let found = self.ask::<Vec<redis::Value>>(&mut conn, &range).await?;
        // Its turn will come: sending it again would only fill Redis.
        if found.is_empty() {
            self.shared.metrics().stalls.increment(1);
            let from = self.window.watermark().map_or(oldest.start, |mark| mark.next_seq);
            tracing::warn!(spool = %self.spool.id, from, "frames left the stream uncommitted: sending again");
            self.read_again(from, now);
        } else if !self.spool.live {
            // Waiting for Postgres, not for Redis: let others through meanwhile.
            self.permit = None;
        }
        Ok(())
    }

    async fn ask<T: redis::FromRedisValue>(
        &self,
        conn: &mut Conn,
        cmd: &redis::Cmd,
    ) -> Result<T, RedisError> {
        let answer = cmd.query_async(conn).await;
        if let Err(error) = &answer {
            self.shared.redis.failed(conn, error).await;
        }
        answer
    }

    /// Cuts frames until the burst is full; returns whether there may be more.
    async fn fill(&mut self, now: Instant) -> Result<bool, Failure> {
        let mut bytes = 0;
        while self.outbox.len() < self.burst.min(self.window.room()) {
            if bytes > BURST_BYTES {
                return Ok(true);
            }
            let mut frame = Vec::new();
            let clock_ms = self.shared.clock.now_ms();
            let mut read = self.reader.next(clock_ms, &mut frame);
            match read {
                Read::NeedsDisk(segment) => {
                    let loaded = tokio::task::spawn_blocking(move || segment.load()).await;
                    self.reader.supply(loaded.map_err(io::Error::other)??);
                    continue;
                }
                Read::Idle if !self.tail_is_due(now) => return Ok(false),
                // One that never had a click is not known to anybody.
                Read::End if self.told_end || self.spool.accepted() == 0 => return Ok(false),
                Read::Idle => read = self.reader.tail(clock_ms, false, &mut frame),
                Read::End => {
                    read = self.reader.tail(clock_ms, true, &mut frame);
                    self.told_end = true;
                }
                Read::Frame { .. } => {}
            }
            if let Read::Frame { start, end, clicks } = read {
                bytes += frame.len();
                self.outbox.push_back(Encoded { start, end, clicks: clicks as u64, bytes: frame });
            }
        }
        Ok(self.window.room() > self.outbox.len())
    }

    /// Whether an idle spool has something to say: a loss, or the time.
    fn tail_is_due(&self, now: Instant) -> bool {
        let quiet = now.duration_since(self.sent_at);
        if self.reader.has_undeclared_loss() {
            return quiet >= LOSS_EVERY;
        }
        // A spool without clicks is not known to anybody yet, and one that waits has said enough.
        quiet >= HEARTBEAT && self.spool.accepted() > 0 && self.window.is_empty() && self.outbox.is_empty()
    }

    /// Sends what is in the outbox, in one pipeline. What Redis does not acknowledge stays there.
    async fn send(&mut self, now: Instant) -> Result<(), Failure> {
        if self.outbox.is_empty() {
            return Ok(());
        }
        let mut conn = self.shared.redis.conn().await?;
        let mut pipe = redis::pipe();
        let count = self.outbox.len().min(self.burst);
        for frame in self.outbox.iter().take(count) {
            pipe.cmd("XADD").arg(&self.stream).arg("*").arg("f").arg(&frame.bytes[..]);
        }
        let entries: Vec<String> = match pipe.query_async(&mut conn).await {
            Ok(entries) => entries,
            Err(error) => {
                if error.is_timeout() {
                    self.burst = (self.burst / 2).max(1);
                }
                self.shared.redis.failed(&conn, &error).await;
                return Err(error.into());
            }
        };
        self.burst = (self.burst * 2).min(BURST_MAX);
        self.sent_at = now;
        for (frame, entry) in self.outbox.drain(..count).zip(entries) {
            let again = frame.end <= self.spool.progress().shipped_seq;
            let metrics = self.shared.metrics();
            if again { &metrics.reshipped } else { &metrics.shipped }.increment(frame.clicks);
            self.spool.update(|progress| progress.shipped_seq = progress.shipped_seq.max(frame.end));
            if frame.start < frame.end {
                self.window.sent(Sent { start: frame.start, end: frame.end, entry }, now);
            }
        }
        Ok(())
    }

    fn retry_later(&mut self, failure: &Failure, now: Instant) {
        self.shared.metrics().ship_errors.increment(1);
        // Reconnecting has pauses of its own; a server that refuses is left alone for longer.
        let max = match failure {
            Failure::Redis(error) if remedy(error) == Remedy::Reconnect => RETRY_MIN * 5,
            _ => RETRY_MAX,
        };
        self.retry_at = now + pause(self.failures, RETRY_MIN, max);
        if self.failures == 0 {
            tracing::warn!(spool = %self.spool.id, error = %failure, "shipping failed, the spool holds the clicks");
        }
        self.failures = self.failures.saturating_add(1);
    }

    /// Notes how far shipping is behind.
    fn tell(&mut self, now: Instant) {
        let next = self.outbox.front().map_or_else(|| self.reader.position(), |frame| frame.start);
        let behind = next < self.spool.accepted();
        self.behind_since = if behind { self.behind_since.or(Some(now)) } else { None };
        let (behind_since, next) = (self.behind_since, next);
        self.spool.update(|progress| {
            progress.next_to_ship = next;
            progress.behind_since = behind_since.map(Instant::into_std);
        });
    }
}
