//! `corpus`: the edge's malformed and unusual requests, sent through real proxies in front of it.
//!
//! Requests are smuggled where two servers on one connection disagree where a request ends. So every case goes
//! through a proxy that keeps its connections to the edge open, with a sound request behind it and another one on
//! a connection of its own, and then both are asked: how many answers the proxy had from the edge, how many
//! requests the edge answered, how many clicks it recorded. Two numbers of requests, more clicks than requests, or
//! a sound request that is answered with something else, and the run has failed.
//!
//! The proxies: haproxy and nginx of Debian's packages, each with the least configuration that forwards, haproxy
//! also told to accept what breaks HTTP, or to announce its clients by PROXY protocol v2, and both with the files in
//! `deploy/`. At last, what the edge makes of announced clients ([`announced`]).

#[path = "../../../tracker-edge/tests/corpus/mod.rs"]
mod cases;

mod announced;
mod proxies;

use crate::clicker::Target;
use crate::say;
use crate::stack::ground::Ground;
use crate::stack::{Options, Stack};
use anyhow::{Context, ensure};
use cases::Case;
use proxies::{Kind, Proxy, Yard};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A proxy that says nothing for so long waits for more of a request that never comes.
const SILENT_FOR: Duration = Duration::from_millis(250);
/// Both sides have counted by then.
const COUNTED_FOR: Duration = Duration::from_secs(2);
const COUNTED_PAUSE: Duration = Duration::from_millis(2);
/// Of all answers on one connection.
const ANSWERS_LEN_MAX: usize = 1 << 20;

/// Settings of `corpus`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only cases with this in their name; `announced` for what is made of announced clients alone.
    name: Option<String>,
}

/// What both sides have counted so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counts {
    /// Answers the proxy had from the edge.
    forwarded: u64,
    /// Requests the edge answered.
    answered: u64,
    /// Clicks it recorded.
    clicks: u64,
}

impl Counts {
    fn since(self, before: Self) -> Self {
        Self {
            forwarded: self.forwarded - before.forwarded,
            answered: self.answered - before.answered,
            clicks: self.clicks - before.clicks,
        }
    }
}

/// Runs; `true` when proxies and edge agreed about every case.
pub(crate) async fn run(args: &Args) -> anyhow::Result<bool> {
    let ground = Ground::prepare(&["--rivals"]).await?;
    let packages = ground.lab.rivals.clone().context("haproxy and nginx were not unpacked")?;
    let edge = [
        ("AOS_EDGE_TRUSTED_PROXIES", "127.0.0.1".to_owned()),
        ("AOS_EDGE_PROXY_PROTOCOL", announced::BALANCER.to_owned()),
        ("AOS_EDGE_CONNECTIONS_PER_ADDRESS", announced::PER_ADDRESS.to_string()),
    ];
    let options = Options { edge: edge.into(), ..Options::default() };
    let stack = Stack::start(&ground, options).await?;
    let cast = stack.api()?.cast().await?;
    let path = format!("/api/track/{}", cast.token);
    let target = Target { addr: stack.edge_addr, path: path.clone(), location: cast.destination.clone() };
    stack.wait_for_link(&target).await?;
    let yard = Yard { packages: &packages, folder: &stack.folder, stack: &stack };
    let mut all = Vec::new();
    for kind in Kind::ALL {
        all.push(yard.start(kind).await?);
    }
    say("forwarded by the proxy / answered by the edge / clicks, with two sound requests behind each");
    say("alone: answers / clicks, and whether the edge closes the connection");
    say(&format!(
        "| case | alone | {} |",
        all.iter().map(|proxy| proxy.kind.name()).collect::<Vec<_>>().join(" | ")
    ));
    say(&format!("|---|---|{}", "---|".repeat(all.len())));
    let announced = args.name.as_deref() == Some("announced");
    let (mut cases_run, mut wrong) = (0, Vec::new());
    for (number, case) in cases::cases(&path).iter().enumerate() {
        if args.name.as_ref().is_some_and(|name| !case.name.contains(name.as_str())) {
            continue;
        }
        cases_run += 1;
        let alone = &case.expect;
        let end = if alone.closes { ", closed" } else { "" };
        let name = case.name.replace('|', "¦");
        let mut row = format!("| {} | {}/{}{end} |", name.escape_debug(), alone.replies.len(), alone.clicks);
        for proxy in &mut all {
            let (counts, complaint) = send(&stack, &target, proxy, case, number).await?;
            row.push_str(&format!(" {}/{}/{} |", counts.forwarded, counts.answered, counts.clicks));
            wrong.extend(complaint.map(|what| format!("{}, {}: {what}", proxy.kind.name(), case.name)));
        }
        say(&row);
    }
    ensure!(cases_run > 0 || announced, "no case has such a name");
    if announced || args.name.is_none() {
        wrong.extend(announced::run(&yard, &cast).await?);
    }
    say("");
    for disagreement in &wrong {
        say(disagreement);
    }
    say(&format!("{cases_run} cases through {} proxies: {} disagreements", all.len(), wrong.len()));
    drop(all);
    stack.stop()?;
    Ok(wrong.is_empty())
}

