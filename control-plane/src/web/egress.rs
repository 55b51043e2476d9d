//! Calls to URLs that customers chose: to public addresses only, bounded in time and size.
//! Calls to services of the operator's own choice ([`Egress::fetch`]) take the same road.
//!
//! Must stay true: every connection of this client goes to an address that [`Policy`] has just judged;
//! the name is resolved once per connection, and what was checked is what is dialled, so a name that
//! changes its mind in between changes nothing. One address that is not public refuses the whole name.
//! No proxy, no redirect, no decompression, no cookie: none of them is in here.
//!
//! Limits: the caller's deadline for everything; 16 KiB of an answer's body, for which nobody waits longer
//! than [`BODY_FOR`]; 64 KiB and 64 headers of its head; 256 names being resolved at once. An idle
//! connection is kept for 1.5 s, less than any common server keeps it, so that a reused one is not a dead one.

mod address;

pub use address::{Policy, Refusal, is_public};

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use url::Url;

/// Bytes of an answer's body that are read; then the connection is closed.
pub const BODY_LEN_MAX: usize = 16 * 1024;
/// How long the body is waited for. The status has said everything by then; reading on is courtesy, and
/// lets the connection be used again.
pub const BODY_FOR: Duration = Duration::from_secs(1);
const HEAD_LEN_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 64;
const IDLE_FOR: Duration = Duration::from_millis(1500);
/// One address must not use up the time of the others.
const DIAL_FOR: Duration = Duration::from_secs(3);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// Names being resolved at once: each takes a thread until the system's resolver gives up.
const LOOKUPS_MAX: usize = 256;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type BoxError = Box<dyn StdError + Send + Sync>;

/// The two things that touch the network. Tests put their own in, to flip answers and to record who was
/// dialled.
pub trait Network: Send + Sync + 'static {
    /// The addresses of a name.
    fn resolve(&self, name: String) -> Boxed<io::Result<Vec<IpAddr>>>;
    /// Connects to an address.
    fn dial(&self, addr: SocketAddr) -> Boxed<io::Result<TcpStream>>;
}

/// The system's resolver and sockets.
struct SystemNetwork {
    lookups: Arc<Semaphore>,
}

impl SystemNetwork {
    fn new() -> Arc<Self> {
        Arc::new(Self { lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) })
    }
}

impl Network for SystemNetwork {
    fn resolve(&self, name: String) -> Boxed<io::Result<Vec<IpAddr>>> {
        let lookups = self.lookups.clone();
        Box::pin(async move {
            let permit = lookups.acquire_owned().await.map_err(io::Error::other)?;
            // The thread goes on when the caller has given up: the permit goes with it.
            let lookup = tokio::task::spawn_blocking(move || {
                let found = (name.as_str(), 0).to_socket_addrs()?.map(|addr| addr.ip()).collect();
                drop(permit);
                Ok(found)
            });
            lookup.await.map_err(io::Error::other)?
        })
    }

    fn dial(&self, addr: SocketAddr) -> Boxed<io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(addr))
    }
}

/// The head of an answer. The body was read and thrown away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// `Retry-After` as it came.
    pub retry_after: Option<String>,
}

/// A call whose answer matters as a whole.
#[derive(Clone, Debug)]
pub struct Call {
    /// `GET`, `POST`, …
    pub method: Method,
    /// Where to.
    pub url: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// When everything is over.
    pub deadline: Duration,
    /// Bytes of the answer's body at most; a longer one is [`Failure::NoAnswer`].
    pub answer_len_max: usize,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The URL or an address behind it may not be called.
    Refused(Refusal),
    /// Nothing came within the deadline.
    TimedOut,
    /// No such name, nobody listens, or TLS failed.
    NoConnection,
    /// The connection broke, or what came was not HTTP.
    NoAnswer,
}

/// A client for URLs of customers. Cheap to clone.
#[derive(Clone)]
pub struct Egress {
    policy: Arc<Policy>,
    network: Arc<dyn Network>,
    client: Client<HttpsConnector<Guard>, Full<Bytes>>,
}

impl Egress {
    /// A client that uses the system's resolver and certificates.
    pub fn new(policy: Policy) -> anyhow::Result<Self> {
        Self::with_network(policy, SystemNetwork::new())
    }

    /// The same, believing these certificates (PEM) beside the system's.
    pub fn with_root(policy: Policy, root_pem: &[u8]) -> anyhow::Result<Self> {
        Self::build(policy, SystemNetwork::new(), root_pem)
    }

    /// The same over another network.
    pub fn with_network(policy: Policy, network: Arc<dyn Network>) -> anyhow::Result<Self> {
        Self::build(policy, network, b"")
    }

