//! The plain click, answered without hyper. Off unless `AOS_EDGE_FAST_PATH` is on.
//!
//! What must stay true: nobody can tell. A request is answered here only when all of it has come, it is a GET over
//! HTTP/1.1 of an ordinary path and query, it has one sound `Host`, and nothing in it asks for more than a redirect
//! (a body, an upgrade, an expectation, another end of the connection, a prefetch, a signature); and only when its
//! link is in memory. Anything else goes to hyper with the bytes that were read, and so does all that follows on
//! its connection. `tests/it/corpus.rs` sends the whole corpus to an edge with and to one without.
//!
//! Bytes are read into one buffer of the worker's, so that a connection at rest holds none; what is left of a
//! request that came in part is kept with its connection.
//!
//! Limits: [`HEAD_BYTES_MAX`] and [`HEADERS_MAX`] of a request (more is hyper's); [`OUT_BYTES_MAX`] of answers
//! before they are written, and nothing more is answered while a client takes none.

use crate::addresses::Place;
use crate::connections::{Ask, Connection, Guard, Phase};
use crate::head::is_host;
use crate::http::{self, Service, URI_LEN_MAX};
use crate::runtime::Worker;
use crate::socket::{Watched, has_bare_line_feed};
use ::http::HeaderValue;
use std::cell::RefCell;
use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 32;
const OUT_BYTES_MAX: usize = 16 * 1024;
/// What is read at a time.
const READ_BYTES: usize = 16 * 1024;
/// `X-Forwarded-For` of a request.
const FORWARDED_MAX: usize = 4;

/// What a worker's connections share while they have their turn.
pub(crate) struct Buffers(RefCell<(Box<[u8]>, Vec<u8>)>);

impl Buffers {
    pub(crate) fn new() -> Self {
        Self(RefCell::new((vec![0; READ_BYTES].into_boxed_slice(), Vec::with_capacity(READ_BYTES))))
    }
}

/// A GET that asks for nothing but a redirect.
pub(crate) struct Plain<'a> {
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) host: &'a [u8],
    pub(crate) user_agent: &'a [u8],
    pub(crate) referrer: &'a [u8],
    /// What proxies say of the client.
    pub(crate) forwarded: &'a [&'a str],
}

/// Serves one plain connection, from its first byte to its end.
pub(crate) async fn serve(worker: Rc<Worker>, stream: TcpStream, peer: IpAddr, guard: Guard, place: Place) {
    let mut serving = Serving {
        stream,
        service: Service::new(&worker, peer, &guard),
        connection: Rc::clone(&guard.connection),
        worker,
        kept: Vec::new(),
        unsent: Vec::new(),
        last: 0,
        to_hyper: false,
    };
    match poll_fn(|context| serving.poll(context)).await {
        End::Closed => {}
        End::Hyper => {
            let Serving { stream, kept, worker, .. } = serving;
            let stream = Watched::after(stream, Rc::clone(&guard.connection), kept);
            http::run(http::connection(&worker, stream, peer, &guard), guard, place).await;
        }
    }
}

enum End {
    Closed,
    /// The rest is for hyper.
    Hyper,
}

struct Serving {
    stream: TcpStream,
    service: Service,
    connection: Rc<Connection>,
    worker: Rc<Worker>,
    /// Read, and not answered yet.
    kept: Vec<u8>,
    /// Answered, and not taken yet.
    unsent: Vec<u8>,
    /// The last byte read, for line ends that span two reads.
    last: u8,
    to_hyper: bool,
}

