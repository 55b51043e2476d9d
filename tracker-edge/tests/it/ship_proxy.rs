//! A TCP proxy that harms what passes: answers that vanish, lines that are slow, narrow or dead.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How the line is harmed now.
#[derive(Default)]
pub(crate) struct Harm {
    /// Entries arrive, word of it does not, and the connection breaks.
    pub(crate) cut_after_xadd: AtomicBool,
    /// Nothing arrives, and nothing says so.
    pub(crate) swallow: AtomicBool,
    /// Milliseconds each way.
    pub(crate) delay_ms: AtomicU64,
    /// Bytes a second towards the server; 0 is no limit.
    pub(crate) bytes_per_second: AtomicU64,
    /// Connections cut.
    pub(crate) cuts: AtomicU64,
}

pub(crate) struct Proxy {
    port: u16,
    pub(crate) harm: Arc<Harm>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(to_port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let harm = Arc::new(Harm::default());
        let shared = Arc::clone(&harm);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let to = SocketAddr::from((Ipv4Addr::LOCALHOST, to_port));
                let Ok(server) = TcpStream::connect(to).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                let added = Arc::new(AtomicBool::new(false));
                tokio::spawn(requests(from_client, to_server, Arc::clone(&shared), Arc::clone(&added)));
                tokio::spawn(answers(from_server, to_client, Arc::clone(&shared), added));
            }
        });
        Self { port, harm, accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, harm: Arc<Harm>, added: Arc<AtomicBool>) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if harm.swallow.load(Ordering::SeqCst) {
            continue;
        }
        let adds = bytes[..count].windows(4).any(|word| word == b"XADD");
        if adds && harm.cut_after_xadd.load(Ordering::SeqCst) {
            added.store(true, Ordering::SeqCst);
        }
        wait(&harm, count).await;
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, harm: Arc<Harm>, added: Arc<AtomicBool>) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if added.load(Ordering::SeqCst) {
            harm.cuts.fetch_add(1, Ordering::SeqCst);
            return;
        }
        if harm.swallow.load(Ordering::SeqCst) {
            continue;
        }
        wait(&harm, 0).await;
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

async fn wait(harm: &Harm, bytes: usize) {
    let delay_ms = harm.delay_ms.load(Ordering::SeqCst);
    let rate = harm.bytes_per_second.load(Ordering::SeqCst);
    let narrow_us = (bytes as u64 * 1_000_000).checked_div(rate).unwrap_or(0);
    let wait = Duration::from_millis(delay_ms) + Duration::from_micros(narrow_us);
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}
