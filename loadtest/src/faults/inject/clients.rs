//! Clients that come all at once, read nothing, send too much, stay for one click, or leave early.

use crate::api::text;
use crate::clicker::{self, Load, Progress, Target, p99s_us};
use crate::faults::scene::Scene;
use crate::programs::Program;
use crate::stack::SECRET;
use anyhow::{Context, ensure};
use serde_json::json;
use shared::keys::Keys;
use shared::{Secret, TokenKey};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// Another answer takes longer than this only when something is wrong.
const ANSWERED_FOR: Duration = Duration::from_secs(20);

/// One click with this number, of a visitor of its own.
fn request(path: &str, number: u64) -> String {
    format!(
        "GET {path}?sub1={number} HTTP/1.1\r\nHost: a\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0.{number} Safari/537.36\r\n\r\n"
    )
}

/// Connections an edge has open.
pub(in crate::faults) async fn open_connections(edge: &Program) -> anyhow::Result<u64> {
    let accepted = edge.metric("edge_connections_accepted_total").await?;
    Ok((accepted - edge.metric("edge_connections_closed_total").await?) as u64)
}

const HERD: u64 = 5_000;
/// Without optimisation fewer can connect before the first has said nothing for too long.
const HERD_QUICK: u64 = 1_000;
/// What the matrix asks; without optimisation, or beside a compiler, only the counts are judged.
const HERD_ANSWERED_FOR: Duration = Duration::from_secs(1);
const KNOWN_FOR: Duration = Duration::from_secs(10);

/// A link is made, and the edge is not told: it hears of it from 5,000 visitors at once.
pub(in crate::faults) async fn herd(scene: &mut Scene) -> anyhow::Result<()> {
    let proxy = scene.stack.proxies.as_ref().context("the stack has no proxies")?.edge_redis.clone();
    let mut slowest = Duration::ZERO;
    let herd = if scene.pace.quick { HERD_QUICK } else { HERD };
    let strokes = scene.pace.strokes.min(3);
    for stroke in 0..strokes {
        proxy.lose_changes(true);
        let links = format!("/api/partnerships/{}/links", scene.cast.partnership);
        let location = format!("https://shop.example/herd/{stroke}");
        let link =
            scene.cast.affiliate.call("POST", &links, Some(json!({"destination_url": location}))).await?;
        let token = text(&link, "token")?;
        let key =
            TokenKey::new(&Secret::parse(SECRET)?).parse(token.as_bytes()).context("no token of ours")?;
        let (redis, key) = (scene.stack.redis.connect().await?, Keys::new("").link(key));
        Scene::until("Redis has the link", KNOWN_FOR, || {
            let (mut redis, key) = (redis.clone(), key.clone());
            async move { Ok(redis::cmd("EXISTS").arg(key).query_async::<bool>(&mut redis).await?) }
        })
        .await?;
        let asked = scene.stack.edge.metric("edge_link_questions_total").await?;
        let numbers = scene.numbers(herd);
        let path = format!("/api/track/{token}");
        let took = stampede(scene.stack.edge_addr, &path, &location, numbers.clone()).await?;
        scene.own.acknowledged.extend(numbers);
        let asked = (scene.stack.edge.metric("edge_link_questions_total").await? - asked) as u64;
        ensure!(asked == 1, "{asked} questions for one link");
        slowest = slowest.max(took);
        // What it missed it hears of now.
        proxy.lose_changes(false);
    }
    scene.note(format!(
        "{strokes} times {herd} hits, one question each, the last answer after {} ms",
        slowest.as_millis()
    ));
    ensure!(scene.pace.quick || slowest <= HERD_ANSWERED_FOR, "the last answer came after {slowest:?}");
    Ok(())
}

