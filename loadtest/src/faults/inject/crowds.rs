//! Crowds that hold connections: slowly, or idly.

use super::clients::open_connections;
use crate::faults::scene::Scene;
use anyhow::{Context, ensure};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinSet;

const SENDERS: usize = 5_000;
const SENDERS_QUICK: usize = 1_000;
/// The matrix asks for 5 s; the rest is this machine's way to see it.
const CLOSED_FOR: Duration = Duration::from_millis(5_500);
/// Seconds slowhttptest goes on.
const TEST_SECONDS: &str = "8";
const TEST_FOR: Duration = Duration::from_mins(1);

/// slowhttptest's slow heads and slow bodies, clients that say nothing, and clients that drip.
pub(in crate::faults) async fn slow_senders(scene: &mut Scene) -> anyhow::Result<()> {
    let senders = if scene.pace.quick { SENDERS_QUICK } else { SENDERS };
    let addr = scene.stack.edge_addr;
    for mode in ["-H", "-B"] {
        let before = scene.stack.edge.metric("edge_connections_accepted_total").await?;
        let available = slow_test(scene, mode, senders).await?;
        let taken = scene.stack.edge.metric("edge_connections_accepted_total").await? - before;
        scene.note(format!("slowhttptest {mode}: {taken} connections, service available: {available}"));
        ensure!(available == "YES", "slowhttptest {mode} found the service gone");
    }
    for (what, drips) in [("say nothing", false), ("drip", true)] {
        let started = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..senders {
            clients.spawn(hold(addr, drips));
        }
        let mut longest = Duration::ZERO;
        while let Some(held) = clients.join_next().await {
            longest = longest.max(held.context("a client panicked")??);
        }
        scene
            .note(format!("{senders} that {what}: the last was closed after {:.1} s", longest.as_secs_f64()));
        ensure!(
            scene.pace.quick || longest <= CLOSED_FOR,
            "one that was to {what} was closed after {longest:?}"
        );
        ensure!(started.elapsed() < TEST_FOR, "clients that {what} took {:?}", started.elapsed());
    }
    Ok(())
}

/// Runs slowhttptest to its end; gives what it says of the service.
async fn slow_test(scene: &Scene, mode: &str, connections: usize) -> anyhow::Result<String> {
    let attackers = scene.stack.ground.lab.attackers.as_ref().context("slowhttptest is not there")?;
    // What it asks for is no link: a click of its own would have no number.
    let url = format!("http://{}/api/track/x", scene.stack.edge_addr);
    let output = Command::new(attackers.join("bin/slowhttptest"))
        .args([
            mode,
            "-c",
            &connections.to_string(),
            "-r",
            "1000",
            "-i",
            "1",
            "-l",
            TEST_SECONDS,
            "-p",
            "3",
            "-u",
            &url,
        ])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(TEST_FOR, output).await.context("slowhttptest does not end")?;
    let output = output.context("cannot run slowhttptest")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().rev().find_map(|line| line.split_once("service available:"));
    let (_, said) = line.with_context(|| format!("slowhttptest said: {text}"))?;
    // In colour.
    Ok(["YES", "NO"].into_iter().find(|word| said.contains(word)).unwrap_or(said.trim()).to_owned())
}

/// Connects and sends nothing, or a header every half second; gives how long that was let pass.
async fn hold(addr: SocketAddr, drips: bool) -> anyhow::Result<Duration> {
    let stream = TcpStream::connect(addr).await.context("no connection")?;
    let since = Instant::now();
    let (mut from, mut to) = stream.into_split();
    let dripping = async {
        if drips && to.write_all(b"GET / HTTP/1.1\r\n").await.is_ok() {
            while to.write_all(b"X: y\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        std::future::pending::<()>().await;
    };
    let mut said = [0];
    tokio::select! {
        () = dripping => {}
        // A reset ends it as well.
        read = from.read(&mut said) => ensure!(read.unwrap_or(0) == 0, "an answer to no request"),
    }
    Ok(since.elapsed())
}

const EDGES: usize = 6;
const IDLE_EACH: usize = 17_000;
/// Files a process needs for everything else.
const FILES_BESIDES: usize = 1_000;
const IDLE_BYTES_MAX: u64 = 12 * 1024;
/// Half a minute, and a sweep.
const IDLE_FOR_MS: u64 = 30_500;
const READY_FOR: Duration = Duration::from_mins(2);

/// A process full of connections that rest.
struct Crowd {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Crowd {
    fn start(addr: SocketAddr, path: &str, connections: usize) -> anyhow::Result<Self> {
        let exe = std::env::current_exe().context("cannot find this program")?;
        let (addr, connections) = (addr.to_string(), connections.to_string());
        let mut child = Command::new(exe)
            .args(["idle", "--addr", &addr, "--path", path, "--connections", &connections])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a crowd")?;
        let lines = BufReader::new(child.stdout.take().context("it has an output")?).lines();
        Ok(Self { lines, _child: child })
    }

    async fn says(&mut self, word: &str) -> anyhow::Result<String> {
        let line = tokio::time::timeout(READY_FOR, self.lines.next_line()).await;
        let line = line.with_context(|| format!("a crowd never said `{word}`"))??.unwrap_or_default();
        let rest = line.strip_prefix(word).with_context(|| format!("a crowd said: {line}"))?;
        Ok(rest.trim().to_owned())
    }
}

/// As many idle connections as the machine lets several edges hold.
pub(in crate::faults) async fn idle(scene: &mut Scene) -> anyhow::Result<()> {
    let each = IDLE_EACH.min(crate::programs::files_limit()?.saturating_sub(FILES_BESIDES));
    let mut edges = Vec::new();
    for _ in 0..EDGES {
        edges.push(scene.another_edge().await?);
    }
    let (mut grown, mut rests) = (Vec::new(), Vec::new());
    let mut crowds = Vec::new();
    // All at once: the first must not be over when the last begins.
    for (edge, addr) in &edges {
        crowds.push((Crowd::start(*addr, &scene.target.path, each)?, edge.anonymous_bytes()?));
    }
    for ((edge, _), (crowd, before)) in edges.iter().zip(&mut crowds) {
        crowd.says("ready").await?;
        // Where connecting took long, some have been closed again; their memory is still there.
        grown.push(edge.anonymous_bytes()?.saturating_sub(*before) / each as u64);
    }
    let mut most_open = 0;
    for (edge, _) in &edges {
        most_open += open_connections(edge).await?;
    }
    for (crowd, _) in &mut crowds {
        let said = crowd.says("closed").await?;
        let times: Vec<u64> = said.split(' ').filter_map(|time| time.parse().ok()).collect();
        rests.push(*times.last().with_context(|| format!("a crowd said: {said}"))?);
    }
    let opened = EDGES * each;
    let (bytes, rest) = (grown.iter().max().copied().unwrap_or(0), rests.iter().max().copied().unwrap_or(0));
    scene.note(format!(
        "{opened} connections on {EDGES} edges, {most_open} at once when the last had come; {:.1} KiB each; closed after {:.1} s at most",
        bytes as f64 / 1024.0,
        rest as f64 / 1000.0
    ));
    ensure!(bytes <= IDLE_BYTES_MAX, "{bytes} bytes for an idle connection");
    ensure!(rest <= IDLE_FOR_MS, "an idle connection was kept for {rest} ms");
    for (edge, _) in &mut edges {
        edge.stop()?;
    }
    Ok(())
}
