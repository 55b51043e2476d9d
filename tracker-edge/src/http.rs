//! hyper's settings, and a request's way to its answer: the hot path, top to bottom. Requests over HTTP/2 come from
//! [`crate::http2`] and go the same way from [`Service::answer`].
//!
//! One connection is one task on its worker's thread. What hyper lets pass and must not is refused here:
//! a missing, repeated or invalid `Host`, a target of a form its method does not have or of another host, any
//! `Transfer-Encoding` (hyper accepts it beside a `Content-Length`, and nothing we serve takes a body), bare
//! line feeds. A refusal, and an answer to a request with a body, closes the connection, so that nothing that
//! follows can be taken for a request. `tests/corpus` has hundreds of such requests and what comes of each.
//!
//! Limits: [`HEAD_BYTES_MAX`] of request head (431), 100 headers (431), [`URI_LEN_MAX`] (414), the
//! deadlines of [`crate::connections`].

use crate::acme;
use crate::addresses::Place;
use crate::clicks::Seen;
use crate::clicks::event::Subs;
use crate::clicks::signatures::{Origin, Verdict};
use crate::clicks::spool::Appended;
use crate::connections::{Ask, Connection, Guard, Phase};
use crate::domains::Site;
use crate::head::Head;
use crate::links::cache::Found;
use crate::links::miss::Fetched;
use crate::pages::Page;
use crate::redirect::{self, Values};
use crate::route::{Route, route, route_on_domain};
use crate::runtime::Worker;
use crate::socket::Watched;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use shared::{LinkKey, LinkRecord, LinkStatus};
use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
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
    let stream = Watched::new(stream, Rc::clone(&guard.connection));
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
        let (parts, body) = request.into_parts();
        let close = !body.is_end_stream() || self.worker.draining.get();
        self.answer(parts, close)
    }
}

impl Service {
    pub(crate) fn new(worker: &Rc<Worker>, peer: IpAddr, guard: &Guard) -> Self {
        Self {
            worker: Rc::clone(worker),
            connection: Rc::clone(&guard.connection),
            peer,
            behind_proxy: worker.edge.addresses.is_trusted(peer),
        }
    }

    /// A request's answer, which says that the connection closes or not. HTTP/2 takes that word out.
    #[inline]
    pub(crate) fn answer(&self, parts: Parts, close: bool) -> Pending {
        self.connection.enter(Phase::Answer);
        let head = Head::read(&parts.headers);
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
        let site = self.worker.edge.domains.site(head.host());
        let path = parts.uri.path();
        let route = match site {
            Site::Ours => route(&parts.method, path),
            Site::Of(_) => route_on_domain(&parts.method, path),
            Site::Removed => Route::Nowhere,
        };
        let (token, record) = match route {
            Route::Click(token) => (token, true),
            Route::Look(token) => (token, false),
            Route::WrongMethod => {
                self.worker.counters.wrong_method.add();
                return ready(page(&self.worker, &pages.wrong_method, parts, close));
            }
            Route::Nowhere => {
                if let Some(token) = acme::token(path).filter(|_| parts.method == Method::GET) {
                    let token = token.to_owned();
                    return Pending::Later(Box::pin(challenge(Rc::clone(&self.worker), token, parts, close)));
                }
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
        let click = Click { link, client, site, record, close };
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

    /// The answer to a request for a host that its connection is not for.
    pub(crate) fn misdirected(&self, parts: Parts) -> Pending {
        self.connection.enter(Phase::Answer);
        self.worker.counters.refused.add();
        let page = page(&self.worker, &self.worker.edge.pages.misdirected, parts, false);
        Pending::Ready(Cell::new(Some(page)))
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
    site: Site,
    /// Whether it is recorded: GET, not HEAD.
    record: bool,
    close: bool,
}

/// What a look-up came to.
enum Outcome {
    Redirect(Vec<u8>),
    Gone,
    /// Somebody else's link on a custom domain.
    Foreign,
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
        if matches!(self.site, Site::Of(owner) if owner != found.advertiser && owner != found.affiliate) {
            worker.counters.not_found.add();
            return Outcome::Foreign;
        }
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
            signed: head.signed && is_signed(worker, self.site, parts, now_ms),
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
            Self::Foreign => {
                Pending::Ready(Cell::new(Some(page(worker, &worker.edge.pages.not_found, parts, close))))
            }
        }
    }
}

/// Whether the request's signature is an agent's. Only requests that have one come here.
#[cold]
fn is_signed(worker: &Worker, site: Site, parts: &Parts, now_ms: i64) -> bool {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let domain = host.filter(|_| site != Site::Ours).map(Origin::of_domain);
    let verdict = worker.edge.signatures.judge(parts, domain.as_ref(), now_ms, &worker.signature_budget);
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

/// What an ACME server that checks a custom domain is answered.
async fn challenge(worker: Rc<Worker>, token: String, parts: Parts, close: bool) -> Answer {
    let counters = &worker.counters;
    let text = match worker.edge.challenges.find(token).await {
        acme::Answer::Found(text) => text,
        acme::Answer::Unknown => {
            counters.not_found.add();
            return page(&worker, &worker.edge.pages.not_found, parts, close);
        }
        acme::Answer::Unavailable => {
            counters.unavailable.add();
            return page(&worker, &worker.edge.pages.unavailable, parts, close);
        }
    };
    counters.challenges.add();
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
    if close || worker.draining.get() {
        headers.insert(header::CONNECTION, CLOSE);
    }
    answer
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