/// Everybody connects, then everybody asks; gives when the last had the right answer.
async fn stampede(
    addr: SocketAddr,
    path: &str,
    location: &str,
    numbers: Range<u64>,
) -> anyhow::Result<Duration> {
    let mut ready = Vec::new();
    for number in numbers {
        ready.push((TcpStream::connect(addr).await.context("no connection")?, request(path, number)));
    }
    let started = Instant::now();
    let mut visitors = JoinSet::new();
    for (mut stream, request) in ready {
        let location = format!("location: {location}\r\n");
        visitors.spawn(async move {
            stream.write_all(request.as_bytes()).await?;
            let mut reply = Vec::with_capacity(512);
            while !reply.ends_with(b"\r\n\r\n") {
                ensure!(stream.read_buf(&mut reply).await? > 0, "closed without an answer");
            }
            let reply = String::from_utf8_lossy(&reply);
            ensure!(reply.starts_with("HTTP/1.1 302") && reply.contains(&location), "{reply:?}");
            Ok(())
        });
    }
    while let Some(visited) = visitors.join_next().await {
        visited.context("a visitor panicked")??;
    }
    Ok(started.elapsed())
}

const READERS: u64 = 16;
/// Requests sent at most by one that reads nothing.
const UNREAD_MAX: u64 = 20_000;
/// Answers are given without being read until the kernel holds this much of them: a redirect has a hundred bytes.
const UNREAD_ANSWERED_MAX: u64 = 4_000;
/// Who could send nothing for so long is stuck.
const STUCK_AFTER: Duration = Duration::from_millis(500);
const UNREAD_CLOSED_FOR: Duration = Duration::from_secs(10);

/// Requests one after another, and no answer is ever read.
pub(in crate::faults) async fn slow_readers(scene: &mut Scene) -> anyhow::Result<()> {
    let (mut edge, addr) = scene.another_edge().await?;
    let before = edge.metric("edge_clicks_total").await?;
    let mut stuck = Vec::new();
    let mut sent = 0;
    for _ in 0..READERS {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(2_048)?;
        // What this side's kernel holds says nothing of the edge.
        socket.set_send_buffer_size(16_384)?;
        let stream = socket.connect(addr).await?;
        sent += write_until_stuck(scene, &stream).await?;
        stuck.push((stream, Instant::now()));
    }
    let last = stuck.last().map_or_else(Instant::now, |(_, since)| *since);
    Scene::until("those who read nothing are closed", UNREAD_CLOSED_FOR, || async {
        Ok(open_connections(&edge).await? == 0)
    })
    .await?;
    let each = (edge.metric("edge_clicks_total").await? - before) as u64 / READERS;
    scene.note(format!(
        "{READERS} readers of nothing sent {sent} requests; {each} of each were answered; closed within {:.1} s",
        last.elapsed().as_secs_f64()
    ));
    ensure!(each <= UNREAD_ANSWERED_MAX, "{each} requests of one that reads nothing were answered");
    edge.stop()
}

/// Sends requests until the edge takes no more; gives how many.
async fn write_until_stuck(scene: &mut Scene, stream: &TcpStream) -> anyhow::Result<u64> {
    let path = scene.target.path.clone();
    for sent in 0..UNREAD_MAX {
        let number = scene.numbers(1).start;
        let request = request(&path, number);
        let mut rest = request.as_bytes();
        while !rest.is_empty() {
            if tokio::time::timeout(STUCK_AFTER, stream.writable()).await.is_err() {
                return Ok(sent);
            }
            match stream.try_write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                // Closed already.
                Err(_) => return Ok(sent),
            }
        }
    }
    anyhow::bail!("{UNREAD_MAX} requests were taken, and not one answer read")
}

const HOLDERS: usize = 1_000;
const HOLDERS_QUICK: usize = 200;
/// 16 KiB of head, and the 12 KiB a connection may take besides.
const HELD_MAX: u64 = 28 * 1024;

