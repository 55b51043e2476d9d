//! hyper's settings, and a request's way to its answer: the hot path, top to bottom.
//!
//! One connection is one task on its worker's thread. What hyper lets pass and must not is refused here:
//! a missing, repeated or invalid `Host`, a target of a form its method does not have or of another host, any
//! `Transfer-Encoding` (hyper accepts it beside a `Content-Length`, and nothing we serve takes a body), bare
//! line feeds. A refusal, and an answer to a request with a body, closes the connection, so that nothing that
//! follows can be taken for a request. `tests/corpus` has hundreds of such requests and what comes of each.
//!
//! Limits: [`HEAD_BYTES_MAX`] of request head (431), 100 headers (431), [`URI_LEN_MAX`] (414), the
//! deadlines of [`crate::connections`].

use crate::addresses::Place;
use crate::clicks::Seen;
use crate::clicks::event::Subs;
use crate::clicks::signatures::Verdict;
use crate::clicks::spool::Appended;
use crate::connections::{Ask, Connection, Guard, Phase};
use crate::head::Head;
use crate::links::cache::Found;
use crate::links::miss::Fetched;
use crate::pages::Page;
use crate::redirect::{self, Values};
use crate::route::{Route, route};
use crate::runtime::Worker;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use shared::{LinkKey, LinkRecord, LinkStatus};
use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes of a request's head, and of what is buffered per connection.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Characters of path and query.
const URI_LEN_MAX: usize = 2048;

pub(crate) type Answer = Response<Full<Bytes>>;

/// hyper as the edge uses it.
pub(crate) fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // The sweep of `connections` is the deadline: hyper's costs a boxed timer per request.
    builder.header_read_timeout(None).max_buf_size(HEAD_BYTES_MAX).keep_alive(true).half_close(false);
    builder
}

/// Serves one connection in a task of its own.
pub(crate) fn serve(worker: &Rc<Worker>, stream: TcpStream, peer: IpAddr, guard: Guard, place: Place) {
    let stream = Watched { stream, connection: Rc::clone(&guard.connection), last: 0 };
    tokio::task::spawn_local(run(connection(worker, stream, peer, &guard), guard, place));
}

/// One connection over a stream that tells when bytes come and go.
pub(crate) fn connection<S: AsyncRead + AsyncWrite + Unpin>(
    worker: &Rc<Worker>,
    stream: S,
    peer: IpAddr,
    guard: &Guard,
) -> http1::Connection<TokioIo<S>, Service> {
    worker.http.serve_connection(TokioIo::new(stream), Service::new(worker, peer, guard))
}

/// Drives a connection to its end, or to where the sweep or a stop asks it to end.
pub(crate) async fn run<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    serving: http1::Connection<TokioIo<S>, Service>,
    guard: Guard,
    _place: Place,
) {
    let mut serving = pin!(serving);
    let mut finishing = false;
    let served = poll_fn(|context| {
        guard.connection.keep_waker(context.waker());
        match guard.connection.asked() {
            Ask::Nothing => {}
            Ask::Finish if finishing => {}
            Ask::Finish => {
                finishing = true;
                serving.as_mut().graceful_shutdown();
            }
            Ask::Close => return Poll::Ready(Ok(())),
        }
        serving.as_mut().poll(context)
    });
    // Clients that go away are no event of ours; those that talk nonsense hyper has answered itself.
    if served.await.is_err_and(|error| error.is_parse()) {
        guard.refused();
    }
}

/// A socket that notes when bytes come and go.
struct Watched {
    stream: TcpStream,
    connection: Rc<Connection>,
    /// The last byte read, for line ends that span two reads.
    last: u8,
}

impl AsyncRead for Watched {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buf);
        if let Some(read) = buf.filled().get(before..).filter(|read| !read.is_empty()) {
            if has_bare_line_feed(self.last, read) {
                self.connection.malformed.set(true);
            }
            self.last = read.last().copied().unwrap_or(0);
            self.connection.received();
        }
        polled
    }
}

