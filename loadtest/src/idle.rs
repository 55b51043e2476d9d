//! `idle`: many connections that rest between requests, in a process of its own: one process may open only so many
//! files, and a crowd needs several.
//!
//! It says `ready` when all have had an answer, and `closed` with the shortest and the longest rest in
//! milliseconds when the edge has closed them all.

use crate::say;
use anyhow::{Context, ensure};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections made at a time.
const AT_ONCE: usize = 64;
/// An edge that keeps one longer keeps it for ever.
const CLOSED_FOR: Duration = Duration::from_mins(1);

/// Settings of `idle`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The edge.
    #[arg(long)]
    addr: SocketAddr,
    /// What is asked for once, without a click.
    #[arg(long)]
    path: String,
    /// How many.
    #[arg(long)]
    connections: usize,
}

/// Opens all, waits until all are closed.
pub(crate) async fn run(args: &Args) -> anyhow::Result<bool> {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut asking = JoinSet::new();
    for _ in 0..args.connections {
        let (turns, addr, path) = (Arc::clone(&turns), args.addr, args.path.clone());
        asking.spawn(async move {
            let _turn = turns.acquire().await?;
            ask(addr, &path).await
        });
    }
    let mut resting = JoinSet::new();
    while let Some(asked) = asking.join_next().await {
        resting.spawn(rest(asked.context("a connection panicked")??));
    }
    say("ready");
    let mut rests = Vec::with_capacity(args.connections);
    while let Some(rested) = resting.join_next().await {
        rests.push(rested.context("a connection panicked")??.as_millis());
    }
    let (least, most) = (rests.iter().min().unwrap_or(&0), rests.iter().max().unwrap_or(&0));
    say(&format!("closed {least} {most}"));
    Ok(true)
}

/// Connects and has one answer; gives when it was there.
async fn ask(addr: SocketAddr, path: &str) -> anyhow::Result<(TcpStream, Instant)> {
    let mut stream = TcpStream::connect(addr).await.context("the edge takes no connection")?;
    stream.write_all(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await?;
    let mut reply = Vec::with_capacity(512);
    while !reply.ends_with(b"\r\n\r\n") {
        ensure!(stream.read_buf(&mut reply).await? > 0, "closed without an answer");
    }
    ensure!(reply.starts_with(b"HTTP/1.1 302"), "not a redirect");
    Ok((stream, Instant::now()))
}

/// Waits until the other side closes; gives how long that took.
async fn rest((mut stream, since): (TcpStream, Instant)) -> anyhow::Result<Duration> {
    let read = tokio::time::timeout(CLOSED_FOR, stream.read(&mut [0])).await;
    // A reset ends it as well.
    let ended = read.context("never closed")?.unwrap_or(0);
    ensure!(ended == 0, "more was sent than an answer");
    Ok(since.elapsed())
}
