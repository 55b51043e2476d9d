//! HTTP/2, over TLS only: its streams' requests go the way of [`crate::http`], and no flood of frames lasts.
//!
//! The h2 crate is driven here without hyper, which would make a task of every request, answer HEAD with a body and
//! leave no way to say why a connection ends. One connection stays one task: what has arrived is answered at once,
//! all of it is written together, and only answers that have to wait are kept beside it.
//!
//! What must stay true: an answer is the same as over HTTP/1.1, `Connection` apart; a request that is refused
//! costs its stream, not the connection; whatever a client sends, one connection holds [`STREAMS_MAX`] streams and
//! their prebuilt pages at most, and is ended with GOAWAY when it sends hundreds of frames that ask for nothing
//! ([`meter`]). Bodies are never read: a request that has one is answered, and its stream reset.
//!
//! Deadlines are those of [`crate::connections`]: 5 s for the first request and for one that comes in pieces, 10 s
//! for a client to take its answers, 30 s between requests, whatever else is sent in the meantime.

mod meter;
mod stream;

use crate::addresses::Place;
use crate::answers::Answer;
use crate::connections::{Ask, Connection, Guard, Phase};
use crate::head::Head;
use crate::http::{Pending, Service};
use crate::runtime::Worker;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response};
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use stream::{Metered, Wire};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Requests of one connection at a time. Clients take a hundred for granted before they are told.
const STREAMS_MAX: u32 = 128;
/// Bytes of a request's decoded head; beyond it 431.
const HEAD_BYTES_MAX: u32 = 16 * 1024;
/// More than the longest page.
const SEND_BUFFER_MAX: usize = 16 * 1024;
/// Resets of one connection that were its client's doing.
const RESETS_MAX: usize = 128;
/// Times a connection reads and answers before others have their turn.
const ROUNDS: u32 = 4;
/// Time for the last words of a connection that is closed.
const LAST_WORDS: Duration = Duration::from_millis(250);

type Frames = h2::server::Connection<Metered<TlsStream<TcpStream>>, Bytes>;
type Arrived = Vec<(Request<RecvStream>, SendResponse<Bytes>)>;

/// What a worker's HTTP/2 connections share.
pub(crate) struct Http2 {
    builder: Builder,
    /// Requests on their way from a connection to their answers; empty between two turns.
    arrived: RefCell<Arrived>,
}

impl Http2 {
    pub(crate) fn new() -> Self {
        let mut builder = Builder::new();
        builder
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX)
            // No body is read: none needs to be sent.
            .initial_window_size(0)
            .max_send_buffer_size(SEND_BUFFER_MAX)
            .max_local_error_reset_streams(Some(RESETS_MAX));
        Self { builder, arrived: RefCell::default() }
    }
}

/// Why a connection ends.
enum End {
    /// Nothing is left to do or to say.
    Done,
    /// The sweep closes it.
    Late,
    Flood,
    Broken(h2::Error),
}

/// Serves a connection whose client has chosen HTTP/2, to its end.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    stream: TlsStream<TcpStream>,
    peer: IpAddr,
    guard: Guard,
    _place: Place,
) {
    worker.counters.http2_connections.add();
    let shown = Shown::of(&worker, stream.get_ref().1.server_name());
    let wire = Rc::new(Wire::default());
    let stream = Metered::new(stream, Rc::clone(&guard.connection), Rc::clone(&wire));
    let frames = match guard.connection.unless_closed(worker.http2.builder.handshake(stream)).await {
        Some(Ok(frames)) => frames,
        Some(Err(error)) if !error.is_io() => return guard.refused(),
        Some(Err(_)) | None => return,
    };
    let mut serving = Serving {
        frames,
        service: Service::new(&worker, peer, &guard),
        connection: Rc::clone(&guard.connection),
        wire,
        shown,
        waiting: FuturesUnordered::new(),
        untaken: Vec::new(),
        asked: None,
        resting: None,
        finishing: false,
        worker,
    };
    let end = poll_fn(|context| serving.poll(context)).await;
    let counters = &serving.worker.counters;
    let reason = match end {
        End::Done => return,
        End::Late => Reason::NO_ERROR,
        End::Flood => {
            counters.floods.add();
            Reason::ENHANCE_YOUR_CALM
        }
        // Its GOAWAY is written already.
        End::Broken(error) => {
            if error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM) {
                counters.floods.add();
            } else if error.is_library() {
                guard.refused();
            }
            return;
        }
    };
    serving.frames.abrupt_shutdown(reason);
    let said = poll_fn(|context| serving.frames.poll_closed(context));
    // Who does not listen now never will.
    drop(tokio::time::timeout(LAST_WORDS, said).await);
}

