//! When a delivery is tried again, and when no more. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;

/// Pauses between tries: at first short, for a restart; then over a day in all, for an outage.
pub const PAUSES: [TimeDelta; 7] = [
    TimeDelta::seconds(5),
    TimeDelta::minutes(1),
    TimeDelta::minutes(10),
    TimeDelta::hours(1),
    TimeDelta::hours(3),
    TimeDelta::hours(8),
    TimeDelta::hours(12),
];
/// Tries of one round.
pub const TRIES_MAX: i32 = PAUSES.len() as i32 + 1;
/// Pauses are longer or shorter by up to a fifth, so that what failed together does not come back together.
const JITTER_PERCENT: i64 = 20;
/// `Retry-After` makes a pause longer, up to so many times.
const RETRY_AFTER_MAX: i32 = 2;

/// "Do not come back."
const GONE: u16 = 410;

/// What a finished try means for its delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It has arrived.
    Delivered,
    /// Again at this time.
    Again(DateTime<Utc>),
    /// Never again: it was the last try.
    GiveUp,
    /// Never again, and nothing else to this endpoint either: it answered 410.
    Gone,
}

/// A finished try.
#[derive(Clone, Debug)]
pub struct Tried<'a> {
    /// The answer's status, if there was one.
    pub status: Option<StatusCode>,
    /// The answer's `Retry-After`.
    pub retry_after: Option<&'a str>,
    /// Which try of its round it was, from 1.
    pub round: i32,
}

/// Decides. `dice` is a random number.
pub fn next(tried: &Tried<'_>, now: DateTime<Utc>, dice: u32) -> Next {
    if tried.status.is_some_and(|status| status.is_success()) {
        return Next::Delivered;
    }
    if tried.status.is_some_and(|status| status.as_u16() == GONE) {
        return Next::Gone;
    }
    let pause = usize::try_from(tried.round - 1).ok().and_then(|past| PAUSES.get(past));
    let Some(pause) = pause else { return Next::GiveUp };
    let wished = tried.retry_after.and_then(|text| wish(text, now)).unwrap_or_default();
    let pause = (*pause).max(wished.min(*pause * RETRY_AFTER_MAX));
    let percent = 100 - JITTER_PERCENT + i64::from(dice) % (2 * JITTER_PERCENT + 1);
    // A wished pause is not cut short.
    let jittered = TimeDelta::milliseconds(pause.num_milliseconds() * percent / 100);
    Next::Again(now + if wished > jittered { pause } else { jittered })
}

/// What `Retry-After` asks for: seconds, or a date.
fn wish(text: &str, now: DateTime<Utc>) -> Option<TimeDelta> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(i64::try_from(seconds).ok().and_then(TimeDelta::try_seconds).unwrap_or(TimeDelta::MAX));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some((date.with_timezone(&Utc) - now).max(TimeDelta::zero()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn answered(status: u16, retry_after: Option<&str>, round: i32) -> Tried<'_> {
        let status = StatusCode::from_u16(status).ok();
        Tried { status, retry_after, round }
    }

    #[test]
    fn f80_the_schedule_is_eight_tries_over_a_day_give_or_take_a_fifth() {
        let mut total = TimeDelta::zero();
        for round in 1..TRIES_MAX {
            let pause = PAUSES[usize::try_from(round - 1).unwrap()];
            for dice in [0, 1, 20, 40, 41, u32::MAX] {
                let Next::Again(at) = next(&answered(500, None, round), NOW, dice) else { panic!("{round}") };
                let pauses = pause.num_milliseconds();
                let took = (at - NOW).num_milliseconds();
                assert!((pauses * 8 / 10..=pauses * 12 / 10).contains(&took), "{round} {dice}: {took}");
            }
            total += pause;
        }
        assert!((23..=25).contains(&total.num_hours()), "{total}");
        assert_eq!(next(&answered(500, None, TRIES_MAX), NOW, 0), Next::GiveUp);
        let silent = Tried { status: None, retry_after: None, round: 1 };
        assert!(matches!(next(&silent, NOW, 0), Next::Again(_)));
    }

    #[test]
    fn only_2xx_is_success_and_410_is_the_end() {
        for status in [200, 201, 204, 299] {
            assert_eq!(next(&answered(status, None, 1), NOW, 0), Next::Delivered);
        }
        for status in [100, 301, 302, 307, 400, 401, 404, 429, 500, 503] {
            assert!(matches!(next(&answered(status, None, 1), NOW, 0), Next::Again(_)), "{status}");
        }
        assert_eq!(next(&answered(410, None, 1), NOW, 0), Next::Gone);
    }

    #[test]
    fn f80_retry_after_is_honoured_up_to_twice_the_pause() {
        let pause = |wish, round| match next(&answered(429, Some(wish), round), NOW, 20) {
            Next::Again(at) => (at - NOW).num_seconds(),
            other => panic!("{other:?}"),
        };
        assert_eq!(pause("999999", 1), 10);
        assert_eq!(pause("99999999999999999999999999", 1), 5, "no number at all");
        assert_eq!(pause("18446744073709551615", 2), 120);
        assert_eq!(pause("90", 2), 90);
        assert_eq!(pause("3", 2), 60, "never sooner than planned");
        assert_eq!(pause(" 7 ", 1), 7);
        assert_eq!(pause("Thu, 01 Jan 1970 00:01:30 GMT", 2), 90);
        assert_eq!(pause("Thu, 01 Jan 1960 00:00:00 GMT", 2), 60);
        for nonsense in ["", "-5", "soon", "1e9", "NaN"] {
            assert_eq!(pause(nonsense, 1), 5, "{nonsense}");
        }
    }
}
