//! Floods of HTTP/2 frames that ask for nothing, and h2load, which asks for much.

use super::clients::open_connections;
use super::tls;
use crate::bench::cpu;
use crate::faults::scene::Scene;
use crate::stack::Tls;
use anyhow::{Context, ensure};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::task::JoinSet;

const LINES: usize = 4;
/// Rounds of a flood on one connection; it must be ended before.
const ROUNDS: u32 = 1_000;
const ENDED_FOR: Duration = Duration::from_secs(5);
const GROWN_MAX: u64 = 20 << 20;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Requests of h2load, its connections, and how many of each at a time.
const ASKED: u32 = 100_000;
const ASKED_QUICK: u32 = 10_000;
const CLIENTS: &str = "16";
const STREAMS: &str = "64";
const LOAD_FOR: Duration = Duration::from_mins(2);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A flood: a name, and what the round with this stream sends.
type Flood = (&'static str, fn(u32) -> Vec<u8>);

const FLOODS: [Flood; 8] = [
    ("rapid reset", |stream| [look(stream, END_STREAM), reset(stream)].concat()),
    // A window of two bytes over the most: the edge must reset the stream.
    ("made reset", |stream| {
        let much = frame(WINDOW_UPDATE, 0, stream, &(u32::MAX >> 1).to_be_bytes());
        [look(stream, 0), much.clone(), much].concat()
    }),
    ("CONTINUATION", |stream| match stream {
        3 => frame(HEADERS, END_STREAM, 3, &[0x82]),
        _ => frame(CONTINUATION, 0, 3, &[0x90]),
    }),
    ("PING", |_| frame(PING, 0, 0, &[0; 8])),
    ("SETTINGS", |_| frame(SETTINGS, 0, 0, &[])),
    ("PRIORITY", |stream| frame(PRIORITY, 0, stream, &[0; 5])),
    ("WINDOW_UPDATE", |_| frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes())),
    ("DATA", |stream| match stream {
        3 => look(3, 0),
        _ => frame(DATA, 0, 3, b"x"),
    }),
];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())
}

/// A GET of `/`, which is no click.
fn look(stream: u32, flags: u8) -> Vec<u8> {
    let block = [&[0x82, 0x87, 0x84, 0x01, Tls::HOST.len() as u8], Tls::HOST.as_bytes()].concat();
    frame(HEADERS, END_HEADERS | flags, stream, &block)
}

/// A connection's beginning, and a first request.
pub(super) fn asking() -> Vec<u8> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    [preface, frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, 1, 0, &[]), look(1, END_STREAM)].concat()
}

/// What a line did.
#[derive(Default)]
struct Done {
    connections: u64,
    rounds: u64,
}

/// Every flood over and over, from several clients at once; then h2load, of which nothing may fail.
pub(in crate::faults) async fn floods(scene: &mut Scene) -> anyhow::Result<()> {
    let tls = scene.stack.tls.as_ref().context("the stack has no TLS")?;
    let (addr, config) = (tls.addr, config(tls)?);
    let pid = scene.stack.edge.id().context("the edge does not run")?;
    let lasting = scene.pace.outage / FLOODS.len() as u32;
    let before = scene.stack.edge.anonymous_bytes()?;
    let flooded = scene.stack.edge.metric("edge_http2_floods_total").await?;
    let open = open_connections(&scene.stack.edge).await?;
    let (mut grown, mut done, mut busiest) = (0, Done::default(), 0.0_f64);
    for (name, flood) in FLOODS {
        let mut lines = JoinSet::new();
        let (started, used) = (Instant::now(), cpu::used(pid)?);
        for _ in 0..LINES {
            let config = Arc::clone(&config);
            lines.spawn_blocking(move || line(addr, &config, flood, lasting));
        }
        while !lines.is_empty() {
            if let Ok(Some(line)) = tokio::time::timeout(LOOK_EVERY, lines.join_next()).await {
                let line = line.context("a line panicked")?.context(name)?;
                done.connections += line.connections;
                done.rounds += line.rounds;
            }
            grown = scene.stack.edge.anonymous_bytes()?.saturating_sub(before).max(grown);
        }
        let share = cpu::used(pid)?.saturating_sub(used).as_secs_f64() / started.elapsed().as_secs_f64();
        busiest = busiest.max(share);
    }
    let edge = &scene.stack.edge;
    Scene::until("all floods are closed", ENDED_FOR, || async { Ok(open_connections(edge).await? <= open) })
        .await?;
    let counted = scene.stack.edge.metric("edge_http2_floods_total").await? - flooded;
    let Done { connections, rounds } = done;
    scene.note(format!(
        "{connections} floods of 8 kinds, {} rounds each at most sent, all ended; {:.2} of a core at most, {:.1} MiB more",
        rounds.div_ceil(connections.max(1)),
        busiest,
        grown as f64 / f64::from(1 << 20)
    ));
    ensure!(counted as u64 == connections, "{counted} of {connections} floods were ended as such");
    ensure!(grown <= GROWN_MAX, "{grown} bytes more");
    ensure!(scene.pace.quick || busiest <= 1.0, "{busiest:.2} of a core");
    load(scene, addr).await
}