/// Heads that are too large are refused; many that are never ended take what they are allowed.
pub(in crate::faults) async fn large_heads(scene: &mut Scene) -> anyhow::Result<()> {
    let (addr, path) = (scene.stack.edge_addr, scene.target.path.clone());
    let get = format!("GET {path} HTTP/1.1\r\nHost: a\r\n");
    let chunks = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        "1\r\nx\r\n".repeat(100_000)
    );
    for (what, request, expected) in [
        ("17 KiB of header", format!("{get}X: {}\r\n\r\n", "x".repeat(17 * 1024)), 431),
        (
            "a target of 3 KiB",
            format!("GET {path}?x={} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(3 * 1024)),
            414,
        ),
        ("101 headers", format!("{get}{}\r\n", "X: y\r\n".repeat(100)), 431),
        ("endless chunks of one byte", chunks, 400),
    ] {
        let status = answer(addr, request.as_bytes()).await?;
        ensure!(status == expected, "{what}: {status}");
    }
    let holders = if scene.pace.quick { HOLDERS_QUICK } else { HOLDERS };
    let open = open_connections(&scene.stack.edge).await?;
    let before = scene.stack.edge.anonymous_bytes()?;
    let unended = format!("{get}X: {}", "x".repeat(15_500));
    let mut held = Vec::with_capacity(holders);
    for _ in 0..holders {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(unended.as_bytes()).await?;
        held.push(stream);
    }
    scene.breath().await;
    let each = scene.stack.edge.anonymous_bytes()?.saturating_sub(before) / holders as u64;
    let edge = &scene.stack.edge;
    let closed = Scene::until("heads that are never ended are given up", Duration::from_secs(6), || async {
        Ok(open_connections(edge).await? <= open)
    })
    .await?;
    scene.note(format!(
        "431, 414, 431, 400; {holders} heads of 15.5 KiB never ended: {:.1} KiB each, given up {:.1} s later",
        each as f64 / 1024.0,
        closed.as_secs_f64()
    ));
    ensure!(scene.pace.quick || each <= HELD_MAX, "{each} bytes for one connection");
    Ok(())
}

/// The status of the answer to these bytes, on a connection that is closed then.
async fn answer(addr: SocketAddr, bytes: &[u8]) -> anyhow::Result<u16> {
    let (mut from, mut to) = TcpStream::connect(addr).await?.into_split();
    let sending = tokio::spawn({
        let bytes = bytes.to_vec();
        async move {
            // Who refuses early does not read the rest. What is dropped would say that nothing follows.
            to.write_all(&bytes).await.ok();
            std::future::pending::<()>().await;
        }
    });
    let mut reply = Vec::new();
    let read = tokio::time::timeout(ANSWERED_FOR, from.read_to_end(&mut reply)).await;
    read.context("not closed")?.ok();
    sending.abort();
    let status = reply.get(9..12).and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
    status.with_context(|| format!("no answer but {:?}", String::from_utf8_lossy(&reply)))
}

const CHURN_A_SECOND: u32 = 2_000;

/// Visitors that stay for one click, twice as many as the load has, over connections of their own.
pub(in crate::faults) async fn churn(scene: &mut Scene) -> anyhow::Result<()> {
    let clicks = u64::from(CHURN_A_SECOND) * scene.pace.outage.as_secs();
    let numbers = scene.numbers(2 * clicks);
    let load = Load { clicks, connections: 256, per_second: Some(CHURN_A_SECOND), one_each: true };
    let started = Instant::now();
    let outcome = clicker::run(&scene.target, load, Arc::new(Progress::from(numbers.start))).await?;
    let rate = outcome.acknowledged.len() as f64 / started.elapsed().as_secs_f64();
    let waiting = time_waits(scene.stack.edge_addr.port())?;
    let p99s = p99s_us(&outcome.latencies);
    scene.note(format!(
        "{rate:.0} connections a second, {} refused, {} broken, p99 {:.1} ms, {waiting} in TIME_WAIT at the edge",
        outcome.refused,
        outcome.unknown,
        f64::from(p99s.get(p99s.len() / 2).copied().unwrap_or(0)) / 1000.0
    ));
    ensure!(outcome.refused == 0 && outcome.unknown == 0, "connections failed");
    ensure!(outcome.wrong.is_empty(), "a wrong answer: {:?}", outcome.wrong);
    ensure!(waiting == 0, "{waiting} sockets of the edge are in TIME_WAIT");
    scene.own.add(outcome);
    Ok(())
}

/// Sockets of this port that wait for what may still be on its way: only the side that closes first has any.
fn time_waits(port: u16) -> anyhow::Result<usize> {
    const TIME_WAIT: &str = "06";
    let table = std::fs::read_to_string("/proc/net/tcp").context("no /proc/net/tcp")?;
    let port = format!(":{port:04X}");
    let waits = |line: &&str| {
        let mut columns = line.split_whitespace().skip(1);
        columns.next().is_some_and(|local| local.ends_with(&port)) && columns.nth(1) == Some(TIME_WAIT)
    };
    Ok(table.lines().filter(waits).count())
}

