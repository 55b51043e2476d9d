//! Clicks over raw keep-alive connections, with an exact account of which were acknowledged.
//!
//! A click is acknowledged when its whole 302 was read and named the right place. Anything else (a
//! refused connection, a reset, a reply cut short) leaves its fate unknown: it may have been recorded,
//! and it is never sent again under the same number.

use anyhow::{Context, bail};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A reply that takes longer counts as no reply.
const REPLY_FOR: Duration = Duration::from_secs(5);
/// Between attempts to connect to an edge that is away.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);
const REPLY_LEN_MAX: usize = 16 * 1024;

/// What is clicked.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The edge.
    pub(crate) addr: SocketAddr,
    /// `/api/track/TOKEN`.
    pub(crate) path: String,
    /// What `Location` must be.
    pub(crate) location: String,
}

/// What became of the clicks.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Numbers of acknowledged clicks.
    pub(crate) acknowledged: Vec<u64>,
    /// Clicks sent whose reply never came whole.
    pub(crate) unknown: u64,
    /// Replies that were not the right redirect.
    pub(crate) wrong: Vec<String>,
    /// Attempts to connect that were refused.
    pub(crate) refused: u64,
    /// How long the replies of acknowledged clicks took, unsorted.
    pub(crate) latencies: Vec<Latency>,
}

impl Outcome {
    /// Adds another's.
    pub(crate) fn add(&mut self, other: Self) {
        self.acknowledged.extend(other.acknowledged);
        self.unknown += other.unknown;
        self.wrong.extend(other.wrong);
        self.refused += other.refused;
        self.latencies.extend(other.latencies);
    }
}

/// How long a reply took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    /// In which second of the load the click was due.
    pub(crate) second: u32,
    /// From when it was due to its whole reply, in microseconds.
    pub(crate) us: u32,
}

/// Progress others may watch.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Clicks acknowledged so far.
    pub(crate) acknowledged: AtomicU64,
    /// Set to end early.
    pub(crate) stop: AtomicBool,
    next: AtomicU64,
}

impl Progress {
    /// Numbers clicks from here on, so that two loads never share one.
    pub(crate) fn from(number: u64) -> Self {
        Self { next: AtomicU64::new(number), ..Self::default() }
    }
}

/// How much is clicked, and how fast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Ends when so many are acknowledged.
    pub(crate) clicks: u64,
    /// Connections they come over.
    pub(crate) connections: usize,
    /// Clicks a second, each due at its own instant whether the one before was answered or not, and its
    /// latency counted from when it was due; as fast as replies come when `None`.
    pub(crate) per_second: Option<u32>,
    /// A connection of its own for every click, as visitors have.
    pub(crate) one_each: bool,
}

