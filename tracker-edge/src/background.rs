//! The thread beside the workers: keeps links right, ships clicks, saves snapshots, shows the edge to its
//! operators, and stops everything in order.
//!
//! The order of a stop is the promise: answers say `Connection: close` and readiness goes first; then, after
//! a pause for load balancers, no new connections; requests in hand finish; the workers drop their
//! spool writers, which ends the spools; then the snapshot, and shipping until the deadline.

use crate::acme;
use crate::admin::{self, Status};
use crate::clicks::ship::{Redis, Shipping, eviction};
use crate::clicks::signatures::keys::Keyring;
use crate::clicks::spool::SpoolSet;
use crate::config::Config;
use crate::domains::{self, Domains};
use crate::files::Watched;
use crate::links::updates::{self, Position};
use crate::links::{self, Links, snapshot};
use crate::listener::Listeners;
use crate::metrics::{Counters, Metrics, Now};
use crate::runtime::{self, Shared, Start};
use crate::tls::certificates::Certificates;
use shared::shutdown::Shutdown;
use std::io;
use std::net::TcpListener as StdListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A part of the grace is kept for shipping: requests in hand take milliseconds, or hang.
const REQUESTS_SHARE: u32 = 2;

/// Everything the thread is started with.
pub(crate) struct Background {
    pub(crate) config: Config,
    pub(crate) shared: Arc<Shared>,
    pub(crate) spools: Arc<SpoolSet>,
    pub(crate) metrics: Metrics,
    pub(crate) redis: Redis,
    pub(crate) link_work: links::Background,
    pub(crate) challenge_asker: acme::Asker,
    /// Where the snapshot stood in the change stream.
    pub(crate) position: Option<Position>,
    /// Read once already.
    pub(crate) files: Vec<Arc<Watched>>,
    pub(crate) admin: StdListener,
}

/// What operators are shown.
struct Shown {
    metrics: Metrics,
    counters: Vec<Arc<Counters>>,
    links: Arc<Links>,
    keyring: Arc<Keyring>,
    domains: Arc<Domains>,
    tls: Option<Arc<Certificates>>,
    files: Vec<Arc<Watched>>,
    stopping: AtomicBool,
}

/// Loads the snapshot, if there is a usable one.
pub(crate) fn warm(path: &Path, links: &Links) -> Option<Position> {
    let started = Instant::now();
    match snapshot::load(path, &links.cache) {
        Ok((loaded, position)) => {
            tracing::info!(
                links = loaded,
                duration_ms = started.elapsed().as_millis(),
                "links from the snapshot"
            );
            links.sync.warmed(loaded);
            position
        }
        Err(snapshot::LoadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(%error, "starting without the snapshot of links");
            None
        }
    }
}

impl Background {
    /// Starts the workers and the thread. The thread's result is whether everything ended cleanly.
    pub(crate) fn start(self, listeners: Listeners, stop: CancellationToken) -> io::Result<JoinHandle<bool>> {
        let Listeners { http: listeners, https } = listeners;
        let mut https = https.into_iter();
        let (drain, stop_accepting) = (CancellationToken::new(), CancellationToken::new());
        let (ended, workers_ended) = mpsc::channel(listeners.len().max(1));
        let mut counters = Vec::with_capacity(listeners.len());
        let mut threads = Vec::with_capacity(listeners.len());
        for (number, listener) in listeners.into_iter().enumerate() {
            let own = Arc::new(Counters::default());
            counters.push(Arc::clone(&own));
            let start = Start {
                edge: Arc::clone(&self.shared),
                counters: own,
                writer: self.spools.writer(),
                listener,
                tls_listener: https.next(),
                connections_max: self.config.connections_per_thread,
                drain: drain.clone(),
                stop_accepting: stop_accepting.clone(),
                grace: self.config.grace / REQUESTS_SHARE,
            };
            let ended = ended.clone();
            threads.push(std::thread::Builder::new().name(format!("edge-{number}")).spawn(move || {
                let worked = runtime::work(start);
                // Nobody waits any more when the background thread is gone.
                drop(ended);
                worked
            })?);
        }
        drop(ended);
        let stop_order = StopOrder { stop, drain, stop_accepting, workers_ended, threads };
        std::thread::Builder::new().name("edge-background".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(self.run(counters, stop_order)),
                Err(error) => {
                    tracing::error!(%error, "cannot start the background runtime");
                    false
                }
            }
        })
    }

    async fn run(self, counters: Vec<Arc<Counters>>, mut order: StopOrder) -> bool {
        let Ok(listener) = TcpListener::from_std(self.admin) else { return false };
        let shown = Arc::new(Shown {
            metrics: self.metrics,
            counters,
            links: Arc::clone(&self.shared.links),
            keyring: Arc::clone(&self.shared.signatures.keyring),
            domains: Arc::clone(&self.shared.domains),
            tls: self.shared.tls.as_ref().map(|tls| Arc::clone(&tls.certificates)),
            files: self.files,
            stopping: AtomicBool::new(false),
        });
        // What keeps links right ends early; what shows and ships, last.
        let (upkeep, last) = (Shutdown::new(), Shutdown::new());
        let links = &self.shared.links;
        // A read of the change stream blocks what is behind it: it has a connection of its own.
        let Ok(stream) = Redis::open(&self.config.redis_url) else { return false };
        upkeep.spawn(updates::follow(Arc::clone(links), stream, self.position, upkeep.clone()));
        upkeep.spawn(updates::compare(
            Arc::clone(links),
            self.redis.clone(),
            self.link_work.checks,
            upkeep.clone(),
        ));
        upkeep.spawn(self.link_work.asker.run(Arc::clone(links), self.redis.clone(), last.clone()));
        let (keys, redis) = (&self.config.keys, &self.redis);
        let Ok(changes) = Redis::open(&self.config.redis_url) else { return false };
        upkeep.spawn(domains::follow::follow(Arc::clone(&self.shared.domains), changes, upkeep.clone()));
        upkeep.spawn(self.challenge_asker.run(redis.clone(), keys.clone(), upkeep.clone()));
        let visitors = Arc::clone(&self.shared.knowledge.visitors);
        upkeep.spawn(visitors.share(redis.clone(), keys.clone(), upkeep.clone()));
        let keyring = Arc::clone(&shown.keyring);
        upkeep.spawn(keyring.follow(redis.clone(), keys.clone(), upkeep.clone()));
        for file in &shown.files {
            upkeep.spawn(Arc::clone(file).follow(upkeep.clone()));
        }
        upkeep.spawn(save_now_and_then(
            Arc::clone(links),
            self.config.snapshot.clone(),
            self.config.snapshot_every,
            upkeep.clone(),
        ));
        if !self.config.allow_eviction {
            let (redis, set) = (self.redis.clone(), Arc::clone(&self.spools));
            upkeep.spawn(eviction::watch(redis, set, upkeep.clone()));
        }
        last.spawn(admin::serve(listener, Arc::clone(&shown), last.clone()));
        let shipping = Shipping {
            set: Arc::clone(&self.spools),
            redis: self.redis,
            keys: self.config.keys.clone(),
            shards: self.config.click_shards,
            clock: Arc::clone(&self.shared.clock),
        };
        let ship_stop = Shutdown::new();
        // Requests had their part of the grace; a stop that found none leaves all of it to shipping.
        let flush_for = self.config.grace.saturating_sub(self.config.grace / REQUESTS_SHARE);
        let shipping = last.spawn(shipping.run(ship_stop.clone(), flush_for));

        let mut clean = order.wait_for_stop().await;
        shown.stopping.store(true, Ordering::Release);
        tracing::info!("stopping");
        order.drain.cancel();
        tokio::time::sleep(self.config.drain_delay).await;
        order.stop_accepting.cancel();
        clean &= order.join_workers().await;
        upkeep.stop();
        let save = save(Arc::clone(links), self.config.snapshot.clone());
        ship_stop.stop();
        let (flushed, ()) = tokio::join!(shipping, save);
        match flushed {
            Ok(flushed) => {
                let (unshipped, uncommitted) = (flushed.unshipped, flushed.uncommitted);
                tracing::info!(unshipped, uncommitted, "stopped");
            }
            Err(_) => clean = false,
        }
        last.stop();
        last.drained(Duration::from_millis(500)).await;
        self.spools.close();
        clean
    }
}