const PIPELINES: u64 = 400;
const DEEP: u64 = 64;
const COUNTED_FOR: Duration = Duration::from_secs(10);

/// Sixty-four requests in one piece; after some of the answers, or none, the client is gone.
pub(in crate::faults) async fn pipelines_cut(scene: &mut Scene) -> anyhow::Result<()> {
    let (mut edge, addr) = scene.another_edge().await?;
    let before = edge.metric("edge_clicks_total").await?;
    for nth in 0..PIPELINES {
        let numbers = scene.numbers(DEEP);
        let requests: String = numbers.clone().map(|number| request(&scene.target.path, number)).collect();
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(requests.as_bytes()).await?;
        let wanted = nth % (DEEP + 1);
        let mut replies = Vec::new();
        let mut read = 0;
        while read < wanted {
            ensure!(stream.read_buf(&mut replies).await? > 0, "closed before {wanted} answers");
            read = replies.windows(4).filter(|part| part == b"\r\n\r\n").count() as u64;
        }
        scene.own.acknowledged.extend(numbers.take(read as usize));
    }
    Scene::until("all have left", COUNTED_FOR, || async { Ok(open_connections(&edge).await? == 0) }).await?;
    let executed = (edge.metric("edge_clicks_total").await? - before) as u64;
    let read = scene.own.acknowledged.len() as u64;
    let sent = PIPELINES * DEEP;
    scene.note(format!("{sent} requests sent, {executed} executed, {read} answers read"));
    ensure!(read <= executed && executed <= sent, "{sent} sent, {executed} executed, {read} read");
    edge.stop()
}

const LOOKS_AT_ONCE: usize = 50;
const LOOK_LINES: usize = 4;

/// Everything that looks at a link and is no click.
pub(in crate::faults) async fn lookers(scene: &mut Scene) -> anyhow::Result<()> {
    let (mut edge, addr) = scene.another_edge().await?;
    let target = Target { addr, ..scene.target.clone() };
    let kinds = [
        ("HEAD", "", 302),
        ("GET", "Sec-Purpose: prefetch\r\n", 503),
        ("GET", "Sec-Purpose: prefetch;prerender\r\n", 503),
        ("GET", "Purpose: prefetch\r\n", 503),
        ("GET", "X-Moz: prefetch\r\n", 503),
        ("OPTIONS", "", 405),
    ];
    let lasting = scene.pace.outage / kinds.len() as u32;
    let mut looks = 0;
    for (method, header, status) in kinds {
        let request = format!("{method} {} HTTP/1.1\r\nHost: a\r\n{header}\r\n", target.path);
        let lines: Vec<_> =
            (0..LOOK_LINES).map(|_| tokio::spawn(look(addr, request.clone(), status, lasting))).collect();
        for line in lines {
            looks += line.await.context("a line panicked")??;
        }
    }
    let clicks = edge.metric("edge_clicks_total").await?;
    scene.note(format!("{looks} looks: 302, 503 and 405, {clicks} clicks"));
    ensure!(clicks == 0.0, "{clicks} clicks of nobody");
    edge.stop()
}

/// Asks again and again; every answer has this status. Gives how many there were.
async fn look(addr: SocketAddr, request: String, status: u16, lasting: Duration) -> anyhow::Result<usize> {
    let mut stream = TcpStream::connect(addr).await?;
    let requests = request.repeat(LOOKS_AT_ONCE);
    let status = format!("HTTP/1.1 {status} ").into_bytes();
    let count =
        |replies: &[u8], what: &[u8]| replies.windows(what.len()).filter(|part| *part == what).count();
    let started = Instant::now();
    let (mut looks, mut replies) = (0, Vec::new());
    while started.elapsed() < lasting {
        stream.write_all(requests.as_bytes()).await?;
        replies.clear();
        // A page's body may still be on its way: only whole batches are counted.
        while count(&replies, b"HTTP/1.1 ") < LOOKS_AT_ONCE {
            ensure!(stream.read_buf(&mut replies).await? > 0, "the edge hung up");
        }
        let right = count(&replies, &status);
        ensure!(right == LOOKS_AT_ONCE, "{right} of {LOOKS_AT_ONCE} answers had the right status");
        looks += right;
    }
    Ok(looks)
}
