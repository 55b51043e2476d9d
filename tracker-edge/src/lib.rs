//! The data plane: answers a tracking link with its redirect and remembers the click.
//!
//! The map, in the order of a request: [`listener`] takes the connection, over [`tls`] if it is the TLS
//! one, [`http`] the request (of HTTP/2 from [`http2`]), [`route`]
//! says what it asks for, [`links`] which link that is, [`redirect`] where it leads, and [`clicks`] keeps
//! the click in the spool before the answer is written. Beside them: [`connections`] ends what is slow,
//! [`addresses`] what is too much, [`domains`] are hosts of customers, [`acme`] what proves them, [`pages`] are the answers that are no redirects, [`metrics`] counts,
//! [`admin`] shows. [`runtime`] are the workers' threads, [`background`] the one beside them, which keeps
//! links right, ships clicks and stops everything in order.
//!
//! What must stay true:
//! - A redirect never fails because something behind it failed: on a hit nothing is asked of anyone.
//! - A click is in the spool before its redirect is written, or is declared lost, exactly.
//! - The hot path takes no shared lock, waits for nothing, and makes no system call but read and write.
//!
//! Start: configuration, spool, links from the snapshot, listeners, ready. Stop: not ready, no new
//! connections, requests in hand, spool, shipping until the deadline.

mod acme;
mod addresses;
mod admin;
mod answers;
mod background;
pub mod clicks;
pub mod config;
mod connections;
mod date;
mod domains;
mod fast;
mod files;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod head;
mod http;
mod http2;
mod links;
mod listener;
mod metrics;
mod pages;
mod proxy_protocol;
mod redirect;
mod redis;
mod route;
mod runtime;
mod socket;
mod tls;

pub use links::measure::{LinkMap, LinkMapSize, LinkReader};

use background::Background;
use clicks::Knowledge;
use clicks::classes::Classes;
use clicks::duplicates::Duplicates;
use clicks::ship::{EvictionError, Redis, check_eviction};
use clicks::signatures::Signatures;
use clicks::spool::{OpenError, SpoolSet};
use clicks::visitors::Visitors;
use config::Config;
use domains::Domains;
use files::Watched;
use listener::{Listeners, Speaks};
use shared::click_id::ClickIdKey;
use shared::{Clock, TokenKey};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use tls::Tls;
use tokio_util::sync::CancellationToken;

