//! The same visitor on the same link, again, too soon.
//!
//! A fixed table of marks, shared by all threads without a lock: eight marks to a cache line, each 32
//! bits of a hash and the time it was seen. Bounded by construction: when a line is full the oldest mark
//! goes, and a repeat that late counts as a click. Two different clicks are taken for one once in about
//! 500 million.

use shared::LinkKey;
use std::sync::atomic::{AtomicU64, Ordering};

/// Marks in a line.
const WAYS: usize = 8;
/// Lines: 131,072 of 64 bytes, 8 MiB, half a million clicks within their window.
const LINES: usize = 1 << 17;

#[derive(Default)]
#[repr(align(64))]
struct Line([AtomicU64; WAYS]);

/// Recent clicks.
pub(crate) struct Duplicates(Box<[Line]>);

impl Duplicates {
    pub(crate) fn new() -> Self {
        Self((0..LINES).map(|_| Line::default()).collect())
    }

    /// Whether this visitor clicked this link less than `window_ms` ago; if not, this click is
    /// remembered. The window starts at the click that counted: a visitor who never stops clicking
    /// still counts once per window.
    #[inline]
    pub(crate) fn seen(&self, visitor: u64, link: LinkKey, now_ms: i64, window_ms: u32) -> bool {
        // The visitor is a keyed hash already; the link spreads it further.
        let wide = u128::from(visitor ^ link.0.rotate_left(32)) * 0x9e37_79b9_7f4a_7c15;
        let hash = (wide >> 64) as u64 ^ wide as u64;
        let line = &self.0[hash as usize % LINES].0;
        // 0 is an empty mark, so a name is never 0.
        let name = (hash >> 32) as u32 | 1;
        // Wraps every 49 days; a mark that old is a day and a key away from meaning anything.
        let now = now_ms as u32;
        let mark = u64::from(name) << 32 | u64::from(now);
        loop {
            let (mut oldest, mut oldest_age, mut oldest_mark) = (&line[0], 0, 0);
            for entry in line {
                let found = entry.load(Ordering::Relaxed);
                let age = if found == 0 { u32::MAX } else { age(now, found as u32) };
                if (found >> 32) as u32 == name {
                    if age < window_ms {
                        return true;
                    }
                    (oldest, oldest_mark) = (entry, found);
                    break;
                }
                if age >= oldest_age {
                    (oldest, oldest_age, oldest_mark) = (entry, age, found);
                }
            }
            // Losing the race means that another thread changed the line: perhaps with this very click.
            if oldest.compare_exchange(oldest_mark, mark, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return false;
            }
        }
    }
}

/// Milliseconds since a mark. A clock that went back makes it fresh, not ancient.
const fn age(now: u32, then: u32) -> u32 {
    let age = now.wrapping_sub(then);
    if age > u32::MAX / 2 { 0 } else { age }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn a_repeat_counts_again_after_the_window_of_the_click_that_counted() {
        let duplicates = Duplicates::new();
        let seen = |visitor, link, now_ms| duplicates.seen(visitor, LinkKey(link), now_ms, 10_000);
        let start = 1_800_000_000_000;
        assert!(!seen(1, 1, start));
        assert!(!seen(2, 1, start));
        assert!(!seen(1, 2, start));
        assert!(seen(1, 1, start + 9_999));
        assert!(!seen(1, 1, start + 10_000));
        assert!(seen(1, 1, start + 19_999));
        assert!(!seen(1, 1, start + 20_000));
        assert!(seen(1, 1, start + 19_000), "a clock that goes back forgets nothing");
    }

    #[test]
    fn half_a_million_clicks_in_the_window_are_told_apart() {
        let duplicates = Duplicates::new();
        let wrong =
            (1..=500_000).filter(|visitor| duplicates.seen(*visitor, LinkKey(7), 5_000, 10_000)).count();
        assert_eq!(wrong, 0);
        let forgotten =
            (1..=500_000).filter(|visitor| !duplicates.seen(*visitor, LinkKey(7), 6_000, 10_000)).count();
        assert!(forgotten < 25_000, "{forgotten} of 500,000 forgotten");
    }

    #[test]
    fn of_clicks_at_the_same_moment_one_counts() {
        let duplicates = Duplicates::new();
        for visitor in 1..2_000 {
            let counted = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        if !duplicates.seen(visitor, LinkKey(1), 1_000, 10_000) {
                            counted.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
            });
            assert_eq!(counted.into_inner(), 1);
        }
    }
}
