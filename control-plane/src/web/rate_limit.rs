//! Limits on how often a caller may do something, shared by all nodes.
//!
//! Fixed windows aligned to Redis's own clock, one script run per request, so `X-RateLimit-Limit`,
//! `-Remaining` and `-Reset` are exact whichever node answers. Without Redis a limit either counts in this
//! process alone (tracking: at most nodes × limit get through) or refuses with 503 (payouts, sign-up):
//! each limit says which.

use crate::app::App;
use crate::error::{Code, Error, Result};
use http::{HeaderMap, HeaderValue};
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

/// Subjects counted in this process at most, while Redis is away; beyond that everybody is let through.
const LOCAL_SUBJECTS_MAX: usize = 10_000;

/// What a limit does while Redis is away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WithoutRedis {
    /// Counts in this process alone.
    CountLocally,
    /// Refuses with 503.
    Refuse,
}

/// A limit.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Part of the Redis key; unique.
    pub name: &'static str,
    /// Requests in a window.
    pub max: u32,
    /// The window, in seconds.
    pub window_seconds: u32,
    /// Without Redis.
    pub without_redis: WithoutRedis,
}

/// Where a caller stands after this request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Whether this request may go on.
    pub allowed: bool,
    /// Requests in a window.
    pub limit: u32,
    /// Requests left in this window.
    pub remaining: u32,
    /// When the next window starts, in seconds since the Unix epoch.
    pub reset_at: i64,
    /// Seconds until then.
    pub reset_in: u32,
}

/// KEYS: the subject's counter. ARGV: limit, window. Gives allowed, taken, window's end, now.
/// The window's start is kept with the count, so one key serves every window.
const TAKE: &str = r"
local now = tonumber(redis.call('TIME')[1])
local max, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local start = now - now % window
local held = redis.call('HMGET', KEYS[1], 'start', 'taken')
local taken = 0
if tonumber(held[1]) == start then taken = tonumber(held[2]) end
local allowed = 0
if taken < max then
    allowed, taken = 1, taken + 1
    redis.call('HSET', KEYS[1], 'start', start, 'taken', taken)
    redis.call('EXPIRE', KEYS[1], window)
end
return {allowed, taken, start + window, now}
";

static SCRIPT: LazyLock<redis::Script> = LazyLock::new(|| redis::Script::new(TAKE));

/// Counts of subjects by limit and window, while Redis is away.
static LOCAL: LazyLock<Mutex<LocalCounts>> = LazyLock::new(Mutex::default);

/// By limit and subject: the window's start, and requests taken in it.
type LocalCounts = HashMap<(&'static str, String), (i64, u32)>;

/// Counts one request of `subject` (a key id, an account, a hashed address: never the address itself).
pub async fn take(app: &App, limit: &Limit, subject: &str) -> Result<Standing> {
    let key = app.keys().named(&format!("rate:{}:{{{subject}}}", limit.name));
    match ask_redis(app, limit, &key).await {
        Ok(standing) => Ok(standing),
        Err(error) => match limit.without_redis {
            WithoutRedis::Refuse => Err(Error::unavailable(error)),
            WithoutRedis::CountLocally => Ok(count_locally(limit, subject, app.clock().now_ms() / 1000)),
        },
    }
}

async fn ask_redis(app: &App, limit: &Limit, key: &str) -> anyhow::Result<Standing> {
    let mut redis = app.redis().get().await?;
    let (allowed, taken, reset_at, now): (u8, u32, i64, i64) =
        SCRIPT.key(key).arg(limit.max).arg(limit.window_seconds).invoke_async(&mut redis).await?;
    Ok(Standing {
        allowed: allowed == 1,
        limit: limit.max,
        remaining: limit.max.saturating_sub(taken),
        reset_at,
        reset_in: u32::try_from((reset_at - now).max(1)).unwrap_or(limit.window_seconds),
    })
}

fn count_locally(limit: &Limit, subject: &str, now: i64) -> Standing {
    let window = i64::from(limit.window_seconds.max(1));
    let start = now - now.rem_euclid(window);
    let mut counts = LOCAL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if counts.len() >= LOCAL_SUBJECTS_MAX {
        counts.retain(|_, (begun, _)| *begun == start);
    }
    let mut taken = 0;
    let mut allowed = true;
    if counts.len() < LOCAL_SUBJECTS_MAX {
        let count = counts.entry((limit.name, subject.to_owned())).or_insert((start, 0));
        if count.0 != start {
            *count = (start, 0);
        }
        allowed = count.1 < limit.max;
        count.1 += u32::from(allowed);
        taken = count.1;
    }
    Standing {
        allowed,
        limit: limit.max,
        remaining: limit.max.saturating_sub(taken),
        reset_at: start + window,
        reset_in: u32::try_from((start + window - now).max(1)).unwrap_or(limit.window_seconds),
    }
}

impl Standing {
    /// Where somebody stands whose request was not counted.
    pub fn untouched(limit: &Limit, now: i64) -> Self {
        let window = i64::from(limit.window_seconds.max(1));
        let reset_at = now - now.rem_euclid(window) + window;
        Self {
            allowed: true,
            limit: limit.max,
            remaining: limit.max,
            reset_at,
            reset_in: u32::try_from(reset_at - now).unwrap_or(limit.window_seconds),
        }
    }

    /// The three headers, on every reply of a limited route.
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert("x-ratelimit-limit", HeaderValue::from(self.limit));
        headers.insert("x-ratelimit-remaining", HeaderValue::from(self.remaining));
        headers.insert("x-ratelimit-reset", HeaderValue::from(self.reset_at));
    }

    /// The refusal, with `Retry-After`.
    pub fn refusal(&self) -> Error {
        let mut error = Error::new(
            Code::RateLimited,
            format!("More than {} requests in the current window.", self.limit),
            format!("Wait {} seconds (Retry-After) and send the request again.", self.reset_in),
        );
        error.retry_after = Some(self.reset_in);
        error
    }
}
