//! What was sent and is not committed yet: a bounded window per spool, and when to send it again.
//!
//! Pure: time and watermarks come in, decisions go out.

use shared::keys::Watermark;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Frames sent ahead of the watermark at most. More would only fill Redis while Postgres is away.
pub(super) const FRAMES_MAX: usize = 64;
/// How long the watermark may stand still before the stream is asked about. Longer than a drainer's turn.
const STALL_MIN: Duration = Duration::from_secs(1);
/// A standing watermark is looked into this rarely in the end.
const STALL_MAX: Duration = Duration::from_secs(30);
/// How long a watermark of an earlier epoch is taken for left-over before it is believed: a dump
/// restored into a new database starts its epochs again.
const OLD_EPOCH_FOR: Duration = Duration::from_mins(1);

/// A frame on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Sent {
    pub(super) start: u64,
    pub(super) end: u64,
    /// Its entry in the stream.
    pub(super) entry: String,
}

/// Frames of one spool between Redis and Postgres.
#[derive(Debug)]
pub(super) struct Window {
    frames: VecDeque<Sent>,
    watermark: Option<Watermark>,
    /// Since when an older epoch has been read.
    old_epoch_since: Option<Instant>,
    moved_at: Instant,
    stall: Duration,
}

/// What a new watermark means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// Nothing new.
    Same,
    /// Postgres has more.
    Forward,
    /// Postgres has less than it had: send again from there.
    Back,
}

impl Window {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            frames: VecDeque::new(),
            watermark: None,
            old_epoch_since: None,
            moved_at: now,
            stall: STALL_MIN,
        }
    }

    /// What Postgres has, as believed.
    pub(super) fn watermark(&self) -> Option<Watermark> {
        self.watermark
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Frames that may still be sent.
    pub(super) fn room(&self) -> usize {
        FRAMES_MAX.saturating_sub(self.frames.len())
    }

    /// A frame was taken by Redis.
    pub(super) fn sent(&mut self, frame: Sent, now: Instant) {
        if self.frames.is_empty() {
            self.moved_at = now;
        }
        self.frames.push_back(frame);
    }

    /// A watermark was read.
    pub(super) fn heard(&mut self, read: Watermark, now: Instant) -> Heard {
        let before = self.watermark;
        let older = before.is_some_and(|known| read.epoch < known.epoch);
        if older {
            let since = *self.old_epoch_since.get_or_insert(now);
            if now.duration_since(since) < OLD_EPOCH_FOR {
                return Heard::Same;
            }
        }
        self.old_epoch_since = None;
        self.watermark = Some(read);
        match before.map_or(0, |known| known.next_seq).cmp(&read.next_seq) {
            std::cmp::Ordering::Less => {
                while self.frames.front().is_some_and(|frame| frame.end <= read.next_seq) {
                    self.frames.pop_front();
                }
                self.moved_at = now;
                self.stall = STALL_MIN;
                Heard::Forward
            }
            std::cmp::Ordering::Equal => Heard::Same,
            std::cmp::Ordering::Greater => Heard::Back,
        }
    }

    /// The oldest frame, if the watermark has stood still before it for so long that the stream should be
    /// asked whether it still has it.
    pub(super) fn stalled(&mut self, now: Instant) -> Option<&Sent> {
        let oldest = self.frames.front()?;
        if now.duration_since(self.moved_at) < self.stall {
            return None;
        }
        self.moved_at = now;
        self.stall = (self.stall * 2).min(STALL_MAX);
        Some(oldest)
    }

    /// Everything on its way is given up, to be sent again.
    pub(super) fn clear(&mut self, now: Instant) {
        self.frames.clear();
        self.moved_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(start: u64, end: u64) -> Sent {
        Sent { start, end, entry: format!("{start}-0") }
    }

    fn mark(epoch: u64, next_seq: u64) -> Watermark {
        Watermark { epoch, next_seq }
    }

    #[test]
    fn the_window_is_bounded_and_empties_with_the_watermark() {
        let now = Instant::now();
        let mut window = Window::new(now);
        for n in 0..FRAMES_MAX as u64 {
            assert_eq!(window.room(), FRAMES_MAX - n as usize);
            window.sent(sent(n * 10, n * 10 + 10), now);
        }
        assert_eq!(window.room(), 0);
        assert_eq!(window.heard(mark(1, 25), now), Heard::Forward);
        assert_eq!(window.room(), 2, "a frame that is half committed is still on its way");
        assert_eq!(window.heard(mark(1, 640), now), Heard::Forward);
        assert!(window.is_empty());
    }

    #[test]
    fn a_restored_database_takes_the_watermark_back() {
        let now = Instant::now();
        let mut window = Window::new(now);
        assert_eq!(window.heard(mark(1, 100), now), Heard::Forward);
        assert_eq!(window.heard(mark(2, 100), now), Heard::Same);
        assert_eq!(window.heard(mark(3, 40), now), Heard::Back);
        assert_eq!(window.watermark(), Some(mark(3, 40)));
        assert_eq!(window.heard(mark(3, 30), now), Heard::Back, "a dump restored in place keeps its epoch");
        assert_eq!(window.heard(mark(3, 90), now), Heard::Forward);
    }

    #[test]
    fn a_left_over_of_an_earlier_epoch_is_believed_only_when_it_stays() {
        let now = Instant::now();
        let mut window = Window::new(now);
        window.heard(mark(5, 100), now);
        assert_eq!(window.heard(mark(1, 900), now), Heard::Same);
        assert_eq!(window.heard(mark(5, 110), now + OLD_EPOCH_FOR / 2), Heard::Forward);
        let later = now + OLD_EPOCH_FOR;
        assert_eq!(window.heard(mark(1, 50), later), Heard::Same, "the time starts with each left-over");
        assert_eq!(window.heard(mark(1, 60), later + OLD_EPOCH_FOR), Heard::Back);
        assert_eq!(window.watermark(), Some(mark(1, 60)));
    }

    #[test]
    fn a_standing_watermark_is_looked_into_ever_more_rarely() {
        let mut now = Instant::now();
        let mut window = Window::new(now);
        assert_eq!(window.stalled(now + STALL_MAX), None, "nothing is on its way");
        window.sent(sent(0, 10), now);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let from = now;
            while window.stalled(now).is_none() {
                now += Duration::from_millis(100);
            }
            waits.push(now.duration_since(from).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        window.heard(mark(1, 5), now);
        assert!(window.stalled(now + STALL_MIN).is_some(), "progress starts it again");
    }
}