impl AsyncWrite for Watched {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, buf);
        if matches!(polled, Poll::Ready(Ok(written)) if written == buf.len()) {
            self.connection.written();
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Whether a line ends in a line feed alone. The parser takes it for a line end, proxies may not: two
/// opinions on where a request ends are how requests are smuggled.
#[inline]
pub(crate) fn has_bare_line_feed(before: u8, read: &[u8]) -> bool {
    let starts_bare = read.first() == Some(&b'\n') && before != b'\r';
    // Without a way out in the middle it is done for sixteen bytes at a time.
    let pairs = read.iter().zip(read.get(1..).unwrap_or_default());
    let bare = |(previous, byte): (&u8, &u8)| u8::from(*byte == b'\n') & u8::from(*previous != b'\r');
    starts_bare || pairs.map(bare).fold(0, |any, one| any | one) != 0
}

/// Answers the requests of one connection.
pub(crate) struct Service {
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    peer: IpAddr,
    behind_proxy: bool,
}

/// An answer that is ready, as on every hit, or one that has to wait.
pub(crate) enum Pending {
    Ready(Cell<Option<Answer>>),
    Later(Pin<Box<dyn Future<Output = Answer>>>),
}

impl Future for Pending {
    type Output = Result<Answer, Infallible>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Ready(answer) => answer.take().map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer))),
            Self::Later(later) => later.as_mut().poll(context).map(Ok),
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pending;

    #[inline]
    fn call(&self, request: Request<Incoming>) -> Pending {
        self.connection.enter(Phase::Answer);
        let (parts, body) = request.into_parts();
        let head = Head::read(&parts.headers);
        let close = !body.is_end_stream() || self.worker.draining.get();
        let ready = |answer| Pending::Ready(Cell::new(Some(answer)));
        if self.connection.malformed.get() || !head.is_sound(&parts) {
            self.worker.counters.refused.add();
            return ready(page(&self.worker, &self.worker.edge.pages.bad_request, parts, true));
        }
        let pages = &self.worker.edge.pages;
        if parts.uri.path_and_query().is_some_and(|target| target.as_str().len() > URI_LEN_MAX) {
            self.worker.counters.refused.add();
            return ready(page(&self.worker, &pages.uri_too_long, parts, true));
        }
        let (token, record) = match route(&parts.method, parts.uri.path()) {
            Route::Click(token) => (token, true),
            Route::Look(token) => (token, false),
            Route::WrongMethod => {
                self.worker.counters.wrong_method.add();
                return ready(page(&self.worker, &pages.wrong_method, parts, close));
            }
            Route::Nowhere => {
                self.worker.counters.not_found.add();
                return ready(page(&self.worker, &pages.not_found, parts, close));
            }
        };
        let Some(link) = self.worker.edge.tokens.parse(token.as_bytes()) else {
            self.worker.counters.not_found.add();
            return ready(page(&self.worker, &pages.not_found, parts, close));
        };
        if head.prefetch {
            self.worker.counters.prefetches.add();
            return ready(page(&self.worker, &pages.prefetch, parts, close));
        }
        let client = self.client(&parts.headers);
        let click = Click { link, client, record, close };
        let found = {
            let mut scratch = self.worker.scratch.borrow_mut();
            let now_ms = self.worker.edge.clock.now_ms();
            let found = self.worker.edge.links.lookup(link, now_ms, &mut scratch);
            found.map(|found| click.outcome(&self.worker, &found, &head, &parts, now_ms))
        };
        match found {
            Some(outcome) => outcome.into_pending(&self.worker, parts, close),
            None => Pending::Later(Box::pin(missed(Rc::clone(&self.worker), click, parts))),
        }
    }
}

impl Service {
    fn new(worker: &Rc<Worker>, peer: IpAddr, guard: &Guard) -> Self {
        Self {
            worker: Rc::clone(worker),
            connection: Rc::clone(&guard.connection),
            peer,
            behind_proxy: worker.edge.addresses.is_trusted(peer),
        }
    }

    /// The client's address: the peer's, or what a proxy of ours says.
    fn client(&self, headers: &HeaderMap) -> IpAddr {
        if !self.behind_proxy {
            return self.peer;
        }
        let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        // `get_all` cannot be walked backwards; a request seldom has more than one.
        let forwarded: Vec<&str> = forwarded.collect();
        self.worker.edge.addresses.client_of(self.peer, forwarded.into_iter())
    }
}

/// A request for a link, as far as it outlives the look-up.
#[derive(Clone, Copy)]
struct Click {
    link: LinkKey,
    client: IpAddr,
    /// Whether it is recorded: GET, not HEAD.
    record: bool,
    close: bool,
}

/// What a look-up came to.
enum Outcome {
    Redirect(Vec<u8>),
    Gone,
}

impl Click {
    /// Decides the answer, and records the click if it is one.
    #[inline]
    fn outcome(
        &self,
        worker: &Worker,
        found: &Found<'_>,
        head: &Head<'_>,
        parts: &Parts,
        now_ms: i64,
    ) -> Outcome {
        let record = match found.status {
            LinkStatus::Gone => {
                worker.counters.gone.add();
                return Outcome::Gone;
            }
            LinkStatus::Untracked => false,
            LinkStatus::Active => self.record,
        };
        let subs = Subs::of(parts.uri.query());
        let token = || worker.edge.tokens.mint(self.link);
        if !record {
            worker.counters.unrecorded.add();
            let token = if found.has_macros { Some(token()) } else { None };
            let token = token.as_ref().map_or("", |token| token.as_str());
            return Outcome::Redirect(redirect::location(
                found,
                &Values { click_id: "", token, subs: &subs },
            ));
        }
        let seen = Seen {
            at_ms: now_ms,
            address: self.client,
            user_agent: head.user_agent,
            referrer: head.referrer,
            subs: &subs,
            signed: head.signed && is_signed(worker, parts, now_ms),
        };
        let mut recorder = worker.recorder.borrow_mut();
        let begun = recorder.begin(self.link, found, &seen);
        let location = if redirect::wants_click_id(found) {
            let (id, token) = (recorder.id_text(&begun), token());
            let click_id = std::str::from_utf8(&id).unwrap_or_default();
            redirect::location(found, &Values { click_id, token: token.as_str(), subs: &subs })
        } else {
            redirect::location(found, &Values { click_id: "", token: "", subs: &subs })
        };
        if recorder.finish(&begun, found, &seen) == Appended::Lost {
            worker.counters.lost.add();
        }
        worker.counters.redirects.add();
        worker.counters.clicks[begun.class as usize].add();
        Outcome::Redirect(location)
    }
}