/// For clients that speak nothing else.
pub(super) fn config(tls: &Tls) -> anyhow::Result<Arc<ClientConfig>> {
    let mut config = Arc::unwrap_or_clone(tls::config(tls)?);
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// Floods the edge over one connection after another.
fn line(
    addr: SocketAddr,
    config: &Arc<ClientConfig>,
    flood: fn(u32) -> Vec<u8>,
    lasting: Duration,
) -> anyhow::Result<Done> {
    let started = Instant::now();
    let mut done = Done::default();
    while done.connections == 0 || started.elapsed() < lasting {
        let socket = TcpStream::connect(addr).context("the edge takes no connection")?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(ENDED_FOR))?;
        let session = ClientConnection::new(Arc::clone(config), ServerName::try_from(Tls::HOST)?)?;
        let mut stream = StreamOwned::new(session, socket);
        // A request is made, so that this is not a connection on which nothing was asked.
        stream.write_all(&asking())?;
        for round in 0..ROUNDS {
            // Closed already, perhaps.
            if stream.write_all(&flood(3 + 2 * round)).is_err() {
                break;
            }
            done.rounds += 1;
        }
        let mut said = Vec::new();
        let ended = stream.read_to_end(&mut said);
        let waits = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        ensure!(!waits, "not ended after {ROUNDS} rounds");
        done.connections += 1;
    }
    Ok(done)
}

/// Runs h2load; every request must be answered with the redirect.
async fn load(scene: &mut Scene, addr: SocketAddr) -> anyhow::Result<()> {
    let attackers = scene.stack.ground.lab.attackers.as_ref().context("h2load is not there")?;
    let asked = if scene.pace.quick { ASKED_QUICK } else { ASKED }.to_string();
    // HEAD is answered as GET is, and is no click: the account goes by numbers that h2load does not write.
    let url = format!("https://{addr}{}", scene.target.path);
    let output = Command::new(attackers.join("bin/h2load"))
        .args(["-n", &asked, "-c", CLIENTS, "-m", STREAMS, "-H", ":method: HEAD", &url])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LOAD_FOR, output).await.context("h2load does not end")?;
    let text = String::from_utf8_lossy(&output.context("cannot run h2load")?.stdout).into_owned();
    let line = |start: &str| {
        let line = text.lines().find(|line| line.starts_with(start));
        line.map(str::to_owned).with_context(|| format!("h2load said: {text}"))
    };
    let (requests, statuses, finished) = (line("requests:")?, line("status codes:")?, line("finished in")?);
    let protocol = line("Application protocol:")?;
    let rate = finished.split(", ").nth(1).unwrap_or_default().to_owned();
    scene.note(format!("h2load, {CLIENTS} connections, {STREAMS} streams each: {statuses}, {rate}"));
    ensure!(protocol.ends_with("h2"), "{protocol}");
    ensure!(
        requests.contains(&format!("{asked} succeeded, 0 failed, 0 errored, 0 timeout")),
        "h2load: {requests}"
    );
    ensure!(statuses.contains(&format!("0 2xx, {asked} 3xx, 0 4xx, 0 5xx")), "h2load: {statuses}");
    Ok(())
}
