//! What the fuzz targets in `fuzz/` reach into: readers of bytes that somebody else wrote. Not part of the
//! program; compiled with the feature `fuzzing` alone.

use crate::addresses::Addresses;
use crate::clicks::signatures::{self, Origin};
use crate::clicks::spool::{SpoolConfig, SpoolSet};
use crate::fast::{self, Parsed};
use crate::head::Head;
use crate::links::cache::Cache;
use crate::links::snapshot;
use crate::route::{Route, route};
use crate::socket::has_bare_line_feed;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Version};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use shared::{LinkRecord, SystemClock};
use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the edge makes of a request's head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Judged {
    /// Refused.
    Unsound,
    /// A tracking link's token, to be looked up.
    Token(String),
    /// Anything else that is answered.
    Other,
}

/// Reads a head as a request's way to its answer does.
pub fn judge(parts: &Parts) -> Judged {
    let head = Head::read(&parts.headers);
    if !head.is_sound(parts) {
        return Judged::Unsound;
    }
    match route(&parts.method, parts.uri.path()) {
        Route::Click(token) | Route::Look(token) => Judged::Token(token.to_owned()),
        Route::WrongMethod | Route::Nowhere => Judged::Other,
    }
}

/// The client's address behind a trusted proxy on loopback.
pub fn client_of(forwarded: &[&str]) -> IpAddr {
    let addresses = Addresses::new(None, vec![IpAddr::from(Ipv4Addr::LOCALHOST).into()], Vec::new());
    addresses.client_of(Ipv4Addr::LOCALHOST.into(), forwarded.iter().copied())
}

/// The bytes a signature would have to sign, for a site at this origin; `None` when there is nothing to verify.
pub fn signature_base(parts: &Parts, origin: &str) -> Option<String> {
    signatures::base(parts, &[Origin::parse(origin)?])
}

/// Writes a snapshot of these links.
pub fn save_snapshot(path: &Path, links: &[LinkRecord<'_>]) -> std::io::Result<u64> {
    let cache = Cache::new(1 << 24, Arc::new(SystemClock));
    for link in links {
        cache.put(link);
    }
    snapshot::save(path, &cache, None)
}

/// Reads a snapshot; gives how many links it had, and how many there are in the map then.
pub fn load_snapshot(path: &Path) -> Option<(u64, u64)> {
    let cache = Cache::new(1 << 24, Arc::new(SystemClock));
    let (links, _) = snapshot::load(path, &cache).ok()?;
    Some((links, cache.size().links as u64))
}

/// Recovers a spool folder and gives how many spools it had. Nothing is written to it afterwards.
pub fn recover(folder: &Path) -> Option<usize> {
    let config = SpoolConfig { segment_bytes: 64 << 10, ..SpoolConfig::new(folder) };
    SpoolSet::open_still(config).ok().map(|set| set.report().len())
}

/// What a plain click is told by.
#[derive(PartialEq, Eq, Debug)]
pub struct Plainly {
    path: String,
    query: Option<String>,
    host: Vec<u8>,
    user_agent: Vec<u8>,
    referrer: Vec<u8>,
    forwarded: Vec<String>,
}

/// What came of some bytes: the requests, every byte of the answers but their dates.
#[derive(PartialEq, Eq, Debug)]
pub struct Came {
    /// In their order.
    pub requests: Vec<Plainly>,
    /// One after the other.
    pub answers: String,
}

const LOCATION: &[u8] = b"https://shop.example/";

fn without_dates(answers: &[u8]) -> String {
    let text = String::from_utf8_lossy(answers);
    text.split_inclusive('\n').filter(|line| !line.starts_with("date: ")).collect()
}

/// What the fast path answers at the start of these bytes, and how many of them that is.
pub fn answered_fast(bytes: &[u8]) -> (Came, usize) {
    let (mut requests, mut answers, mut len) = (Vec::new(), Vec::new(), 0);
    if has_bare_line_feed(0, bytes) {
        return (Came { requests, answers: String::new() }, 0);
    }
    while let Some(rest) = bytes.get(len..).filter(|rest| !rest.is_empty()) {
        let parsed = fast::parse(rest, |plain| {
            requests.push(Plainly {
                path: plain.path.to_owned(),
                query: plain.query.map(str::to_owned),
                host: plain.host.to_vec(),
                user_agent: plain.user_agent.to_vec(),
                referrer: plain.referrer.to_vec(),
                forwarded: plain.forwarded.iter().map(|text| (*text).to_owned()).collect(),
            });
            Some(())
        });
        let Parsed::Answered(more) = parsed else { break };
        len += more;
        fast::write_redirect(LOCATION, &HeaderValue::from_static("today"), &mut answers);
    }
    (Came { requests, answers: without_dates(&answers) }, len)
}

/// What hyper answers when these bytes and no others come; `None` when there is anything among them that the fast
/// path must not answer, or when the connection does not wait for more.
pub fn answered_by_hyper(bytes: &[u8]) -> Option<Came> {
    let (requests, answers) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let service = service_fn(|request: http::Request<Incoming>| {
        let (parts, body) = request.into_parts();
        requests.borrow_mut().push(plainly(&parts).filter(|_| body.is_end_stream()));
        std::future::ready(Ok::<_, Infallible>(crate::answers::redirect(parts, LOCATION.to_vec(), false)))
    });
    let stream = Memory { unread: bytes, written: &answers };
    let mut serving = pin!(crate::http::builder().serve_connection(TokioIo::new(stream), service));
    let mut context = Context::from_waker(Waker::noop());
    // hyper gives way after a number of requests; it has done all it can when it writes nothing more.
    let mut before = None;
    while before != Some(answers.borrow().len()) {
        before = Some(answers.borrow().len());
        if serving.as_mut().poll(&mut context).is_ready() {
            return None;
        }
    }
    let requests = requests.borrow_mut().drain(..).collect::<Option<_>>()?;
    let answers = without_dates(&answers.borrow());
    Some(Came { requests, answers })
}

fn plainly(parts: &Parts) -> Option<Plainly> {
    let head = Head::read(&parts.headers);
    let is_plain = head.is_sound(parts) && !head.prefetch && !head.signed;
    if !is_plain || parts.method != Method::GET || parts.version != Version::HTTP_11 {
        return None;
    }
    let forwarded = parts.headers.get_all("x-forwarded-for").iter();
    let all = |name| parts.headers.get(name).map(|value: &HeaderValue| value.as_bytes().to_vec());
    Some(Plainly {
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        host: all(header::HOST).unwrap_or_default(),
        user_agent: head.user_agent.to_vec(),
        referrer: head.referrer.to_vec(),
        forwarded: forwarded.filter_map(|value| value.to_str().ok()).map(str::to_owned).collect(),
    })
}

/// A connection of which all has come that ever comes, and that stays open.
struct Memory<'a> {
    unread: &'a [u8],
    written: &'a RefCell<Vec<u8>>,
}

impl AsyncRead for Memory<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (now, later) = self.unread.split_at(self.unread.len().min(buf.remaining()));
        if now.is_empty() {
            return Poll::Pending;
        }
        buf.put_slice(now);
        self.unread = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory<'_> {
    fn poll_write(self: Pin<&mut Self>, _context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.borrow_mut().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
