//! The load of a bench: one thread, one epoll, raw sockets; every reply is compared byte for byte.
//!
//! Closed: each connection sends its next click when its last was answered, as fast as the server can.
//! Open: clicks are due at fixed instants whether earlier ones were answered or not, and latency counts from
//! when a click was due, so that a server that stalls can't hide it (no coordinated omission).

use super::links::{Links, destination, nth_browser};
use anyhow::{Context, bail, ensure};
use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What browsers send besides path, host and user agent; 493 bytes in all.
const BROWSER: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\nAccept-Encoding: gzip, deflate, br\r\n\
    Referer: https://blog.example/best-running-shoes\r\nUpgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n";
/// Latency beyond this is recorded as this.
const LATENCY_MAX_NS: u64 = 60_000_000_000;
/// A server that answers nothing for so long has failed.
const SILENT_FOR: Duration = Duration::from_secs(10);
const REPLY_LEN_MAX: usize = 8 * 1024;

/// Where a reply must lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// To the link's own destination.
    Own,
    /// To that of link 0, whatever was clicked: the server knows no links.
    First,
}

/// What is sent.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    /// The server.
    pub(crate) addr: SocketAddr,
    /// What is clicked.
    pub(crate) links: &'a Links,
    /// Where replies must lead.
    pub(crate) expected: Expected,
    /// Whether every click is of link 0.
    pub(crate) one_link: bool,
    /// Connections.
    pub(crate) connections: usize,
    /// A connection of its own for every click.
    pub(crate) one_each: bool,
    /// Clicks a second by the clock; as fast as replies come when `None`.
    pub(crate) per_second: Option<u32>,
    /// When no more clicks are sent. Those on their way are waited for.
    pub(crate) until: Until,
}

/// When a load ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// After this long.
    Over(Duration),
    /// When so many clicks are sent.
    Clicks(u64),
}

/// What came of it.
pub(crate) struct Outcome {
    /// Right redirects read to their end. Every click was answered by one, or the run failed.
    pub(crate) replies: u64,
    /// From the first click to the last reply.
    pub(crate) took: Duration,
    /// Nanoseconds from when a click was due to its reply.
    pub(crate) latencies: Histogram<u64>,
}

struct Connection {
    stream: TcpStream,
    /// What was received of the reply.
    reply: Vec<u8>,
    /// What could not be sent yet.
    unsent: Vec<u8>,
    /// The click under way, and when it was due.
    clicked: Option<(u32, Instant)>,
}

struct Run<'a> {
    load: Load<'a>,
    poll: Poll,
    connections: Vec<Connection>,
    free: VecDeque<usize>,
    clicks: u64,
    outcome: Outcome,
    request: Vec<u8>,
    wanted: Vec<u8>,
}

/// Sends the load; fails at the first reply that is not the right redirect.
pub(crate) fn run(load: Load<'_>) -> anyhow::Result<Outcome> {
    let latencies = Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3).context("the bounds are fixed")?;
    let mut run = Run {
        load,
        poll: Poll::new().context("no epoll")?,
        connections: Vec::with_capacity(load.connections),
        free: VecDeque::new(),
        clicks: 0,
        outcome: Outcome { replies: 0, took: Duration::ZERO, latencies },
        request: Vec::with_capacity(1024),
        wanted: Vec::with_capacity(128),
    };
    for at in 0..load.connections {
        let stream = run.connect(at)?;
        run.connections.push(Connection { stream, reply: Vec::new(), unsent: Vec::new(), clicked: None });
        run.free.push_back(at);
    }
    run.go()?;
    Ok(run.outcome)
}

