//! Threads: one single-threaded runtime per worker, and one for everything that is not a request.
//!
//! A worker has a listening socket, a spool writer, counters and connections of its own and shares only
//! what [`Shared`] holds, all of it readable without a lock. Nothing of a worker is ever touched by
//! another thread.

use crate::acme::Challenges;
use crate::addresses::Addresses;
use crate::clicks::signatures::{Budget, Signatures};
use crate::clicks::spool::Writer;
use crate::clicks::{Knowledge, Recorder};
use crate::connections::{Connections, TICK};
use crate::date::Date;
use crate::domains::Domains;
use crate::fast;
use crate::http;
use crate::http2::Http2;
use crate::links::shard::Scratch;
use crate::links::{self, Links};
use crate::listener::{self, Speaks};
use crate::metrics::Counters;
use crate::pages::Pages;
use crate::tls::Tls;
use hyper::server::conn::http1;
use shared::click_id::ClickIdKey;
use shared::{Clock, TokenKey};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::TcpListener as StdListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio_util::sync::CancellationToken;

/// What all workers use.
pub(crate) struct Shared {
    pub(crate) links: Arc<Links>,
    pub(crate) tokens: TokenKey,
    pub(crate) ids: ClickIdKey,
    pub(crate) pages: Pages,
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) knowledge: Knowledge,
    pub(crate) signatures: Signatures,
    pub(crate) domains: Arc<Domains>,
    pub(crate) challenges: Challenges,
    /// `None` when only plain HTTP is served.
    pub(crate) tls: Option<Tls>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether an answer waits for its click to be synced.
    pub(crate) strict: bool,
    /// Whether plain clicks are answered without hyper.
    pub(crate) fast_path: bool,
}

/// One worker's own things.
pub(crate) struct Worker {
    pub(crate) edge: Arc<Shared>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) recorder: RefCell<Recorder>,
    pub(crate) signature_budget: Budget,
    pub(crate) scratch: RefCell<Box<Scratch>>,
    pub(crate) connections: Rc<Connections>,
    pub(crate) http: http1::Builder,
    pub(crate) http2: Http2,
    pub(crate) date: Date,
    pub(crate) fast: fast::Buffers,
    /// Answers close their connection: the edge is about to stop.
    pub(crate) draining: Cell<bool>,
    pub(crate) stop_accepting: CancellationToken,
}

/// What a worker is started with.
pub(crate) struct Start {
    pub(crate) edge: Arc<Shared>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) writer: Writer,
    pub(crate) listener: StdListener,
    pub(crate) tls_listener: Option<StdListener>,
    pub(crate) connections_max: usize,
    /// Cancelled when answers shall close their connections.
    pub(crate) drain: CancellationToken,
    /// Cancelled when no new connections shall be taken.
    pub(crate) stop_accepting: CancellationToken,
    /// How long requests in hand have to finish.
    pub(crate) grace: Duration,
}

/// A worker's life, on its own thread: ends when all its connections have, or when the grace is over.
pub(crate) fn work(start: Start) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let listener = TcpListener::from_std(start.listener)?;
        let tls_listener = start.tls_listener.map(TcpListener::from_std).transpose()?;
        let recorder = Recorder::new(start.writer, start.edge.ids.clone(), start.edge.knowledge.clone());
        let worker = Rc::new(Worker {
            connections: Rc::new(Connections::new(start.connections_max, Arc::clone(&start.counters))),
            edge: start.edge,
            counters: start.counters,
            recorder: RefCell::new(recorder),
            signature_budget: Budget::default(),
            scratch: RefCell::new(links::scratch()),
            http: http::builder(),
            http2: Http2::new(),
            date: Date::new(),
            fast: fast::Buffers::new(),
            draining: Cell::new(false),
            stop_accepting: start.stop_accepting,
        });
        let sweeping = tokio::task::spawn_local(sweep(Rc::clone(&worker.connections)));
        let listeners = tls_listener.map(|listener| (listener, Speaks::Https));
        let accepting: Vec<_> = std::iter::once((listener, Speaks::Http))
            .chain(listeners)
            .map(|(listener, speaks)| {
                tokio::task::spawn_local(listener::accept(listener, speaks, Rc::clone(&worker)))
            })
            .collect();
        start.drain.cancelled().await;
        worker.draining.set(true);
        for accepting in accepting {
            if accepting.await.is_err() {
                tracing::error!("an accept loop panicked");
            }
        }
        worker.connections.finish_all();
        let finished = async {
            while worker.connections.len() > 0 {
                worker.connections.left().await;
            }
        };
        if tokio::time::timeout(start.grace, finished).await.is_err() {
            tracing::warn!(
                open = worker.connections.len(),
                "closing connections that did not finish in time"
            );
        }
        sweeping.abort();
        Ok(())
    })
}

/// Ticks the worker's connections.
async fn sweep(connections: Rc<Connections>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        connections.sweep();
    }
}
