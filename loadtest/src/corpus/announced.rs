//! Behind a balancer that passes TCP on: haproxy says by PROXY protocol v2 who the client is (`send-proxy-v2`). A click
//! is the announced client's, the limit per address too, and nobody but the balancer may announce.
//!
//! What is seen is what the edge does with the address, never the address. haproxy is told the clients' addresses
//! in the same way, one balancer further out (`accept-proxy`), so that they are none of this machine's: loopback
//! has no limits.

use super::exchange;
use super::proxies::{Kind, Proxy, Yard};
use crate::api::{Cast, text};
use crate::clicker::Target;
use crate::say;
use crate::stack::{SECRET, Stack};
use anyhow::Context;
use serde_json::json;
use shared::{ClickClass, Secret, TokenKey};
use sqlx::PgPool;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Where the balancer's connections to the edge come from; the edge lets that address announce.
pub(super) const BALANCER: &str = "127.0.0.2";
/// Connections the edge takes of an address.
pub(super) const PER_ADDRESS: usize = 8;
/// Clients there are not: addresses for documentation.
const FIRST: &str = "TCP4 198.51.100.7 192.0.2.1 40000 80";
const SECOND: &str = "TCP4 203.0.113.9 192.0.2.1 40000 80";
const THIRD: &str = "TCP6 2001:db8::7 2001:db8::1 40000 80";
const ANSWER_FOR: Duration = Duration::from_secs(5);
const STORED_FOR: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(25);

/// What is compared, and what was wrong.
#[derive(Default)]
struct Findings {
    wrong: Vec<String>,
}

impl Findings {
    fn see<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: &T, due: &T) {
        let verdict = if found == due { "as it should" } else { "WRONG" };
        say(&format!("| {what} | {found:?} | {due:?} | {verdict} |"));
        if found != due {
            self.wrong.push(format!("announced clients, {what}: {found:?}, not {due:?}"));
        }
    }
}

/// Runs; gives what was wrong.
pub(super) async fn run(yard: &Yard<'_>, cast: &Cast) -> anyhow::Result<Vec<String>> {
    let stack = yard.stack;
    let target = link(stack, cast).await?;
    let request = |name: &str, lines: &str| {
        format!(
            "GET {}?sub1={name} HTTP/1.1\r\nHost: a\r\nUser-Agent: Mozilla/5.0 (X11)\r\n{lines}\r\n",
            target.path
        )
    };
    let proxies = Announcers {
        balancer: yard.start(Kind::Announcing).await?,
        foreign: yard.start(Kind::AnnouncingFromElsewhere).await?,
        mute: yard.start(Kind::Mute).await?,
    };
    let database = stack.database().await?;
    say("");
    say("| behind haproxy's `send-proxy-v2` | seen | due | |");
    say("|---|---|---|---|");
    let mut findings = Findings::default();
    let forwarded = "X-Forwarded-For: 203.0.113.77\r\n";
    for (client, name, lines) in [
        (FIRST, "first", ""),
        (FIRST, "again", ""),
        (FIRST, "header", forwarded),
        (SECOND, "second", ""),
        (THIRD, "third", ""),
    ] {
        let status = clicked(proxies.balancer.addr, client, &request(name, lines)).await?.1;
        findings.see(&format!("a click, {name}"), &status, &302);
    }
    let key = link_key(&target)?;
    let all_there = async || Ok(stored(&database, key).await?.clicks >= 5);
    until("the clicks are stored", all_there).await?;
    let Stored { visitors, duplicates, .. } = stored(&database, key).await?;
    findings.see("visitors of five clicks of three clients", &visitors, &3);
    findings.see("duplicates: the first client's two, whatever its own header says", &duplicates, &2);
    limits(stack, &proxies, &request("limit", ""), &mut findings).await?;
    strangers(stack, &proxies, &request("stranger", ""), &mut findings).await?;
    Ok(findings.wrong)
}

/// haproxy three times: the balancer, one that announces from another address, and one at the balancer's address
/// that does not announce.
struct Announcers {
    balancer: Proxy,
    foreign: Proxy,
    mute: Proxy,
}

/// A link whose repeats count as such for an hour.
async fn link(stack: &Stack, cast: &Cast) -> anyhow::Result<Target> {
    let program = format!("/api/programs/{}", cast.program);
    cast.advertiser.call("PATCH", &program, Some(json!({"dedup_seconds": 3600}))).await?;
    let links = format!("/api/partnerships/{}/links", cast.partnership);
    let link = json!({"destination_url": cast.destination});
    let link = cast.affiliate.call("POST", &links, Some(link)).await?;
    let path = format!("/api/track/{}", text(&link, "token")?);
    let target = Target { addr: stack.edge_addr, path, location: cast.destination.clone() };
    stack.wait_for_link(&target).await?;
    Ok(target)
}