impl Run<'_> {
    fn connect(&self, at: usize) -> anyhow::Result<TcpStream> {
        // On loopback this does not wait: the kernel takes the connection into the server's backlog.
        let stream =
            std::net::TcpStream::connect(self.load.addr).context("the server takes no connection")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        self.poll.registry().register(&mut stream, Token(at), Interest::READABLE | Interest::WRITABLE)?;
        Ok(stream)
    }

    fn go(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut events = Events::with_capacity(1024);
        let mut heard = started;
        loop {
            let now = Instant::now();
            let over = self.is_over(started);
            match self.load.per_second {
                Some(per_second) if !over => self.send_due(started, now, per_second)?,
                None if !over => {
                    while let Some(at) = self.free.pop_front() {
                        self.click(at, Instant::now())?;
                        if self.is_over(started) {
                            break;
                        }
                    }
                }
                _ => {}
            }
            if over && self.free.len() == self.connections.len() {
                break;
            }
            // By the clock there is no time to sleep: this core has nothing else to do.
            let wait =
                if self.load.per_second.is_some() { Duration::ZERO } else { Duration::from_millis(100) };
            if let Err(error) = self.poll.poll(&mut events, Some(wait))
                && error.kind() != ErrorKind::Interrupted
            {
                return Err(error).context("epoll");
            }
            if !events.is_empty() {
                heard = Instant::now();
            }
            ensure!(heard.elapsed() < SILENT_FOR, "the server says nothing any more");
            for event in &events {
                let at = event.token().0;
                if event.is_writable() {
                    self.send_rest(at)?;
                }
                if event.is_readable() || event.is_read_closed() {
                    self.receive(at, started)?;
                }
            }
        }
        self.outcome.took = started.elapsed();
        Ok(())
    }

    fn is_over(&self, started: Instant) -> bool {
        match self.load.until {
            Until::Over(duration) => started.elapsed() >= duration,
            Until::Clicks(clicks) => self.clicks >= clicks,
        }
    }

    /// Sends every click that is due, as far as there are connections; the others stay due.
    fn send_due(&mut self, started: Instant, now: Instant, per_second: u32) -> anyhow::Result<()> {
        loop {
            let due = started + Duration::from_secs(1).mul_f64(self.clicks as f64 / f64::from(per_second));
            if due > now {
                return Ok(());
            }
            let Some(at) = self.free.pop_front() else { return Ok(()) };
            self.click(at, due)?;
        }
    }

    fn click(&mut self, at: usize, due: Instant) -> anyhow::Result<()> {
        let link = if self.load.one_link { 0 } else { self.load.links.nth_click(self.clicks) };
        let visitor = nth_browser(self.clicks);
        let ending = if self.load.one_each { "Connection: close\r\n\r\n" } else { "\r\n" };
        self.request.clear();
        write!(
            self.request,
            "GET /api/track/{} HTTP/1.1\r\nHost: go.example\r\nUser-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.{visitor:04}.0 Safari/537.36\r\n{BROWSER}{ending}",
            self.load.links.token(link)
        )?;
        self.clicks += 1;
        let connection = &mut self.connections[at];
        connection.clicked = Some((link, due));
        let sent = match connection.stream.write(&self.request) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error).context("cannot send"),
        };
        connection.unsent.extend_from_slice(&self.request[sent..]);
        Ok(())
    }

    fn send_rest(&mut self, at: usize) -> anyhow::Result<()> {
        let connection = &mut self.connections[at];
        while !connection.unsent.is_empty() {
            match connection.stream.write(&connection.unsent) {
                Ok(sent) => drop(connection.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("cannot send"),
            }
        }
        Ok(())
    }

    fn receive(&mut self, at: usize, started: Instant) -> anyhow::Result<()> {
        loop {
            let connection = &mut self.connections[at];
            let mut part = [0; 4096];
            match connection.stream.read(&mut part) {
                Ok(0) if connection.clicked.is_none() => {
                    bail!("the server closed a connection that was to stay");
                }
                Ok(0) => bail!("the server closed a connection before it had answered"),
                Ok(read) => connection.reply.extend_from_slice(&part[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("cannot receive"),
            }
            ensure!(connection.reply.len() <= REPLY_LEN_MAX, "a redirect of more than {REPLY_LEN_MAX} bytes");
            let Some((link, due)) = connection.clicked else { bail!("a reply to no request") };
            let wanted = if self.load.expected == Expected::Own { link } else { 0 };
            destination(wanted, &mut self.wanted);
            let Some(len) = check(&connection.reply, &self.wanted)? else { continue };
            ensure!(len == connection.reply.len(), "more was sent than one reply");
            connection.reply.clear();
            connection.clicked = None;
            self.outcome.replies += 1;
            let took = due.elapsed().as_nanos().min(u128::from(LATENCY_MAX_NS)) as u64;
            self.outcome.latencies.saturating_record(took.max(1));
            if self.load.one_each {
                let stream = self.connect(at)?;
                self.connections[at].stream = stream;
            }
            if self.load.per_second.is_some() || self.is_over(started) {
                self.free.push_back(at);
                return Ok(());
            }
            self.click(at, Instant::now())?;
        }
    }
}

/// The length of a whole reply, once it is there; an error unless it is the redirect.
fn check(reply: &[u8], location: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(end) = memchr::memmem::find(reply, b"\r\n\r\n") else { return Ok(None) };
    let (head, rest) = reply.split_at(end + 4);
    let text = || String::from_utf8_lossy(head).into_owned();
    ensure!(head.starts_with(b"HTTP/1.1 302"), "not a redirect: {}", text());
    let (mut located, mut body) = (false, 0usize);
    let mut at = 0;
    while let Some(len) = memchr::memchr(b'\n', &head[at..]) {
        let line = &head[at..at + len];
        at += len + 1;
        if let Some(value) = value_of(line, b"location:") {
            located = value == location;
        } else if let Some(value) = value_of(line, b"content-length:") {
            body = std::str::from_utf8(value)?.parse()?;
        }
    }
    ensure!(located, "leads elsewhere: {}", text());
    Ok((rest.len() >= body).then_some(head.len() + body))
}

/// The value of a header line with this name, given in lower case and with its colon.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (is, value) = line.split_at_checked(name.len())?;
    is.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_redirect_passes() {
        let whole = b"HTTP/1.1 302 Found\r\nLocation: https://a.example/\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(check(whole, b"https://a.example/").unwrap(), Some(whole.len()));
        for len in 0..whole.len() {
            assert_eq!(check(&whole[..len], b"https://a.example/").unwrap(), None, "{len}");
        }
        assert!(check(whole, b"https://b.example/").is_err());
        assert!(
            check(b"HTTP/1.1 503 No\r\nLocation: https://a.example/\r\n\r\n", b"https://a.example/").is_err()
        );
        assert!(check(b"HTTP/1.1 302 Found\r\n\r\n", b"https://a.example/").is_err());
    }
}
