//! The HTTP server: hyper with limits on everything a connection can hold, and a graceful drain.
//!
//! A connection has 10 s to send its headers, also between two requests, so idle ones are closed;
//! 64 KiB of headers; TCP gives up on a peer that takes nothing after 15 s.

use crate::web::own_words::OwnWords;
use anyhow::Context;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use shared::shutdown::Shutdown;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;

const HEADERS_FOR: Duration = Duration::from_secs(10);
const HEADERS_LEN_MAX: usize = 64 * 1024;
/// A failed accept (no file descriptors, say) is no reason to stop, nor to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The client's address, put into every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Binds a listener.
pub async fn bind(addr: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr).await.with_context(|| format!("cannot listen on {addr}"))
}

/// Serves until a stop is asked for, then lets what is in flight finish within `patience`.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown, patience: Duration) {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_FOR)
        .max_buf_size(HEADERS_LEN_MAX)
        .max_headers(100);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .max_concurrent_streams(100)
        .max_header_list_size(HEADERS_LEN_MAX as u32);
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.stopping() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            metrics::counter!("cp_accept_errors_total").increment(1);
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Only speeds replies up; a socket that refuses it still works.
        stream.set_nodelay(true).ok();
        let router = router.clone().layer(axum::Extension(Peer(peer)));
        let connection =
            http.serve_connection(TokioIo::new(OwnWords::new(stream)), TowerToHyperService::new(router));
        let connection = graceful.watch(connection.into_owned());
        // A connection that ends with an error ends: the client went away or broke the protocol.
        shutdown.spawn(async move { connection.await.ok() });
    }
    drop(listener);
    if tokio::time::timeout(patience, graceful.shutdown()).await.is_err() {
        tracing::warn!("connections were still open when the drain ended");
    }
}
