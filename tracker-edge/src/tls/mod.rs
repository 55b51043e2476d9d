//! TLS 1.2 and 1.3 in front of [`crate::http`] and [`crate::http2`]: handshakes, their limits, and sessions that go on.
//!
//! What must stay true: no early data, since a replayed GET would be a second click. A connection counts
//! against every limit before its handshake begins, and has as long for it as for a request (5 s); one that
//! says nothing does not take one of the [`HANDSHAKES_MAX`] places, which all workers share, and one address has a
//! quarter of them. Who finds none free waits, within the same deadline. Nothing here is touched by plain connections.
//!
//! Sessions are resumed by tickets, sealed with keys of this process alone that all workers share and that
//! change every six hours, and for TLS 1.2 clients without tickets by a session id, [`SESSIONS_MAX`] of them.

pub(crate) mod certificates;
mod stream;
mod validity;

use crate::addresses::Place;
use crate::connections::{Guard, Phase};
use crate::domains::Domains;
use crate::http;
use crate::http2;
use crate::runtime::Worker;
use certificates::{Certificates, Pair};
use rustls::crypto::ring;
use rustls::server::ServerSessionMemoryCache;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use stream::Watched;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Handshakes at a time, over all workers: what a flood of them may take of memory.
const HANDSHAKES_MAX: usize = 256;
/// What a client that wants HTTP/2 says.
const H2: &[u8] = b"h2";
/// TLS 1.2 sessions kept for clients without tickets; about 200 bytes each.
const SESSIONS_MAX: usize = 4096;

/// Everything handshakes need, for all workers.
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    pub(crate) certificates: Arc<Certificates>,
    handshakes: Semaphore,
}

impl Tls {
    /// Reads the certificates; why they cannot be used otherwise.
    pub(crate) fn new(pairs: &[Pair], domains: Arc<Domains>, http2: bool) -> Result<Self, String> {
        let certificates = Certificates::read(pairs, domains)?;
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates) as _);
        let protocols: &[&[u8]] = if http2 { &[H2, b"http/1.1"] } else { &[b"http/1.1"] };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config.ticketer = ring::Ticketer::new().map_err(|error| error.to_string())?;
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
        config.max_early_data_size = 0;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificates,
            handshakes: Semaphore::new(HANDSHAKES_MAX),
        })
    }

    async fn shake_hands(&self, stream: TcpStream, place: &Place) -> io::Result<TlsStream<TcpStream>> {
        stream.readable().await?;
        let own = place.handshakes();
        let _share = match &own {
            Some(own) => Some(own.acquire().await.map_err(io::Error::other)?),
            None => None,
        };
        let _place = self.handshakes.acquire().await.map_err(io::Error::other)?;
        self.acceptor.accept(stream).await
    }
}

/// Serves one connection, from its handshake to its end.
pub(crate) async fn serve(worker: Rc<Worker>, stream: TcpStream, peer: IpAddr, guard: Guard, place: Place) {
    let Some(tls) = &worker.edge.tls else { return };
    let counters = &worker.counters;
    let stream = match guard.connection.unless_closed(tls.shake_hands(stream, &place)).await {
        Some(Ok(stream)) => stream,
        Some(Err(_)) => return counters.tls_failed.add(),
        None => return counters.tls_timed_out.add(),
    };
    let _open = Open::count(&worker, stream.get_ref().1);
    guard.connection.enter(Phase::Request);
    if stream.get_ref().1.alpn_protocol() == Some(H2) {
        // In a box of its own, so that connections without it are no larger for it.
        return Box::pin(http2::serve(Rc::clone(&worker), stream, peer, guard, place)).await;
    }
    let stream = Watched::new(stream, Rc::clone(&guard.connection));
    http::run(http::connection(&worker, stream, peer, &guard), guard, place).await;
}

/// Counts a connection as open until it is dropped.
struct Open(Rc<Worker>);

impl Open {
    fn count(worker: &Rc<Worker>, session: &ServerConnection) -> Self {
        let counters = &worker.counters;
        counters.tls_completed.add();
        if session.handshake_kind() == Some(HandshakeKind::Resumed) {
            counters.tls_resumed.add();
        }
        match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => counters.tls_13.add(),
            _ => counters.tls_12.add(),
        }
        Self(Rc::clone(worker))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counters.tls_closed.add();
    }
}