impl Outcome {
    #[inline]
    fn into_pending(self, worker: &Rc<Worker>, parts: Parts, close: bool) -> Pending {
        match self {
            Self::Redirect(location) if worker.edge.strict => {
                let durable = worker.recorder.borrow().commit();
                Pending::Later(Box::pin(async move {
                    // A disk that refuses fails no redirect; the spool has declared the click lost.
                    let _durability = durable.await;
                    redirect(parts, location, close)
                }))
            }
            Self::Redirect(location) => Pending::Ready(Cell::new(Some(redirect(parts, location, close)))),
            Self::Gone => {
                Pending::Ready(Cell::new(Some(page(worker, &worker.edge.pages.gone, parts, close))))
            }
        }
    }
}

/// Whether the request's signature is an agent's. Only requests that have one come here.
#[cold]
fn is_signed(worker: &Worker, parts: &Parts, now_ms: i64) -> bool {
    let verdict = worker.edge.signatures.judge(parts, now_ms, &worker.signature_budget);
    worker.counters.signatures[verdict as usize].add();
    verdict == Verdict::Verified
}

/// A link that was not in memory: asks Redis, within the miss deadline.
async fn missed(worker: Rc<Worker>, click: Click, parts: Parts) -> Answer {
    worker.counters.misses.add();
    let fetched = worker.edge.links.fetch(click.link).await;
    let record = match &fetched {
        Fetched::Record(bytes) => LinkRecord::decode(bytes).ok(),
        Fetched::Unknown => {
            worker.counters.not_found.add();
            return page(&worker, &worker.edge.pages.not_found, parts, click.close);
        }
        Fetched::Unavailable => None,
    };
    let Some(record) = record else {
        worker.counters.unavailable.add();
        return page(&worker, &worker.edge.pages.unavailable, parts, click.close);
    };
    let outcome = {
        let head = Head::read(&parts.headers);
        let now_ms = worker.edge.clock.now_ms();
        click.outcome(&worker, &Found::from(record), &head, &parts, now_ms)
    };
    match outcome.into_pending(&worker, parts, click.close).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    }
}

const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("private, no-store");
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// The redirect itself: the request's header map, emptied, becomes the answer's, which saves its
/// allocation here and in hyper.
#[inline]
fn redirect(parts: Parts, location: Vec<u8>, close: bool) -> Answer {
    let mut headers = parts.headers;
    headers.clear();
    let location = HeaderValue::from_maybe_shared(Bytes::from(location));
    // Records hold printable ASCII only, and what is put into them is percent-encoded.
    headers.insert(header::LOCATION, location.expect("a decoded record is printable ASCII"));
    headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
    if close {
        headers.insert(header::CONNECTION, CLOSE);
    }
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::FOUND;
    *answer.headers_mut() = headers;
    answer
}

/// Any other answer.
fn page(worker: &Worker, page: &Page, parts: Parts, close: bool) -> Answer {
    let wants_json = parts
        .headers
        .get_all(header::ACCEPT)
        .iter()
        .any(|accept| accept.as_bytes().windows(4).any(|window| window.eq_ignore_ascii_case(b"json")));
    let mut headers = parts.headers;
    headers.clear();
    let (body, content_type) = if wants_json {
        (page.json.clone(), HeaderValue::from_static("application/json"))
    } else {
        (page.html.clone(), HeaderValue::from_static("text/html; charset=utf-8"))
    };
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
    match page.status {
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    if close || worker.draining.get() {
        headers.insert(header::CONNECTION, CLOSE);
    }
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = page.status;
    *answer.headers_mut() = headers;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_line_feeds_are_seen_across_reads() {
        assert!(!has_bare_line_feed(0, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(!has_bare_line_feed(b'\r', b"\nHost: a\r\n\r\n"));
        assert!(has_bare_line_feed(b'x', b"\nHost: a\r\n\r\n"));
        assert!(has_bare_line_feed(0, b"GET / HTTP/1.1\nHost: a\r\n\r\n"));
    }
}