/// Sends a case through a proxy; gives what was counted, and what is wrong with it.
async fn send(
    stack: &Stack,
    target: &Target,
    proxy: &Proxy,
    case: &Case,
    number: usize,
) -> anyhow::Result<(Counts, Option<String>)> {
    let before = counts(stack, proxy).await?;
    let answers = exchange(proxy.addr, &case.followed(number, &target.path)).await?;
    // On a connection of its own at this side, on the proxy's kept one at the other.
    let probe =
        format!("GET {}?sub1=p{number} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", target.path);
    let probed = exchange(proxy.addr, probe.as_bytes()).await?;
    let mut complaint = None;
    if !probed.starts_with("HTTP/1.1 302") || !probed.contains(&target.location) {
        complaint = Some(format!("a sound request was answered with {probed:?}"));
    }
    if let Some(wrong) = wrong_redirect(&answers, &target.location) {
        complaint = Some(format!("a redirect elsewhere: {wrong:?}"));
    }
    let deadline = Instant::now() + COUNTED_FOR;
    loop {
        let counted = counts(stack, proxy).await?.since(before);
        let agree = counted.forwarded == counted.answered && counted.answered > 0;
        if agree || Instant::now() > deadline {
            if !agree {
                complaint = Some(format!("{counted:?}"));
            } else if counted.clicks > counted.forwarded {
                complaint = Some(format!("more clicks than requests: {counted:?}"));
            }
            return Ok((counted, complaint));
        }
        tokio::time::sleep(COUNTED_PAUSE).await;
    }
}

async fn counts(stack: &Stack, proxy: &Proxy) -> anyhow::Result<Counts> {
    Ok(Counts {
        answered: stack.edge.metric("edge_responses_total").await? as u64,
        clicks: stack.edge.metric("edge_clicks_total").await? as u64,
        forwarded: proxy.forwarded().await?,
    })
}

/// Where a redirect of the edge leads if not to the link's place. nginx has redirects of its own (301, to a slash).
fn wrong_redirect(answers: &str, location: &str) -> Option<String> {
    let redirects = answers.split("HTTP/1.1 ").filter(|answer| answer.starts_with("302"));
    let mut locations = redirects.flat_map(str::lines).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("location").then(|| value.trim())
    });
    locations.find(|found| *found != location).map(str::to_owned)
}

/// Sends bytes and gives what is answered until the other side closes or waits for more.
async fn exchange(addr: SocketAddr, bytes: &[u8]) -> anyhow::Result<String> {
    let stream = TcpStream::connect(addr).await.context("the proxy takes no connection")?;
    stream.set_nodelay(true)?;
    let (mut from, mut to) = stream.into_split();
    let sending = async {
        // Who refuses early does not read the rest.
        to.write_all(bytes).await.ok();
        std::future::pending::<()>().await;
    };
    let mut answers = Vec::new();
    let receiving = async {
        while answers.len() < ANSWERS_LEN_MAX {
            match tokio::time::timeout(SILENT_FOR, from.read_buf(&mut answers)).await {
                Ok(Ok(read)) if read > 0 => {}
                // Closed, reset, or silent.
                _ => return,
            }
        }
    };
    tokio::select! {
        () = sending => {}
        () = receiving => {}
    }
    Ok(String::from_utf8_lossy(&answers).into_owned())
}
