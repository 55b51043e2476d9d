//! A TCP proxy before the node that loses replies, or everything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What it does with a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Mode {
    /// Passes everything on.
    Pass,
    /// Passes requests on; a reply to one that has `eth_sendRawTransaction` in it is cut off.
    LoseSendReplies,
    /// Refuses every connection.
    Down,
}

pub(crate) struct Proxy {
    addr: SocketAddr,
    mode: Arc<AtomicU8>,
    lost: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mode = Arc::new(AtomicU8::new(Mode::Pass as u8));
        let lost = Arc::new(AtomicUsize::new(0));
        let (shared_mode, shared_lost) = (mode.clone(), lost.clone());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, target, shared_mode.clone(), shared_lost.clone()));
            }
        });
        Self { addr, mode, lost, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Replies that were cut off.
    pub(crate) fn lost(&self) -> usize {
        self.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connections are kept alive, so the mode counts per request: what is read from the client decides what
/// becomes of the next bytes from the server.
async fn forward(mut client: TcpStream, target: SocketAddr, mode: Arc<AtomicU8>, lost: Arc<AtomicUsize>) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut sending = false;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(read @ 1..) = read else { return };
                if mode.load(Ordering::SeqCst) == Mode::Down as u8 {
                    return;
                }
                let text = String::from_utf8_lossy(&up[..read]);
                sending |= text.contains("eth_sendRawTransaction");
                if server.write_all(&up[..read]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(read @ 1..) = read else { return };
                if sending && mode.load(Ordering::SeqCst) == Mode::LoseSendReplies as u8 {
                    lost.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                sending = false;
                if client.write_all(&down[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}
