//! An HTTP server that receives webhooks and answers as a test tells it to.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use sha2::Sha256;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Nothing a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) at: Instant,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// A status and nothing else.
    Status(u16),
    /// A status and `Retry-After`.
    RetryAfter(u16, &'static str),
    /// A status and `Location`.
    Redirect(&'static str),
    /// Never anything.
    Silence,
    /// 200, and a byte of body every second for ever.
    Drip,
}

type Behaviour = Box<dyn Fn(&Received) -> Answer + Send + Sync>;

struct Shared {
    received: Mutex<Vec<Received>>,
    behaviour: Mutex<Behaviour>,
    arrived: Notify,
}

/// A running receiver; dropping it stops it.
pub(crate) struct Receiver {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// Whether the document's sample code would accept it.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(&self.body);
        self.header("x-affiliateos-signature") == hex::encode(mac.finalize().into_bytes())
    }
}

impl Receiver {
    /// A receiver that answers everything with 200.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            received: Mutex::default(),
            behaviour: Mutex::new(Box::new(|_| Answer::Status(200))),
            arrived: Notify::new(),
        });
        let router = axum::Router::new().fallback(receive).with_state(shared.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                served = axum::serve(listener, router) => served.unwrap(),
                () = stopped.cancelled() => {}
            }
        });
        Self { addr, shared, stop }
    }

    /// An address of it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// How it answers from now on.
    pub(crate) fn answers(&self, behaviour: impl Fn(&Received) -> Answer + Send + Sync + 'static) {
        *self.shared.behaviour.lock().unwrap() = Box::new(behaviour);
    }

    /// Everything received so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// Waits until a condition on everything received holds.
    #[track_caller]
    pub(crate) fn wait_until(
        &self,
        what: &'static str,
        holds: impl Fn(&[Received]) -> bool,
    ) -> impl Future<Output = Vec<Received>> {
        let caller = std::panic::Location::caller();
        async move {
            let waiting = async {
                loop {
                    let arrived = self.shared.arrived.notified();
                    let received = self.received();
                    if holds(&received) {
                        return received;
                    }
                    arrived.await;
                }
            };
            let waited = tokio::time::timeout(PATIENCE, waiting).await;
            waited.unwrap_or_else(|_| {
                panic!("at {caller}: {what} did not come; received {}", self.received().len())
            })
        }
    }

    /// Waits for so many requests.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> impl Future<Output = Vec<Received>> {
        self.wait_until("as many requests", move |received| received.len() >= count)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn receive(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("the request is whole");
    let received =
        Received { at: Instant::now(), path: parts.uri.path().to_owned(), headers: parts.headers, body };
    let answer = (shared.behaviour.lock().unwrap())(&received);
    shared.received.lock().unwrap().push(received);
    shared.arrived.notify_waiters();
    let status = |status| Response::builder().status(StatusCode::from_u16(status).unwrap());
    match answer {
        Answer::Status(code) => status(code).body(Body::from("thank you")).unwrap(),
        Answer::RetryAfter(code, after) => {
            status(code).header("retry-after", after).body(Body::empty()).unwrap()
        }
        Answer::Redirect(location) => status(302).header("location", location).body(Body::empty()).unwrap(),
        Answer::Silence => std::future::pending().await,
        Answer::Drip => {
            let drips = Drips(tokio::time::interval(Duration::from_secs(1)));
            status(200).body(Body::new(drips)).unwrap()
        }
    }
}

/// A body that never ends.
struct Drips(tokio::time::Interval);

impl http_body::Body for Drips {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        self.0.poll_tick(cx).map(|_| Some(Ok(http_body::Frame::data(Bytes::from_static(b".")))))
    }
}
