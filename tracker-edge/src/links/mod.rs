//! Which link a token names, and what the edge knows about it.
//!
//! [`Links::lookup`] answers from memory without waiting; [`Links::fetch`] asks Redis for a link that is
//! not there. The map is kept right by [`updates`] and survives a restart through [`snapshot`].
//! Callers may rely on: what was once known stays known when Redis goes away; a higher version always
//! replaces a lower one; nothing is ever called unknown because something behind the edge failed.

pub(crate) mod cache;
pub(crate) mod measure;
pub(crate) mod miss;
mod profile;
pub(crate) mod shard;
pub(crate) mod snapshot;
mod stored;
pub(crate) mod updates;

use cache::{Cache, Found};
use miss::{Asker, Fetched, Misses};
#[cfg(test)]
pub(crate) use profile::split_origin;
use shard::Scratch;
use shared::keys::Keys;
use shared::{Clock, LinkKey};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use updates::Sync;

/// Links whose record a click found to be old, waiting for a check. More are dropped: they come again.
const CHECKS_MAX: usize = 4096;

/// Everything about links, shared by all threads.
pub(crate) struct Links {
    pub(crate) cache: Cache,
    pub(crate) misses: Misses,
    pub(crate) sync: Sync,
    pub(crate) keys: Keys,
    checks: mpsc::Sender<LinkKey>,
}

/// The ends that the background thread works on.
pub(crate) struct Background {
    pub(crate) asker: Asker,
    pub(crate) checks: mpsc::Receiver<LinkKey>,
}

impl Links {
    /// An empty map within a budget of bytes, and a deadline for requests that have to wait for Redis.
    pub(crate) fn new(
        keys: Keys,
        budget_bytes: usize,
        miss_deadline: Duration,
        clock: Arc<dyn Clock>,
    ) -> (Arc<Self>, Background) {
        let (misses, asker) = Misses::new(miss_deadline);
        let (checks, checks_receiver) = mpsc::channel(CHECKS_MAX);
        let links =
            Self { cache: Cache::new(budget_bytes, clock), misses, sync: Sync::default(), keys, checks };
        (Arc::new(links), Background { asker, checks: checks_receiver })
    }

    /// The link, if it is in memory. Takes no lock and makes no system call.
    #[inline]
    pub(crate) fn lookup<'a>(
        &'a self,
        link: LinkKey,
        now_ms: i64,
        scratch: &'a mut Scratch,
    ) -> Option<Found<'a>> {
        let found = self.cache.get(link, now_ms, scratch)?;
        if found.check_due {
            // A full queue loses the request for a check; the link asks again in some minutes.
            let _asked = self.checks.try_send(link);
        }
        Some(found)
    }

    /// Asks Redis for a link that is not in memory; waits at most the miss deadline.
    pub(crate) async fn fetch(&self, link: LinkKey) -> Fetched {
        self.misses.fetch(link).await
    }
}

/// Room for one look-up, allocated once per thread.
pub(crate) fn scratch() -> Box<Scratch> {
    Box::new([0; stored::WORDS_MAX * 4])
}
