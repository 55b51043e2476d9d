//! A TCP proxy of our own that misbehaves on command: slow, silent, cut, forgetful.

use anyhow::Context;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const SILENCE_PAUSE: Duration = Duration::from_millis(20);

/// How the proxy behaves; may change at any time.
#[derive(Debug, Default)]
struct Behaviour {
    /// Bytes are taken and kept back: a peer that is there and says nothing.
    silent: AtomicBool,
    /// Every chunk waits so long in each direction.
    delay_ms: AtomicU64,
    /// Replies are thrown away, and the connection is cut after the first one.
    forget_replies: AtomicBool,
    /// Entries of the stream of link changes are replaced by "nothing new": a message lost on the way.
    lose_changes: AtomicBool,
    /// Requests are held back from the first one on that has this text in it.
    hold_at: Mutex<Option<Vec<u8>>>,
    /// Whether one is held back.
    holding: watch::Sender<bool>,
}

impl Behaviour {
    fn holds(&self, chunk: &[u8]) -> bool {
        let text = self.hold_at.lock().unwrap_or_else(PoisonError::into_inner);
        text.as_ref().is_some_and(|text| {
            self.holding_now() || chunk.windows(text.len()).any(|part| part == text.as_slice())
        })
    }

    fn holding_now(&self) -> bool {
        *self.holding.borrow()
    }
}

/// Redis' answer to a read of a stream that has nothing new.
const NOTHING_NEW: &[u8] = b"*-1\r\n";
/// How its answer begins when there is something.
const ENTRIES: &[u8] = b"*1\r\n*2\r\n$9\r\n{changes}\r\n";

/// A running proxy. It ends when this is dropped.
#[derive(Clone)]
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    behaviour: Arc<Behaviour>,
    cut: Arc<watch::Sender<u64>>,
    target: Arc<Mutex<SocketAddr>>,
}

impl Proxy {
    /// Listens on a free port and forwards to `target`.
    pub(crate) async fn start(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port for the proxy")?;
        let proxy = Self {
            addr: listener.local_addr()?,
            behaviour: Arc::default(),
            cut: Arc::new(watch::Sender::new(0)),
            target: Arc::new(Mutex::new(target)),
        };
        let (behaviour, cut) = (proxy.behaviour.clone(), Arc::downgrade(&proxy.cut));
        let target = Arc::clone(&proxy.target);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Some(cut) = cut.upgrade() else { return };
                let target = *target.lock().unwrap_or_else(PoisonError::into_inner);
                tokio::spawn(forward(client, target, behaviour.clone(), cut.subscribe()));
            }
        });
        Ok(proxy)
    }

    /// Takes bytes and passes none on, or goes back to passing them on.
    pub(crate) fn silent(&self, silent: bool) {
        self.behaviour.silent.store(silent, Ordering::Relaxed);
    }

    /// Makes every chunk wait in each direction.
    pub(crate) fn delay(&self, delay: Duration) {
        self.behaviour.delay_ms.store(delay.as_millis() as u64, Ordering::Relaxed);
    }

    /// Requests arrive, replies do not.
    pub(crate) fn forget_replies(&self, forget: bool) {
        self.behaviour.forget_replies.store(forget, Ordering::Relaxed);
    }

    /// Answers reads of the change stream with "nothing new" whatever is new.
    pub(crate) fn lose_changes(&self, lose: bool) {
        self.behaviour.lose_changes.store(lose, Ordering::Relaxed);
    }

    /// Holds requests back, from the first one on that has this text in it.
    pub(crate) fn hold_at(&self, text: &[u8]) {
        *self.behaviour.hold_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.to_vec());
    }

    /// Waits until a request is held back.
    pub(crate) async fn held(&self) {
        // The sender is ours: it outlives the wait.
        self.behaviour.holding.subscribe().wait_for(|holding| *holding).await.ok();
    }

    /// Drops what is held back, with its connections.
    pub(crate) fn let_go(&self) {
        *self.behaviour.hold_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.cut();
        self.behaviour.holding.send_replace(false);
    }

    /// Leads somewhere else from now on, as a name does after a failover; what is open is cut.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
        self.cut();
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|generation| *generation += 1);
    }
}

async fn forward(
    client: TcpStream,
    target: SocketAddr,
    behaviour: Arc<Behaviour>,
    mut cut: watch::Receiver<u64>,
) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    // Delays are ours to make, not the kernel's.
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pump(from_client, to_server, &behaviour, false) => {}
        () = pump(from_server, to_client, &behaviour, true) => {}
        _ = cut.changed() => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, behaviour: &Behaviour, replies: bool) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(read) = from.read(&mut buffer).await else { return };
        if read == 0 || (replies && behaviour.forget_replies.load(Ordering::Relaxed)) {
            return;
        }
        while behaviour.silent.load(Ordering::Relaxed) {
            tokio::time::sleep(SILENCE_PAUSE).await;
        }
        if !replies && buffer.get(..read).is_some_and(|chunk| behaviour.holds(chunk)) {
            behaviour.holding.send_replace(true);
            // Until the connection is cut.
            std::future::pending::<()>().await;
        }
        let delay = Duration::from_millis(behaviour.delay_ms.load(Ordering::Relaxed));
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let Some(mut chunk) = buffer.get(..read) else { return };
        if replies && behaviour.lose_changes.load(Ordering::Relaxed) && chunk.starts_with(ENTRIES) {
            chunk = NOTHING_NEW;
        }
        if to.write_all(chunk).await.is_err() {
            return;
        }
    }
}
