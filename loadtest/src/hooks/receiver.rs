//! An HTTP/1.1 server that takes webhooks and remembers them: as many endpoints as there are paths, some of
//! them bad on purpose.

use anyhow::Context;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Requests are ours: a head that is longer is not.
const HEAD_LEN_MAX: usize = 16 * 1024;
const BODY_LEN_MAX: usize = 64 * 1024;
const DRIP_EVERY: Duration = Duration::from_secs(1);

/// A delivery that came.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// When it was whole.
    pub(super) at: Instant,
    /// Which endpoint: the first word says how it behaves.
    pub(super) path: String,
    /// `X-AffiliateOS-Delivery`.
    pub(super) delivery: String,
    /// `webhook-id`.
    pub(super) event: String,
    /// The bytes.
    pub(super) body: Vec<u8>,
}

/// The server. It runs until the process ends.
pub(super) struct Receiver {
    addr: SocketAddr,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
}

impl Receiver {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for the receiver")?;
        let addr = listener.local_addr()?;
        let arrivals = Arc::new(Mutex::new(Vec::new()));
        let taken = arrivals.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let taken = taken.clone();
                tokio::spawn(async move {
                    // A connection that breaks is the other side's matter: it tries again.
                    serve(stream, &taken).await.ok();
                });
            }
        });
        Ok(Self { addr, arrivals })
    }

    /// An endpoint that behaves as its first word says: `good`, `drip` or `fail`.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.addr)
    }

    /// Forgets what has come.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// How many good ones have come.
    pub(super) fn good(&self) -> usize {
        self.lock().iter().filter(|one| one.path.starts_with("/good/")).count()
    }

    /// Everything that came to endpoints of this kind.
    pub(super) fn arrivals(&self, kind: &str) -> Vec<Arrival> {
        let prefix = format!("/{kind}/");
        self.lock().iter().filter(|one| one.path.starts_with(&prefix)).cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arrival>> {
        self.arrivals.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

async fn serve(mut stream: TcpStream, arrivals: &Mutex<Vec<Arrival>>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        let Some(arrival) = read(&mut stream, &mut buffer).await? else { return Ok(()) };
        let path = arrival.path.clone();
        arrivals.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(arrival);
        if path.starts_with("/drip/") {
            // A byte of head a second: neither an answer nor an end.
            for byte in b"HTTP/1.1 200 OK\r\nx-slow: ".iter().chain(b"z".iter().cycle()) {
                stream.write_all(&[*byte]).await?;
                tokio::time::sleep(DRIP_EVERY).await;
            }
        }
        let status = if path.starts_with("/fail/") { "500 No" } else { "204 Taken" };
        stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await?;
    }
}

/// The next request; `None` when the connection ends between two.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<Option<Arrival>> {
    let head_len = loop {
        if let Some(at) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        anyhow::ensure!(buffer.len() < HEAD_LEN_MAX, "the head has no end");
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8(buffer.drain(..head_len).collect())?;
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        lines
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .next()
    };
    let len: usize = header("content-length").context("no content-length")?.parse()?;
    anyhow::ensure!(len <= BODY_LEN_MAX, "a body of {len} bytes");
    while buffer.len() < len {
        anyhow::ensure!(stream.read_buf(buffer).await? > 0, "the body is cut short");
    }
    let body = buffer.drain(..len).collect();
    let path = head.split(' ').nth(1).context("no path")?.to_owned();
    let delivery = header("x-affiliateos-delivery").context("no delivery id")?;
    let event = header("webhook-id").context("no event id")?;
    Ok(Some(Arrival { at: Instant::now(), path, delivery, event, body }))
}
