//! The second listener, for operators: `/metrics` (Prometheus), `/ready`, `/live`. Keep it private.
//!
//! `/ready` is 200 while the edge wants traffic: it has links to serve (from a snapshot, or because the
//! change stream was read to its end once) and is not stopping. That Redis goes away later does not make
//! it unready: known links keep working. `/live` is 200 as long as the background thread turns.

use ::http::{Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use shared::shutdown::Shutdown;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Operators and scrapers at one time.
const CONNECTIONS_MAX: usize = 64;
/// A request's head has this long. Here hyper's timer is cheap enough.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the admin listener shows.
pub(crate) trait Status: Send + Sync + 'static {
    /// All metrics as Prometheus text.
    fn metrics(&self) -> String;
    /// Why the edge wants no traffic, if it does not.
    fn unready(&self) -> Option<&'static str>;
}

/// Serves until stopped.
pub(crate) async fn serve(listener: TcpListener, status: Arc<impl Status>, stop: Shutdown) {
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = tokio::select! {
            () = stop.stopping() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept admin connections right now");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let status = Arc::clone(&status);
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(
                TokioIo::new(stream),
                service_fn(move |request| {
                    let answer = answer(&request, &*status);
                    async move { Ok::<_, Infallible>(answer) }
                }),
            );
        let stopping = stop.clone();
        stop.spawn(async move {
            tokio::select! {
                // What a scraper does wrong is its own affair.
                served = serving => drop(served),
                () = stopping.stopping() => {}
            }
            drop(place);
        });
    }
}

fn answer(request: &Request<Incoming>, status: &impl Status) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n".to_owned());
    }
    match request.uri().path() {
        "/metrics" => text(StatusCode::OK, status.metrics()),
        "/live" => text(StatusCode::OK, "live\n".to_owned()),
        "/ready" => match status.unready() {
            None => text(StatusCode::OK, "ready\n".to_owned()),
            Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
        },
        _ => text(StatusCode::NOT_FOUND, "/metrics, /ready and /live are here\n".to_owned()),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let content_type = ::http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, content_type);
    answer
}