/// Why an edge did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] OpenError),
    /// Redis would lose clicks.
    #[error(transparent)]
    Eviction(#[from] EvictionError),
    /// The Redis URL is not one.
    #[error("cannot use the Redis URL")]
    Redis(#[source] ::redis::RedisError),
    /// A certificate or its key cannot be used.
    #[error("cannot use the certificates: {0}")]
    Certificates(String),
    /// The machine gave no thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// A running edge. Dropping it stops it and waits.
pub struct Edge {
    addr: SocketAddr,
    tls_addr: Option<SocketAddr>,
    admin_addr: SocketAddr,
    stop: CancellationToken,
    background: Option<JoinHandle<bool>>,
}

impl Edge {
    /// Starts all threads. When this returns, both addresses answer.
    pub fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let redis = Redis::open(&config.redis_url).map_err(StartError::Redis)?;
        if !config.allow_eviction {
            refuse_eviction(&config.redis_url)?;
        }
        let metrics = metrics::Metrics::new();
        let spools = metrics.within(|| SpoolSet::open(config.spool.clone()))?;
        let (links, link_work) = links::Links::new(
            config.keys.clone(),
            config.links_bytes_max,
            config.miss_deadline,
            Arc::clone(&clock),
        );
        let position = background::warm(&config.snapshot, &links);
        let knowledge = Knowledge {
            classes: Arc::new(Classes::built_in()),
            countries: Arc::default(),
            visitors: Arc::new(Visitors::new(Arc::clone(&clock))),
            duplicates: Arc::new(Duplicates::new()),
        };
        let repeats = Arc::clone(&knowledge.duplicates);
        let signatures = Signatures::new(Arc::default(), config.tracking_origins.clone(), repeats);
        let mut files = watched(&config, &knowledge, &signatures);
        for file in &files {
            file.read();
        }
        let domains = Domains::new(
            &config.secret,
            config.keys.clone(),
            config.domains_snapshot(),
            &config.tracking_origins,
        );
        domains::snapshot::load(&domains);
        let (challenges, challenge_asker) = acme::Challenges::new();
        let tls = if config.tls_addr.is_some() || config.inherited.contains(&Speaks::Https) {
            let tls = Tls::new(&config.tls_pairs, Arc::clone(&domains), config.tls_http2)
                .map_err(StartError::Certificates)?;
            files.extend(tls.certificates.watched());
            Some(tls)
        } else {
            None
        };
        let shared = Arc::new(runtime::Shared {
            links,
            tokens: TokenKey::new(&config.secret),
            ids: ClickIdKey::new(&config.secret),
            pages: pages::Pages::new(&config.api_origin),
            addresses: addresses::Addresses::new(
                config.connections_per_address,
                config.trusted_proxies.clone(),
                config.proxy_protocol.clone(),
            ),
            knowledge,
            signatures,
            domains,
            challenges,
            tls,
            clock,
            strict: config.spool.strict,
            fast_path: config.fast_path,
        });
        let admin = listener::bind(config.admin_addr, false)
            .map_err(|error| StartError::Listen(config.admin_addr, error))?;
        let mut listeners = if config.inherited.is_empty() {
            Listeners { http: listen(config.addr, config.threads)?, https: Vec::new() }
        } else {
            listener::inherited(&config.inherited, config.threads)
                .map_err(|error| StartError::Listen(config.addr, error))?
        };
        if let Some(addr) = config.tls_addr.filter(|_| listeners.https.is_empty()) {
            listeners.https = listen(addr, config.threads)?;
        }
        let address_of = |listener: &std::net::TcpListener, asked| {
            listener.local_addr().map_err(|error| StartError::Listen(asked, error))
        };
        let first = |listeners: &[std::net::TcpListener]| {
            listeners.first().map(|listener| address_of(listener, config.addr)).transpose()
        };
        let addr = first(&listeners.http)?.unwrap_or(config.addr);
        let tls_addr = first(&listeners.https)?;
        let admin_addr = address_of(&admin, config.admin_addr)?;
        let stop = CancellationToken::new();
        let background = Background {
            config,
            shared,
            spools,
            metrics,
            redis,
            link_work,
            challenge_asker,
            position,
            files,
            admin,
        };
        let background = background.start(listeners, stop.clone()).map_err(StartError::Thread)?;
        tracing::info!(%addr, tls = tls_addr.map(tracing::field::display), admin = %admin_addr, "serving clicks");
        Ok(Self { addr, tls_addr, admin_addr, stop, background: Some(background) })
    }

    /// Where clicks are served; the port is the real one.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where clicks are served over TLS; the port is the real one.
    pub const fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls_addr
    }

    /// Where operators look.
    pub const fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Asks for a clean stop; [`Self::join`] waits for it.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Whether the edge has ended, asked or not.
    pub fn has_ended(&self) -> bool {
        self.background.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the end; `true` when it was a clean one.
    pub fn join(mut self) -> bool {
        self.background.take().is_none_or(|background| background.join().unwrap_or(false))
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.stop();
        if let Some(background) = self.background.take()
            && background.join().is_err()
        {
            tracing::error!("the background thread panicked");
        }
    }
}

/// The files an operator may put anew.
fn watched(config: &Config, knowledge: &Knowledge, signatures: &Signatures) -> Vec<Arc<Watched>> {
    let mut files = Vec::new();
    if let Some(path) = config.user_agents.clone() {
        let classes = Arc::clone(&knowledge.classes);
        files.push(Watched::new("user_agents", path, move |path| classes.load(path)));
    }
    if let Some(path) = config.geoip_db.clone() {
        let countries = Arc::clone(&knowledge.countries);
        files.push(Watched::new("countries", path, move |path| countries.load(path)));
    }
    if let Some(path) = config.agent_keys.clone() {
        let keyring = Arc::clone(&signatures.keyring);
        files.push(Watched::new("agent_keys", path, move |path| keyring.load(path)));
    }
    files
}

/// One listening socket per worker, all on one address.
fn listen(addr: SocketAddr, threads: usize) -> Result<Vec<std::net::TcpListener>, StartError> {
    let mut listeners = Vec::with_capacity(threads);
    let mut addr = addr;
    for _ in 0..threads {
        let listener = listener::bind(addr, true).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (bound, listener) = listener.map_err(|error| StartError::Listen(addr, error))?;
        // With port 0 the first socket finds the port, the others join it.
        addr = bound;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Ends the start when Redis is known to throw away what it was given. A Redis that cannot be asked now
/// is no reason not to start; it is asked again while the edge runs.
fn refuse_eviction(redis_url: &str) -> Result<(), StartError> {
    // A connection belongs to the runtime it was opened on: this one ends here.
    let redis = Redis::open(redis_url).map_err(StartError::Redis)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    match runtime.block_on(check_eviction(&redis)) {
        Ok(()) => Ok(()),
        Err(error @ EvictionError::Policy(_)) => Err(error.into()),
        Err(error) => {
            tracing::warn!(%error, "starting without knowing whether Redis keeps what it takes");
            Ok(())
        }
    }
}