impl Serving {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        self.connection.keep_waker(context.waker());
        let finishes = match self.connection.asked() {
            Ask::Nothing => false,
            Ask::Finish => true,
            Ask::Close => return Poll::Ready(End::Closed),
        };
        loop {
            if !self.unsent.is_empty() {
                let unsent = std::mem::take(&mut self.unsent);
                match self.write(context, &unsent) {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => return Poll::Ready(End::Closed),
                    Poll::Pending => return Poll::Pending,
                }
                if !self.to_hyper && !self.kept.is_empty() {
                    // Answered no further while nothing was taken.
                    let kept = std::mem::take(&mut self.kept);
                    match self.answer_and_write(context, &kept) {
                        Poll::Ready(true) => continue,
                        Poll::Ready(false) => return Poll::Ready(End::Closed),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            }
            if self.to_hyper {
                return Poll::Ready(End::Hyper);
            }
            if finishes {
                return Poll::Ready(if self.kept.is_empty() { End::Closed } else { End::Hyper });
            }
            match self.read(context) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(End::Closed),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Reads once, and answers what has come. `false` at the connection's end.
    fn read(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let worker = Rc::clone(&self.worker);
        let mut buffers = worker.fast.0.borrow_mut();
        let (input, out) = &mut *buffers;
        let before = self.kept.len();
        let Some((kept, room)) = input.split_at_mut_checked(before) else {
            self.to_hyper = true;
            return Poll::Ready(true);
        };
        let mut buf = ReadBuf::new(room);
        let len = match Pin::new(&mut self.stream).poll_read(context, &mut buf) {
            Poll::Ready(Ok(())) => buf.filled().len(),
            Poll::Ready(Err(_)) => return Poll::Ready(false),
            Poll::Pending => return Poll::Pending,
        };
        if len == 0 {
            return Poll::Ready(false);
        }
        kept.copy_from_slice(&self.kept);
        self.kept.clear();
        self.connection.received();
        let read = input.get(..before + len).unwrap_or_default();
        let new = read.get(before..).unwrap_or_default();
        if has_bare_line_feed(self.last, new) {
            // Nothing of what came with it is answered here, as hyper's side refuses all of it.
            self.to_hyper = true;
            self.kept.extend_from_slice(read);
            return Poll::Ready(true);
        }
        self.last = new.last().copied().unwrap_or_default();
        self.answer(read, out);
        self.flush(context, out)
    }

    fn answer_and_write(&mut self, context: &mut Context<'_>, read: &[u8]) -> Poll<bool> {
        let worker = Rc::clone(&self.worker);
        let mut buffers = worker.fast.0.borrow_mut();
        self.answer(read, &mut buffers.1);
        self.flush(context, &buffers.1)
    }

    /// Answers one request after the other, and keeps what is left.
    fn answer(&mut self, mut read: &[u8], out: &mut Vec<u8>) {
        out.clear();
        let now_ms = self.worker.edge.clock.now_ms();
        while !read.is_empty() && out.len() < OUT_BYTES_MAX {
            let len = parse(read, |plain| {
                let location = self.service.redirect_at_once(&plain, now_ms)?;
                self.connection.enter(Phase::Answer);
                write_redirect(&location, &self.worker.date.value(now_ms), out);
                Some(())
            });
            match len {
                Parsed::Answered(len) => read = read.get(len..).unwrap_or_default(),
                Parsed::InPart if read.len() < HEAD_BYTES_MAX => break,
                Parsed::InPart | Parsed::NotOurs => {
                    self.to_hyper = true;
                    break;
                }
            }
        }
        self.kept.extend_from_slice(read);
    }

    fn flush(&mut self, context: &mut Context<'_>, out: &[u8]) -> Poll<bool> {
        if out.is_empty() { Poll::Ready(true) } else { self.write(context, out) }
    }

    /// Writes all of it; what is not taken now is kept. `false` when nobody takes it any more.
    fn write(&mut self, context: &mut Context<'_>, mut out: &[u8]) -> Poll<bool> {
        while !out.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, out) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(false),
                Poll::Ready(Ok(written)) => out = out.get(written..).unwrap_or_default(),
                Poll::Pending => {
                    self.unsent = out.to_vec();
                    return Poll::Pending;
                }
            }
        }
        self.connection.written();
        if !self.kept.is_empty() && !self.to_hyper {
            self.connection.enter(Phase::Request);
        }
        Poll::Ready(true)
    }
}

