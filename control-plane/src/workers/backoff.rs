//! Pauses between tries: they double up to a limit and are jittered, so that many processes that lost the
//! same server do not come back in step.

use std::time::Duration;

/// A growing pause.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Starts with `first`, ends at `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// The pause to make now: between half of the current one and all of it.
    pub fn pause(&mut self) -> Duration {
        let pause = jittered(self.next / 2, self.next);
        self.next = (self.next * 2).min(self.longest);
        pause
    }

    /// Something worked: the next pause is the shortest again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A random duration between two.
pub fn jittered(least: Duration, most: Duration) -> Duration {
    let span = most.saturating_sub(least).as_micros() as u64;
    // Without randomness the pause is the longest, which is safe.
    let random = getrandom::u64().unwrap_or(u64::MAX);
    least + Duration::from_micros(random % (span + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_limit_and_start_again() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(10), ms(35));
        for longest in [10, 20, 35, 35] {
            let pause = backoff.pause();
            assert!(pause >= ms(longest) / 2 && pause <= ms(longest), "{pause:?} of {longest} ms");
        }
        backoff.reset();
        assert!(backoff.pause() <= ms(10));
    }
}