    fn build(policy: Policy, network: Arc<dyn Network>, root_pem: &[u8]) -> anyhow::Result<Self> {
        let policy = Arc::new(policy);
        let guard = Guard { policy: policy.clone(), network: network.clone() };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(root_pem)?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(guard);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(2)
            .http1_max_buf_size(HEAD_LEN_MAX)
            .http1_max_headers(HEADERS_MAX)
            .http2_max_header_list_size(HEAD_LEN_MAX as u32)
            .http2_initial_stream_window_size(HEAD_LEN_MAX as u32)
            .build(connector);
        Ok(Self { policy, network, client })
    }

    /// Judges a URL before it is stored. A name is resolved when that works at once; one that does not
    /// resolve is let through, because every connection is judged again.
    pub async fn check(&self, text: &str, patience: Duration) -> Result<Url, Refusal> {
        let url = self.policy.check_url(text)?;
        let Some(url::Host::Domain(name)) = url.host() else { return Ok(url) };
        let port = url.port_or_known_default().unwrap_or_default();
        let resolving = tokio::time::timeout(patience, self.network.resolve(name.to_owned()));
        let Ok(Ok(ips)) = resolving.await else {
            Policy::check_port(port)?;
            return Ok(url);
        };
        for ip in ips {
            self.policy.check(ip, port)?;
        }
        Ok(url)
    }

    /// Posts a body. Everything, from resolving the name to the end of the body, is over by the deadline.
    pub async fn post(
        &self,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Answer, Failure> {
        tokio::time::timeout(deadline, self.exchange(url, headers, body))
            .await
            .unwrap_or(Err(Failure::TimedOut))
    }

    /// Sends a call and reads its whole answer, all by the deadline.
    pub async fn fetch(&self, call: Call) -> Result<Fetched, Failure> {
        let deadline = call.deadline;
        let whole = async {
            let response = self.send(call.method, &call.url, call.headers, call.body).await?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, call.answer_len_max).collect().await;
            let body = body.map_err(|_| Failure::NoAnswer)?.to_bytes();
            Ok(Fetched { status: parts.status, headers: parts.headers, body })
        };
        tokio::time::timeout(deadline, whole).await.unwrap_or(Err(Failure::TimedOut))
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        let url = self.policy.check_url(url).map_err(Failure::Refused)?;
        let uri: Uri = url.as_str().parse().map_err(|_| Failure::Refused(Refusal::Scheme))?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        self.client.request(request).await.map_err(|error| failure(&error))
    }

    async fn exchange(&self, url: &str, headers: HeaderMap, body: Bytes) -> Result<Answer, Failure> {
        let response = self.send(Method::POST, url, headers, body).await?;
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);
        // Only so long and so much: the status has said what there is to say.
        let reading = tokio::time::timeout(BODY_FOR, discard(response.into_body()));
        reading.await.ok();
        Ok(Answer { status, retry_after })
    }
}

/// Reads the body to its end or its limit.
async fn discard(mut body: Incoming) {
    let mut room = BODY_LEN_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let len = frame.data_ref().map_or(0, Bytes::len);
        let Some(left) = room.checked_sub(len) else { return };
        room = left;
    }
}

fn failure(error: &hyper_util::client::legacy::Error) -> Failure {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(refusal) = current.downcast_ref::<Refusal>() {
            return Failure::Refused(*refusal);
        }
        cause = current.source();
    }
    if error.is_connect() { Failure::NoConnection } else { Failure::NoAnswer }
}

/// The machine's certificates, or the built-in ones of a machine that has none; and further ones, in PEM.
fn tls_config(root_pem: &[u8]) -> anyhow::Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for root in CertificateDer::pem_slice_iter(root_pem) {
        roots.add(root?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Opens connections, each to an address it has checked itself.
#[derive(Clone)]
struct Guard {
    policy: Arc<Policy>,
    network: Arc<dyn Network>,
}

impl Guard {
    async fn connect(self, uri: Uri) -> Result<TokioIo<TcpStream>, BoxError> {
        let host = uri.host().ok_or(Refusal::Scheme)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let mut ips = match host.parse() {
            Ok(ip) => vec![ip],
            Err(_) => self.network.resolve(host.to_owned()).await?,
        };
        for ip in &ips {
            self.policy.check(*ip, port)?;
        }
        ips.dedup();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for ip in ips.into_iter().take(ADDRESSES_MAX) {
            let dialled = tokio::time::timeout(DIAL_FOR, self.network.dial(SocketAddr::new(ip, port))).await;
            match dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => {
                    // Only speeds things up; a socket that refuses it still works.
                    stream.set_nodelay(true).ok();
                    return Ok(TokioIo::new(stream));
                }
                Err(error) => last = error,
            }
        }
        Err(last.into())
    }
}

impl tower::Service<Uri> for Guard {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Boxed<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

#[cfg(test)]
#[path = "egress/tests.rs"]
mod tests;