/// The bytes hyper would write.
#[inline]
pub(crate) fn write_redirect(location: &[u8], date: &HeaderValue, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 302 Found\r\nlocation: ");
    out.extend_from_slice(location);
    out.extend_from_slice(b"\r\ncache-control: private, no-store\r\ncontent-length: 0\r\ndate: ");
    out.extend_from_slice(date.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
}

pub(crate) enum Parsed {
    /// So many bytes were a request that has its answer.
    Answered(usize),
    /// More has to come.
    InPart,
    NotOurs,
}

/// Reads the first request. `answer` may still refuse it.
#[inline]
pub(crate) fn parse(read: &[u8], answer: impl FnOnce(Plain<'_>) -> Option<()>) -> Parsed {
    const START: &[u8] = b"GET /";
    if !read.starts_with(START) {
        return if START.starts_with(read) { Parsed::InPart } else { Parsed::NotOurs };
    }
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let len = match request.parse_with_uninit_headers(read, &mut headers) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Parsed::InPart,
        Err(_) => return Parsed::NotOurs,
    };
    let (Some(target), Some(1)) = (request.path, request.version) else { return Parsed::NotOurs };
    let ordinary = |text: &str| text.bytes().take_while(|byte| is_ordinary(*byte)).count();
    let (path, behind) = target.split_at(ordinary(target));
    let query = behind.strip_prefix('?');
    if query.map_or(!behind.is_empty(), |query| ordinary(query) != query.len()) {
        return Parsed::NotOurs;
    }
    if target.len() > URI_LEN_MAX {
        return Parsed::NotOurs;
    }
    let mut forwarded = [""; FORWARDED_MAX];
    let Some(told) = Told::read(request.headers, &mut forwarded) else { return Parsed::NotOurs };
    let plain = Plain {
        path,
        query,
        host: told.host,
        user_agent: told.user_agent,
        referrer: told.referrer,
        forwarded: forwarded.get(..told.forwarded).unwrap_or_default(),
    };
    if answer(plain).is_some() { Parsed::Answered(len) } else { Parsed::NotOurs }
}

/// Characters that mean nothing to a parser of paths and queries.
#[inline]
const fn is_ordinary(byte: u8) -> bool {
    const ORDINARY: [bool; 256] = {
        let (mut table, mut byte) = ([false; 256], 0);
        while byte < 128 {
            let character = byte as u8;
            table[byte] = character.is_ascii_alphanumeric()
                || matches!(character, b'-' | b'.' | b'_' | b'~' | b'/' | b'%' | b'&' | b'=' | b'+')
                || matches!(character, b':' | b',' | b'@' | b'!' | b'*');
            byte += 1;
        }
        table
    };
    ORDINARY[byte as usize]
}

/// What a plain request's headers tell.
struct Told<'a> {
    host: &'a [u8],
    user_agent: &'a [u8],
    referrer: &'a [u8],
    forwarded: usize,
}

impl<'a> Told<'a> {
    /// `None` when there is something that needs more thought.
    #[inline]
    fn read(headers: &[httparse::Header<'a>], forwarded: &mut [&'a str; FORWARDED_MAX]) -> Option<Self> {
        let mut host = None;
        let mut told = Self { host: b"", user_agent: b"", referrer: b"", forwarded: 0 };
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            // By length first: most headers are none of these.
            match header.name.len() {
                4 if is("host") && host.replace(header.value).is_some() => return None,
                7 if is("referer") => told.referrer = header.value,
                10 if is("user-agent") => told.user_agent = header.value,
                10 if is("connection") && !header.value.eq_ignore_ascii_case(b"keep-alive") => return None,
                2 if is("te") => return None,
                5 if is("x-moz") => return None,
                6 if is("expect") => return None,
                7 if is("upgrade") || is("purpose") || is("trailer") => return None,
                11 if is("sec-purpose") => return None,
                14 if is("content-length") => return None,
                15 if is("signature-input") => return None,
                15 if is("x-forwarded-for") => {
                    *forwarded.get_mut(told.forwarded)? = visible(header.value)?;
                    told.forwarded += 1;
                }
                16 if is("proxy-connection") => return None,
                17 if is("transfer-encoding") => return None,
                _ => {}
            }
        }
        told.host = host?;
        is_host(told.host).then_some(told)
    }
}

/// As hyper's `to_str` takes it.
fn visible(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')).then_some(text)
}