/// The tokens of a stop, and the workers to wait for.
struct StopOrder {
    stop: CancellationToken,
    drain: CancellationToken,
    stop_accepting: CancellationToken,
    /// Closes when the last worker has ended.
    workers_ended: mpsc::Receiver<()>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl StopOrder {
    /// Ends when a stop is asked for (`true`), or when no worker is left to serve anything (`false`).
    async fn wait_for_stop(&mut self) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => true,
            _ = self.workers_ended.recv() => {
                tracing::error!("all workers ended by themselves");
                false
            }
        }
    }

    /// Waits for all workers; `false` when one failed.
    async fn join_workers(&mut self) -> bool {
        let _closed = self.workers_ended.recv().await;
        let mut clean = true;
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, "a worker could not run");
                    clean = false;
                }
                Err(_) => {
                    tracing::error!("a worker panicked");
                    clean = false;
                }
            }
        }
        clean
    }
}

async fn save_now_and_then(links: Arc<Links>, path: std::path::PathBuf, every: Duration, stop: Shutdown) {
    loop {
        tokio::select! {
            () = stop.stopping() => return,
            () = tokio::time::sleep(every) => save(Arc::clone(&links), path.clone()).await,
        }
    }
}

/// Saves the map, off the runtime's thread: ten million links take seconds.
async fn save(links: Arc<Links>, path: std::path::PathBuf) {
    let saved = tokio::task::spawn_blocking(move || {
        // The position first: what is applied while the map is written is newer than it, never missing.
        let position = links.sync.position();
        snapshot::save(&path, &links.cache, position.as_ref())
    });
    match saved.await {
        Ok(Ok(links)) => tracing::debug!(links, "saved the links"),
        Ok(Err(error)) => {
            tracing::error!(%error, "cannot save the links; a restart without Redis would miss them");
        }
        Err(_) => tracing::error!("saving the links panicked"),
    }
}

impl Status for Shown {
    fn metrics(&self) -> String {
        let sync = &self.links.sync;
        let (unknown, asked) = self.links.misses.size();
        let now = Now {
            links: self.links.cache.size(),
            unknown,
            asked,
            applied: sync.applied.load(Ordering::Relaxed),
            unreadable: sync.unreadable.load(Ordering::Relaxed),
            compared: sync.compared.load(Ordering::Relaxed),
            comparisons: sync.comparisons().0,
            connected: sync.connected(),
            ready: self.unready().is_none(),
            agent_keys: self.keyring.len(),
            domains: self.domains.shown(),
            certificates: self.tls.as_ref().map(|tls| tls.expiries()).unwrap_or_default(),
            files: self.files.iter().map(|file| file.shown()).collect(),
        };
        self.metrics.render(&self.counters, || now.publish())
    }

    fn unready(&self) -> Option<&'static str> {
        if self.stopping.load(Ordering::Acquire) {
            return Some("stopping");
        }
        if !self.links.sync.has_links() {
            return Some("no links yet: neither a snapshot nor the change stream");
        }
        None
    }
}