/// One connection.
struct Serving {
    frames: Frames,
    service: Service,
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    wire: Rc<Wire>,
    shown: Shown,
    /// Requests whose answers have to wait.
    waiting: FuturesUnordered<Waiting>,
    /// Answers that their client's window has no room for, the oldest first.
    untaken: Vec<Untaken>,
    /// The tick of the last request.
    asked: Option<u32>,
    /// The tick at which the last answer was taken, while nothing else is to do.
    resting: Option<u32>,
    finishing: bool,
}

impl Serving {
    /// One turn: answers what has come, writes it, and says until when what comes next is waited for.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        self.connection.keep_waker(context.waker());
        match self.connection.asked() {
            Ask::Nothing => {}
            Ask::Finish => self.finish(),
            Ask::Close => return Poll::Ready(End::Late),
        }
        let worker = Rc::clone(&self.worker);
        for _ in 0..ROUNDS {
            while let Poll::Ready(Some(answered)) = self.waiting.poll_next_unpin(context) {
                if let Some((respond, answer, is_head)) = answered {
                    self.send(respond, answer, is_head);
                }
            }
            self.untaken.retain_mut(|untaken| untaken.poll(context).is_pending());
            let mut arrived = worker.http2.arrived.take();
            let ended = self.take(context, &mut arrived);
            let any = !arrived.is_empty();
            for (request, respond) in arrived.drain(..) {
                // What cannot be answered any more was not asked.
                if ended.is_pending() {
                    self.answer(request, respond);
                }
            }
            worker.http2.arrived.replace(arrived);
            if ended.is_ready() {
                return ended;
            }
            if !any {
                self.settle();
                return Poll::Pending;
            }
            self.asked = Some(self.connection.now());
            if worker.draining.get() {
                self.finish();
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what is to be written, and takes the requests that have come.
    fn take(&mut self, context: &mut Context<'_>, arrived: &mut Arrived) -> Poll<End> {
        while arrived.len() < STREAMS_MAX as usize {
            let accepted = self.frames.poll_accept(context);
            if self.wire.is_flood.get() {
                return Poll::Ready(End::Flood);
            }
            match accepted {
                Poll::Ready(Some(Ok(request))) => arrived.push(request),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(End::Broken(error)),
                Poll::Ready(None) => return Poll::Ready(End::Done),
                Poll::Pending => break,
            }
        }
        Poll::Pending
    }

    fn answer(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        self.worker.counters.http2_requests.add();
        self.connection.received();
        let (mut parts, _body) = request.into_parts();
        let is_head = parts.method == Method::HEAD;
        if !parts.headers.contains_key(header::HOST)
            && let Some(authority) = parts.uri.authority()
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            // From here on a request is one of HTTP/1.1 in absolute form: both say the same or it is refused.
            parts.headers.insert(header::HOST, host);
        }
        let pending = if self.shown.is_for(&self.worker, &parts) {
            self.service.answer(parts, false)
        } else {
            self.service.misdirected(parts)
        };
        match pending {
            Pending::Ready(answer) => {
                if let Some(answer) = answer.take() {
                    self.send(respond, answer, is_head);
                }
            }
            pending @ Pending::Later(_) => {
                self.waiting.push(Waiting { respond: Some(respond), pending, is_head });
            }
        }
    }

    fn send(&mut self, mut respond: SendResponse<Bytes>, answer: Answer, is_head: bool) {
        let (mut head, body) = answer.into_parts();
        let body = body.into_inner().unwrap_or_default();
        head.headers.remove(header::CONNECTION);
        head.headers.insert(header::DATE, self.worker.date.value(self.worker.edge.clock.now_ms()));
        if !body.is_empty() {
            head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let is_whole = is_head || body.is_empty();
        // A stream that was reset in the meantime is nobody's any more.
        let Ok(stream) = respond.send_response(Response::from_parts(head, ()), is_whole) else { return };
        if is_whole {
            return;
        }
        let mut untaken = Untaken { stream, rest: body, since: self.connection.now() };
        if !untaken.send() {
            self.untaken.push(untaken);
        }
    }

    /// Says that no further request is taken; those that have come are answered.
    fn finish(&mut self) {
        if !std::mem::replace(&mut self.finishing, true) {
            self.frames.graceful_shutdown();
            // However long it has rested, its client has a moment to say that it knows.
            self.resting = self.resting.map(|_| self.connection.now());
        }
    }

    /// Tells the sweep what the connection waits for, and since when.
    fn settle(&mut self) {
        // Before the first request it has as long as any other connection for it.
        let Some(asked) = self.asked else { return };
        let now = self.connection.now();
        let age = |since: &u32| now.wrapping_sub(*since);
        let stuck = [self.wire.unsent.get(), self.untaken.first().map(|untaken| untaken.since)];
        let stuck = stuck.into_iter().flatten().max_by_key(age);
        if stuck.is_some() || !self.waiting.is_empty() {
            self.resting = None;
            return self.connection.enter_since(Phase::Answer, stuck.unwrap_or(asked));
        }
        let resting = *self.resting.get_or_insert(now);
        let resting = if age(&asked) < age(&resting) { asked } else { resting };
        self.resting = Some(resting);
        match self.wire.unfinished.get() {
            Some(began) if !self.connection.rests_long(resting) => {
                self.connection.enter_since(Phase::Request, began);
            }
            _ => self.connection.enter_since(Phase::Idle, resting),
        }
    }
}

/// A request whose answer has to wait. Comes to nothing when the client does not want it any more.
struct Waiting {
    respond: Option<SendResponse<Bytes>>,
    pending: Pending,
    is_head: bool,
}

impl Future for Waiting {
    type Output = Option<(SendResponse<Bytes>, Answer, bool)>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let is_head = self.is_head;
        let Poll::Ready(answer) = Pin::new(&mut self.pending).poll(context) else {
            let gone = self.respond.as_mut().is_none_or(|respond| respond.poll_reset(context).is_ready());
            return if gone { Poll::Ready(None) } else { Poll::Pending };
        };
        let Ok(answer) = answer;
        Poll::Ready(self.respond.take().map(|respond| (respond, answer, is_head)))
    }
}

/// The rest of a page that its client has given no room for.
struct Untaken {
    stream: SendStream<Bytes>,
    rest: Bytes,
    since: u32,
}

impl Untaken {
    /// Sends what there is room for; whether that was all, or nobody wants it.
    fn send(&mut self) -> bool {
        self.stream.reserve_capacity(self.rest.len());
        let room = self.stream.capacity().min(self.rest.len());
        if room == 0 {
            return false;
        }
        let part = self.rest.split_to(room);
        let is_last = self.rest.is_empty();
        self.stream.send_data(part, is_last).is_err() || is_last
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.send() {
                return Poll::Ready(());
            }
            match self.stream.poll_capacity(context) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Whose certificate a client was shown.
struct Shown {
    /// The name it asked for, if it did.
    name: Option<Box<str>>,
    /// It was a custom domain's own.
    is_domains: bool,
}

impl Shown {
    fn of(worker: &Worker, name: Option<&str>) -> Self {
        let is_domains = name.is_some_and(|name| worker.edge.domains.certificate(name).is_some());
        Self { name: name.map(Box::from), is_domains }
    }

    /// Whether a request may come over this connection (RFC 9110 section 7.4). A client may use one connection for
    /// all hosts its certificate is for, and that of a custom domain is for no other.
    fn is_for(&self, worker: &Worker, parts: &Parts) -> bool {
        let Some(host) = parts.headers.get(header::HOST) else { return true };
        let host = host.as_bytes().split(|byte| *byte == b':').next().unwrap_or_default();
        let host = host.strip_suffix(b".").unwrap_or(host);
        if self.name.as_ref().is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(host)) {
            return true;
        }
        let Ok(host) = std::str::from_utf8(host) else { return true };
        let is_other = self.is_domains || worker.edge.domains.certificate(host).is_some();
        // What is unsound is refused as such.
        !is_other || !Head::read(&parts.headers).is_sound(parts)
    }
}
