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
use crate::answers::{self, Answer, page, redirect};
use crate::clicks::Seen;
use crate::clicks::event::Subs;
use crate::clicks::signatures::{Origin, Verdict};
use crate::clicks::spool::Appended;
use crate::connections::{Ask, Connection, Guard, Phase};
use crate::domains::Site;
use crate::fast::{self, Plain};
use crate::head::Head;
use crate::links::cache::Found;
use crate::links::miss::Fetched;
use crate::redirect::{Values, location, wants_click_id};
use crate::route::{Route, route, route_on_domain};
use crate::runtime::Worker;
use crate::socket::Watched;
use http::header::{self, HeaderMap};
use http::request::Parts;
use http::{Method, Request};
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
pub(crate) const URI_LEN_MAX: usize = 2048;

/// hyper as the edge uses it.
pub(crate) fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // The sweep of `connections` is the deadline: hyper's costs a boxed timer per request.
    builder.header_read_timeout(None).max_buf_size(HEAD_BYTES_MAX).keep_alive(true).half_close(false);
    builder
}

/// Serves one connection in a task of its own.
pub(crate) fn serve(worker: &Rc<Worker>, stream: TcpStream, peer: IpAddr, guard: Guard, place: Place) {
    if worker.edge.fast_path {
        tokio::task::spawn_local(fast::serve(Rc::clone(worker), stream, peer, guard, place));
        return;
    }
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
                // What it has not seen yet it takes for nothing: a request that has come in part is one in hand.
                if let Poll::Ready(served) = serving.as_mut().poll(context) {
                    return Poll::Ready(served);
                }
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
            let signed = || is_signed(&self.worker, site, &parts, now_ms);
            found.map(|found| click.outcome(&self.worker, &found, &head, parts.uri.query(), signed, now_ms))
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

    /// A redirect's `Location` for a plain GET of a link in memory, which is recorded; `None` for everything that
    /// needs more thought, of which nothing is recorded or counted.
    #[inline]
    pub(crate) fn redirect_at_once(&self, plain: &Plain<'_>, now_ms: i64) -> Option<Vec<u8>> {
        let (worker, edge) = (&*self.worker, &*self.worker.edge);
        if worker.draining.get() || edge.strict {
            return None;
        }
        let site = edge.domains.site(plain.host);
        let route = match site {
            Site::Ours => route(&Method::GET, plain.path),
            Site::Of(_) => route_on_domain(&Method::GET, plain.path),
            Site::Removed => Route::Nowhere,
        };
        let Route::Click(token) = route else { return None };
        let link = edge.tokens.parse(token.as_bytes())?;
        let client = if self.behind_proxy {
            edge.addresses.client_of(self.peer, plain.forwarded.iter().copied())
        } else {
            self.peer
        };
        let mut scratch = worker.scratch.borrow_mut();
        let found = edge.links.lookup(link, now_ms, &mut scratch)?;
        let click = Click { link, client, site, record: true, close: false };
        if click.is_foreign(&found) || found.status == LinkStatus::Gone {
            return None;
        }
        let head = Head::plain(plain.host, plain.user_agent, plain.referrer);
        match click.outcome(worker, &found, &head, plain.query, || false, now_ms) {
            Outcome::Redirect(location) => Some(location),
            Outcome::Gone | Outcome::Foreign => None,
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
    /// Whether it asks a custom domain for somebody else's link.
    #[inline]
    fn is_foreign(&self, found: &Found<'_>) -> bool {
        matches!(self.site, Site::Of(owner) if owner != found.advertiser && owner != found.affiliate)
    }

    /// Decides the answer, and records the click if it is one.
    #[inline]
    fn outcome(
        &self,
        worker: &Worker,
        found: &Found<'_>,
        head: &Head<'_>,
        query: Option<&str>,
        signed: impl FnOnce() -> bool,
        now_ms: i64,
    ) -> Outcome {
        if self.is_foreign(found) {
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
        let subs = Subs::of(query);
        let token = || worker.edge.tokens.mint(self.link);
        if !record {
            worker.counters.unrecorded.add();
            let token = if found.has_macros { Some(token()) } else { None };
            let token = token.as_ref().map_or("", |token| token.as_str());
            return Outcome::Redirect(location(found, &Values { click_id: "", token, subs: &subs }));
        }
        let seen = Seen {
            at_ms: now_ms,
            address: self.client,
            user_agent: head.user_agent,
            referrer: head.referrer,
            subs: &subs,
            signed: head.signed && signed(),
        };
        let mut recorder = worker.recorder.borrow_mut();
        let begun = recorder.begin(self.link, found, &seen);
        let leads_to = if wants_click_id(found) {
            let (id, token) = (recorder.id_text(&begun), token());
            let click_id = std::str::from_utf8(&id).unwrap_or_default();
            location(found, &Values { click_id, token: token.as_str(), subs: &subs })
        } else {
            location(found, &Values { click_id: "", token: "", subs: &subs })
        };
        if recorder.finish(&begun, found, &seen) == Appended::Lost {
            worker.counters.lost.add();
        }
        worker.counters.redirects.add();
        worker.counters.clicks[begun.class as usize].add();
        Outcome::Redirect(leads_to)
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
        let signed = || is_signed(&worker, click.site, &parts, now_ms);
        click.outcome(&worker, &Found::from(record), &head, parts.uri.query(), signed, now_ms)
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
    answers::text(&worker, text, close)
}
