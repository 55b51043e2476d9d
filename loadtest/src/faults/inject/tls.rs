//! Floods of TLS handshakes, whole and half; and what connections over TLS take while they rest.

use super::clients::open_connections;
use super::http2;
use crate::faults::scene::Scene;
use crate::stack::Tls;
use anyhow::{Context, ensure};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const A_SECOND: u32 = 500;
const LINES: u32 = 16;
/// So that those still waiting leave room among the handshakes the edge does at a time.
const HALF_A_SECOND: u32 = 30;
const HALF_CLOSED_FOR: Duration = Duration::from_millis(5_500);
/// A line that is given no answer has failed.
const ANSWERED_FOR: Duration = Duration::from_secs(5);
/// The beginning of a hello that announces half a kilobyte more.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

/// Handshakes at a fixed rate, nothing resumed, beside others that are begun and never ended.
pub(in crate::faults) async fn handshakes(scene: &mut Scene) -> anyhow::Result<()> {
    let tls = scene.stack.tls.as_ref().context("the stack has no TLS")?;
    let (addr, lasting) = (tls.addr, scene.pace.outage);
    let config = config(tls)?;
    let mut halves = JoinSet::new();
    let mut lines = JoinSet::new();
    let started = Instant::now();
    for _ in 0..LINES {
        let config = Arc::clone(&config);
        lines.spawn_blocking(move || line(addr, &config, lasting));
    }
    for nth in 0..HALF_A_SECOND * lasting.as_secs() as u32 {
        let due = started + Duration::from_secs(1).mul_f64(f64::from(nth) / f64::from(HALF_A_SECOND));
        tokio::time::sleep_until(due.into()).await;
        halves.spawn(half(addr));
    }
    let mut whole = 0;
    while let Some(made) = lines.join_next().await {
        whole += made.context("a line panicked")??;
    }
    let rate = f64::from(whole) / started.elapsed().as_secs_f64();
    let half_made = halves.len();
    let mut longest = Duration::ZERO;
    while let Some(held) = halves.join_next().await {
        longest = longest.max(held.context("a half handshake panicked")??);
    }
    scene.note(format!(
        "{whole} handshakes, {rate:.0} a second; {half_made} half ones, the last closed after {:.1} s",
        longest.as_secs_f64()
    ));
    ensure!(scene.pace.quick || longest <= HALF_CLOSED_FOR, "a half handshake was kept for {longest:?}");
    Ok(())
}

pub(super) fn config(tls: &Tls) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(tls.certificate.clone()).context("no root")?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Makes a line's share of the handshakes; gives how many there were. Every one must come to its end.
fn line(addr: SocketAddr, config: &Arc<ClientConfig>, lasting: Duration) -> anyhow::Result<u32> {
    let every = Duration::from_secs(1) * LINES / A_SECOND;
    let started = Instant::now();
    let mut made = 0;
    while started.elapsed() < lasting {
        if let Some(early) = (every * made).checked_sub(started.elapsed()) {
            std::thread::sleep(early);
        }
        let mut stream = std::net::TcpStream::connect(addr).context("the edge takes no connection")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWERED_FOR))?;
        let mut session = ClientConnection::new(Arc::clone(config), ServerName::try_from(Tls::HOST)?)?;
        while session.is_handshaking() {
            session.complete_io(&mut stream).context("a handshake failed")?;
        }
        made += 1;
    }
    Ok(made)
}

/// Begins a handshake; gives how long the edge waited for the rest.
async fn half(addr: SocketAddr) -> anyhow::Result<Duration> {
    let mut stream = TcpStream::connect(addr).await.context("the edge takes no connection")?;
    let since = Instant::now();
    stream.write_all(HALF_A_HELLO).await?;
    let mut said = Vec::new();
    // An alert may come before the end; a reset is one as well.
    stream.read_to_end(&mut said).await.ok();
    Ok(since.elapsed())
}

const RESTING: usize = 1_000;
const RESTING_QUICK: usize = 200;
/// What the matrix asks, for HTTP/1.1; HTTP/2 has tables of headers and buffers of frames besides.
const RESTING_BYTES_MAX: [u64; 2] = [40 * 1024, 48 * 1024];
const CLOSED_FOR: Duration = Duration::from_secs(10);

/// Connections that have asked once and rest: of HTTP/1.1, and as many of HTTP/2 beside them.
pub(in crate::faults) async fn idle(scene: &mut Scene) -> anyhow::Result<()> {
    let tls = scene.stack.tls.as_ref().context("the stack has no TLS")?;
    let addr = tls.addr;
    let (one, two) = (config(tls)?, http2::config(tls)?);
    let count = if scene.pace.quick { RESTING_QUICK } else { RESTING };
    let open = open_connections(&scene.stack.edge).await?;
    // What a first one needs is not any one's share.
    let mut kept = Vec::new();
    let mut each = Vec::new();
    for (config, request, end) in [
        (one, format!("HEAD / HTTP/1.1\r\nHost: {}\r\n\r\n", Tls::HOST).into_bytes(), &b"\r\n\r\n"[..]),
        (two, http2::asking(), b"</p>\n"),
    ] {
        for connections in [1, count] {
            let before = scene.stack.edge.anonymous_bytes()?;
            let (config, request) = (Arc::clone(&config), request.clone());
            let resting = move || (0..connections).map(|_| rest(addr, &config, &request, end)).collect();
            let resting: anyhow::Result<Vec<_>> =
                tokio::task::spawn_blocking(resting).await.context("a crowd panicked")?;
            kept.push(resting?);
            let grown = scene.stack.edge.anonymous_bytes()?.saturating_sub(before);
            if connections > 1 {
                each.push(grown / connections as u64);
            }
        }
    }
    let kib: Vec<String> = each.iter().map(|bytes| format!("{:.1} KiB", *bytes as f64 / 1024.0)).collect();
    scene.note(format!("{count} that rest over TLS: {} each with HTTP/1.1, HTTP/2", kib.join(", ")));
    drop(kept);
    let edge = &scene.stack.edge;
    Scene::until("all are closed", CLOSED_FOR, || async { Ok(open_connections(edge).await? <= open) })
        .await?;
    let within = each.iter().zip(RESTING_BYTES_MAX).all(|(bytes, most)| *bytes <= most);
    ensure!(scene.pace.quick || within, "{} for one that rests", kib.join(", "));
    Ok(())
}

/// A connection on which something was asked and answered.
fn rest(
    addr: SocketAddr,
    config: &Arc<ClientConfig>,
    request: &[u8],
    end: &[u8],
) -> anyhow::Result<StreamOwned<ClientConnection, std::net::TcpStream>> {
    let socket = std::net::TcpStream::connect(addr).context("the edge takes no connection")?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(ANSWERED_FOR))?;
    let session = ClientConnection::new(Arc::clone(config), ServerName::try_from(Tls::HOST)?)?;
    let mut stream = StreamOwned::new(session, socket);
    stream.write_all(request)?;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while !answer.ends_with(end) {
        let read = stream.read(&mut part).context("no answer")?;
        ensure!(read > 0, "closed instead of an answer");
        answer.extend_from_slice(part.get(..read).unwrap_or_default());
    }
    Ok(stream)
}