/// Clicks until the load is done or `progress.stop` is set.
pub(crate) async fn run(target: &Target, load: Load, progress: Arc<Progress>) -> anyhow::Result<Outcome> {
    let outcome = Arc::new(Mutex::new(Outcome::default()));
    let mut workers = tokio::task::JoinSet::new();
    let begin = Begin { at: Instant::now(), number: progress.next.load(Ordering::Relaxed) };
    for _ in 0..load.connections {
        let (target, outcome, progress) = (target.clone(), outcome.clone(), progress.clone());
        workers.spawn(async move {
            let mine = click(&target, load, begin, &progress).await;
            let mut all =
                outcome.lock().map_err(|_| anyhow::anyhow!("another connection's worker panicked"))?;
            all.add(mine);
            anyhow::Ok(())
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.context("a worker panicked")??;
    }
    let mut outcome = outcome.lock().map_err(|_| anyhow::anyhow!("a worker panicked"))?;
    Ok(std::mem::take(&mut outcome))
}

/// Where a phase's schedule starts; numbers go on from phase to phase.
#[derive(Clone, Copy)]
struct Begin {
    at: Instant,
    number: u64,
}

async fn click(target: &Target, load: Load, begin: Begin, progress: &Progress) -> Outcome {
    let mut outcome = Outcome::default();
    let mut connection: Option<TcpStream> = None;
    let mut buffer = Vec::with_capacity(1024);
    while progress.acknowledged.load(Ordering::Relaxed) < load.clicks
        && !progress.stop.load(Ordering::Relaxed)
    {
        let Some(stream) = &mut connection else {
            match TcpStream::connect(target.addr).await {
                Ok(stream) => {
                    // Only speeds requests up.
                    stream.set_nodelay(true).ok();
                    connection = Some(stream);
                }
                Err(_) => {
                    outcome.refused += 1;
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                }
            }
            continue;
        };
        let number = progress.next.fetch_add(1, Ordering::Relaxed);
        let mut due = Instant::now();
        if let Some(per_second) = load.per_second {
            let nth = number.saturating_sub(begin.number);
            due = begin.at + Duration::from_secs(1).mul_f64(nth as f64 / f64::from(per_second));
            tokio::time::sleep_until(due.into()).await;
        }
        // A user agent of its own per click: no two are one visitor's, so none is a duplicate.
        let request = format!(
            "GET {}?sub1={number} HTTP/1.1\r\nHost: {}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.{number} Safari/537.36\r\nAccept: text/html\r\n\r\n",
            target.path, target.addr
        );
        match tokio::time::timeout(REPLY_FOR, exchange(stream, &request, &target.location, &mut buffer)).await
        {
            Ok(Ok(closes)) => {
                if closes || load.one_each {
                    connection = None;
                }
                let second = due.saturating_duration_since(begin.at).as_secs() as u32;
                let us = u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX);
                outcome.latencies.push(Latency { second, us });
                outcome.acknowledged.push(number);
                progress.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Err(Broken::Wrong(reply))) => {
                if outcome.wrong.len() < 10 {
                    outcome.wrong.push(reply);
                }
                connection = None;
            }
            Ok(Err(Broken::Lost)) | Err(_) => {
                outcome.unknown += 1;
                connection = None;
            }
        }
    }
    outcome
}

enum Broken {
    Lost,
    Wrong(String),
}

/// Sends a request and reads its reply; gives whether the reply is the connection's last.
async fn exchange(
    stream: &mut TcpStream,
    request: &str,
    location: &str,
    buffer: &mut Vec<u8>,
) -> Result<bool, Broken> {
    stream.write_all(request.as_bytes()).await.map_err(|_| Broken::Lost)?;
    buffer.clear();
    let end = loop {
        let read = stream.read_buf(buffer).await.map_err(|_| Broken::Lost)?;
        if read == 0 || buffer.len() > REPLY_LEN_MAX {
            return Err(Broken::Lost);
        }
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    check(&head, location).map_err(|_| Broken::Wrong(head))
}

/// Whether the reply is the redirect; gives whether it is the connection's last.
fn check(head: &str, location: &str) -> anyhow::Result<bool> {
    let mut lines = head.split("\r\n");
    let status = lines.next().context("no status line")?;
    if !status.starts_with("HTTP/1.1 302") {
        bail!("not a redirect");
    }
    let (mut located, mut closes) = (false, false);
    for line in lines {
        let (name, value) = line.split_once(':').context("no colon")?;
        if name.eq_ignore_ascii_case("location") {
            located = value.trim() == location;
        }
        if name.eq_ignore_ascii_case("connection") {
            closes = value.trim().eq_ignore_ascii_case("close");
        }
        if name.eq_ignore_ascii_case("content-length") && value.trim() != "0" {
            bail!("a redirect has an empty body");
        }
    }
    if located { Ok(closes) } else { bail!("another place") }
}

/// The p-th percentile (0 to 100) of all, in microseconds; 0 when there are none.
pub(crate) fn percentile_us(latencies: &[Latency], percent: f64) -> u32 {
    let mut sorted: Vec<_> = latencies.iter().map(|latency| latency.us).collect();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * percent / 100.0).round() as usize;
    sorted.get(at).copied().unwrap_or(0)
}

/// Seconds with fewer clicks say nothing about their slowest hundredth.
const WINDOW_MIN: usize = 100;

/// The p99 of each second, from the quickest second to the slowest, in microseconds.
pub(crate) fn p99s_us(latencies: &[Latency]) -> Vec<u32> {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable_by_key(|latency| (latency.second, latency.us));
    let seconds = sorted.chunk_by(|a, b| a.second == b.second).filter(|second| second.len() >= WINDOW_MIN);
    let mut p99s: Vec<u32> = seconds
        .filter_map(|second| second.get((second.len() - 1) * 99 / 100).map(|latency| latency.us))
        .collect();
    p99s.sort_unstable();
    p99s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_has_a_p99_of_its_own() {
        let mut latencies: Vec<_> = (0..3_u32)
            .flat_map(|second| {
                (0..200).map(move |nth| Latency { second, us: 100 * (3 - second) + nth % 100 })
            })
            .collect();
        // The machine stood still for a moment, in one second; another has hardly begun.
        latencies.extend((0..20).map(|_| Latency { second: 1, us: 50_000 }));
        latencies.push(Latency { second: 3, us: 9 });
        assert_eq!(p99s_us(&latencies), [198, 398, 50_000]);
        assert_eq!(p99s_us(&[]), [0; 0]);
    }
}