/// An address has its limit, however many connections the balancer has.
async fn limits(
    stack: &Stack,
    proxies: &Announcers,
    request: &str,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let addr = proxies.balancer.addr;
    let refused_before = stack.edge.metric("edge_connections_refused_total").await?;
    // Those of the clicks before are given back when haproxy has closed them.
    let mut held = Vec::new();
    let gone = async || {
        held.push(clicked(addr, FIRST, request).await?);
        Ok(held.iter().filter(|(_, status)| *status == 302).count() >= PER_ADDRESS)
    };
    until("an address has as many as it may", gone).await?;
    let (_, beyond) = clicked(addr, FIRST, request).await?;
    findings.see("one more of an address that has as many as it may", &beyond, &0);
    let (_, other) = clicked(addr, SECOND, request).await?;
    findings.see("another address", &other, &302);
    let refused = stack.edge.metric("edge_connections_refused_total").await? - refused_before;
    findings.see("refused connections were counted", &(refused >= 1.0), &true);
    drop(held);
    let back = async || Ok(clicked(addr, FIRST, request).await?.1 == 302);
    until("places are given back", back).await
}

/// Nobody else may announce, and the balancer must.
async fn strangers(
    stack: &Stack,
    proxies: &Announcers,
    request: &str,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let counted = async || -> anyhow::Result<_> {
        let clicks = stack.edge.metric("edge_clicks_total").await?;
        Ok((clicks, stack.edge.metric("edge_proxy_headers_refused_total").await?))
    };
    let before = counted().await?;
    findings.see("headers of the balancer that were refused, its checks among them", &before.1, &0.0);
    let (_, foreign) = clicked(proxies.foreign.addr, FIRST, request).await?;
    findings.see("an announcement from another address", &foreign, &400);
    let (_, mute) = clicked(proxies.mute.addr, FIRST, request).await?;
    findings.see("no announcement from the balancer's address", &mute, &0);
    let plain = exchange(stack.edge_addr, request.as_bytes()).await?;
    findings.see("a client without a balancer", &plain.starts_with("HTTP/1.1 302"), &true);
    until("the click is counted", async || Ok(counted().await?.0 > before.0)).await?;
    let after = counted().await?;
    findings.see("clicks, headers refused", &(after.0 - before.0, after.1 - before.1), &(1.0, 1.0));
    Ok(())
}

/// Sends a request of this client, which a balancer further out announces; gives the connection, still open, and the
/// status of the answer, 0 when it is closed without one.
async fn clicked(addr: SocketAddr, client: &str, request: &str) -> anyhow::Result<(TcpStream, u16)> {
    let mut stream = TcpStream::connect(addr).await.context("haproxy takes no connection")?;
    stream.write_all(format!("PROXY {client}\r\n{request}").as_bytes()).await?;
    let mut answer = [0; 4096];
    let read = tokio::time::timeout(ANSWER_FOR, stream.read(&mut answer)).await;
    // Closed or reset: both are no answer.
    let read = read.context("neither answered nor closed")?.unwrap_or(0);
    let said = String::from_utf8_lossy(answer.get(..read).unwrap_or_default());
    let status = said.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    Ok((stream, status.unwrap_or(0)))
}

/// What is stored of a link's clicks.
#[derive(sqlx::FromRow)]
struct Stored {
    clicks: i64,
    visitors: i64,
    duplicates: i64,
}

async fn stored(database: &PgPool, link_key: i64) -> anyhow::Result<Stored> {
    let counts = sqlx::query_as(
        "SELECT count(*) AS clicks, count(DISTINCT visitor) AS visitors, count(*) FILTER (WHERE class = $2) AS duplicates
           FROM clicks WHERE link_key = $1",
    );
    Ok(counts.bind(link_key).bind(ClickClass::Duplicate as i16).fetch_one(database).await?)
}

fn link_key(target: &Target) -> anyhow::Result<i64> {
    let token = target.path.rsplit('/').next().unwrap_or_default();
    let key =
        TokenKey::new(&Secret::parse(SECRET)?).parse(token.as_bytes()).context("the token is not ours")?;
    // Bit for bit, as Postgres has it.
    Ok(key.0.cast_signed())
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + STORED_FOR;
    while !holds().await? {
        anyhow::ensure!(Instant::now() < deadline, "{what}: not within {STORED_FOR:?}");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
