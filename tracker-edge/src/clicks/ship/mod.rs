//! Shipping: from the spool to the Redis streams, and back the word that Postgres has it.
//!
//! Guarantees
//! - A spool's frames are added to its stream in order, and again from the watermark whenever they are not
//!   committed: at least once. The drainer makes that exactly once.
//! - Redis is never trusted with the only copy. Nothing is freed here; upkeep frees what the watermark
//!   has passed.
//! - A watermark that goes back, with a restored database, or stands still while the stream no longer holds
//!   the oldest frame, leads to sending again from it. While the stream still holds it, nothing is sent
//!   again, so that a long outage of Postgres does not fill Redis.
//!
//! Limits: 64 frames of 512 clicks on their way per spool, 16 recovered spools at a time, pipelines of about
//! a megabyte, a second per command. At the limit the spool holds.
//!
//! What an operator sees when it is stuck: `edge_ship_unshipped_age_seconds` grows (Redis does not take
//! clicks), or `edge_ship_uncommitted` does (Postgres, or the drainer, does not).

pub(crate) mod eviction;
pub mod redis;
mod reports;
mod sender;
#[cfg(test)]
mod simulation;
mod watermarks;
mod window;

pub use self::redis::Redis;
pub use eviction::{EvictionError, check_eviction};

use super::spool::SpoolSet;
use super::spool::metrics::Metrics;
use super::spool::state::Spool;
use sender::Sender;
use shared::Clock;
use shared::keys::{Keys, shard_of};
use shared::shutdown::Shutdown;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Recovered spools shipped at the same time.
const RECOVERED_AT_ONCE: usize = 16;
/// How often new spools are looked for and the figures are told.
const SUPERVISE: Duration = Duration::from_millis(100);

/// What shipping needs.
pub struct Shipping {
    /// The spools.
    pub set: Arc<SpoolSet>,
    /// Where to.
    pub redis: Redis,
    /// The names there.
    pub keys: Keys,
    /// Streams of the deployment.
    pub shards: u16,
    /// The wall clock frames are cut with.
    pub clock: Arc<dyn Clock>,
}

/// What was left when shipping ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flushed {
    /// Clicks that are only on this disk.
    pub unshipped: u64,
    /// Clicks Postgres has not confirmed, the former included.
    pub uncommitted: u64,
}

pub(crate) struct Shared {
    set: Arc<SpoolSet>,
    redis: Redis,
    keys: Keys,
    shards: u16,
    clock: Arc<dyn Clock>,
    recovered_slots: Arc<Semaphore>,
    /// Names this process in its claim on the edge's id.
    process: String,
}

impl Shared {
    fn shard(&self, spool: &Spool) -> u16 {
        shard_of(spool.id, self.shards)
    }

    fn metrics(&self) -> &Metrics {
        self.set.metrics()
    }
}

impl Shipping {
    /// Ships until told to stop, and then on until Postgres has every spool whose writer is gone, or until
    /// `flush_for` is over.
    pub async fn run(self, stop: Shutdown, flush_for: Duration) -> Flushed {
        let shared = Arc::new(Shared {
            set: self.set,
            redis: self.redis,
            keys: self.keys,
            shards: self.shards,
            clock: self.clock,
            recovered_slots: Arc::new(Semaphore::new(RECOVERED_AT_ONCE)),
            process: format!("{:016x}", getrandom::u64().unwrap_or(0)),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(watermarks::poll(Arc::clone(&shared)));
        tasks.spawn(reports::keep_telling(Arc::clone(&shared)));
        let mut known = HashSet::new();
        let mut flush_until = None;
        loop {
            for spool in shared.set.spools() {
                if known.insert(spool.id) {
                    tasks.spawn(Sender::new(Arc::clone(&shared), spool).run());
                }
            }
            while let Some(ended) = tasks.try_join_next() {
                if ended.is_err_and(|error| error.is_panic()) {
                    // A spool without its sender would hold its clicks for ever; the next start ships them.
                    tracing::error!("a shipping task panicked");
                }
            }
            let left = tell(&shared);
            if stop.is_stopping() {
                let until = *flush_until.get_or_insert_with(|| Instant::now() + flush_for);
                let closed = shared.set.spools().iter().all(|spool| spool.is_closed());
                if (closed && left.uncommitted == 0) || Instant::now() >= until {
                    // What stays on this disk is accounted for by the last report alone.
                    reports::tell(&shared).await.ok();
                    return left;
                }
                tokio::time::sleep(SUPERVISE / 5).await;
            } else {
                tokio::select! {
                    () = tokio::time::sleep(SUPERVISE) => {}
                    () = stop.stopping() => {}
                }
            }
        }
    }
}

/// Tells how far shipping is.
fn tell(shared: &Shared) -> Flushed {
    let now = std::time::Instant::now();
    let mut left = Flushed { unshipped: 0, uncommitted: 0 };
    let mut age = Duration::ZERO;
    for spool in shared.set.spools() {
        let (accepted, progress) = (spool.accepted(), spool.progress());
        let committed = progress.watermark.map_or(0, |mark| mark.next_seq);
        let kept_from = spool.first_kept().0;
        left.unshipped += accepted.saturating_sub(progress.next_to_ship.max(committed).max(kept_from));
        left.uncommitted += accepted.saturating_sub(committed);
        age = age.max(progress.behind_since.map_or(Duration::ZERO, |since| now.duration_since(since)));
    }
    let metrics = shared.metrics();
    metrics.unshipped.set(left.unshipped as f64);
    metrics.uncommitted.set(left.uncommitted as f64);
    metrics.unshipped_age.set(age.as_secs_f64());
    left
}
