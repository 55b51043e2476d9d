//! Links that change while others are clicked, and tokens nobody handed out.

use crate::api::text;
use crate::faults::scene::Scene;
use anyhow::{Context, ensure};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An edge that nothing disturbs follows a change within this time.
const FOLLOWED_FOR: Duration = Duration::from_secs(1);
/// No edge may serve an old version for longer, whatever happens.
const STALE_FOR: Duration = Duration::from_secs(15);
/// An edge that lost the message notices within this time.
const NOTICED_FOR: Duration = Duration::from_secs(10);

/// What an edge answers about a link.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Answer {
    /// A redirect, and whether it is counted.
    To(String),
    /// Any other status.
    Status(u16),
}

/// Numbers of the clicks by which links are looked at: far from all others.
static LOOKS: AtomicU64 = AtomicU64::new(3_000_000_000);

/// Asks an edge once.
async fn ask(edge: SocketAddr, path: &str) -> anyhow::Result<Answer> {
    let number = LOOKS.fetch_add(1, Ordering::Relaxed);
    // A visitor of its own each time: none is a duplicate of another.
    let agent =
        format!("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/141.0.{number} Safari/537.36");
    let mut stream = TcpStream::connect(edge).await?;
    stream
        .write_all(format!("GET {path}?sub1={number} HTTP/1.1\r\nHost: a\r\nUser-Agent: {agent}\r\nConnection: close\r\n\r\n").as_bytes())
        .await?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await?;
    let status: u16 = reply.get(9..12).context("no status")?.parse()?;
    let location = reply.lines().find_map(|line| line.strip_prefix("location: "));
    Ok(match location {
        Some(location) if status == 302 => Answer::To(location.trim().to_owned()),
        _ => Answer::Status(status),
    })
}

/// Waits until every edge answers as `right` wants; gives the slowest's time.
async fn followed(
    edges: &[SocketAddr],
    path: &str,
    what: &str,
    right: impl Fn(&Answer) -> bool,
) -> anyhow::Result<Duration> {
    let started = Instant::now();
    for edge in edges {
        loop {
            let answer = ask(*edge, path).await?;
            if right(&answer) {
                break;
            }
            ensure!(started.elapsed() < STALE_FOR, "{what}: {edge} still answers {answer:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(started.elapsed())
}

/// A link is made, led elsewhere, paused, taken up and deleted; every edge follows.
pub(in crate::faults) async fn followed_by_all(scene: &mut Scene) -> anyhow::Result<()> {
    let (mut second, addr, _) = scene.stack.another_edge(None)?;
    second.start()?;
    second.ready().await?;
    let edges = [scene.stack.edge_addr, addr];
    let mut slowest = [Duration::ZERO; 5];
    for round in 0..scene.pace.strokes {
        let times = life_of_a_link(scene, &edges, round).await?;
        for (slowest, time) in slowest.iter_mut().zip(times) {
            *slowest = time.max(*slowest);
        }
    }
    for (what, time) in ["made", "led elsewhere", "paused", "taken up", "deleted"].iter().zip(slowest) {
        scene.note(format!("{what}: {} ms", time.as_millis()));
        // A machine that builds at the same time proves no second.
        ensure!(scene.pace.quick || time <= FOLLOWED_FOR, "{what}: an edge followed after {time:?}");
    }
    second.stop()
}

async fn life_of_a_link(scene: &Scene, edges: &[SocketAddr], round: u32) -> anyhow::Result<[Duration; 5]> {
    let cast = &scene.cast;
    // A program of its own: pausing it must not pause what is under load.
    let program = json!({"name": format!("Life {round}"), "commission_type": "fixed", "commission_value": 1, "approval_mode": "auto"});
    let program = text(&cast.advertiser.call("POST", "/api/programs", Some(program)).await?, "id")?;
    let joined =
        cast.affiliate.call("POST", &format!("/api/network/join/{program}"), Some(json!({}))).await?;
    let partnership = text(&joined, "id")?;
    // The macro is replaced by nothing while clicks are not counted.
    let destination = json!({"destination_url": "https://shop.example/one?c={click_id}"});
    let links = format!("/api/partnerships/{partnership}/links");
    let link = cast.affiliate.call("POST", &links, Some(destination)).await?;
    let (id, path) = (text(&link, "id")?, format!("/api/track/{}", text(&link, "token")?));
    let leads = |place: &'static str, counted: bool| {
        move |answer: &Answer| match answer {
            Answer::To(location) => {
                location.strip_prefix(place).is_some_and(|click_id| counted != click_id.is_empty())
            }
            Answer::Status(_) => false,
        }
    };
    let (one, two) = ("https://shop.example/one?c=", "https://shop.example/two?c=");
    let made = followed(edges, &path, "made", leads(one, true)).await?;
    let elsewhere = json!({"destination_url": "https://shop.example/two?c={click_id}"});
    cast.affiliate.call("PATCH", &format!("/api/links/{id}"), Some(elsewhere)).await?;
    let led = followed(edges, &path, "led elsewhere", leads(two, true)).await?;
    cast.advertiser.call("POST", &format!("/api/programs/{program}/pause"), None).await?;
    let paused = followed(edges, &path, "paused", leads(two, false)).await?;
    cast.advertiser.call("POST", &format!("/api/programs/{program}/activate"), None).await?;
    let taken_up = followed(edges, &path, "taken up", leads(two, true)).await?;
    cast.affiliate.call("DELETE", &format!("/api/links/{id}"), None).await?;
    let deleted =
        followed(edges, &path, "deleted", |answer| matches!(answer, Answer::Status(404 | 410))).await?;
    Ok([made, led, paused, taken_up, deleted])
}

/// The message of a change is lost on its way to the edge, and nothing else comes that would tell.
pub(in crate::faults) async fn message_lost(scene: &mut Scene) -> anyhow::Result<()> {
    let links = format!("/api/partnerships/{}/links", scene.cast.partnership);
    let at = |place: &str| json!({"destination_url": format!("https://shop.example/{place}")});
    let link = scene.cast.affiliate.call("POST", &links, Some(at("before"))).await?;
    let (id, path) = (text(&link, "id")?, format!("/api/track/{}", text(&link, "token")?));
    let edges = [scene.stack.edge_addr];
    let leads = |place: &'static str| move |answer: &Answer| matches!(answer, Answer::To(location) if location.ends_with(place));
    followed(&edges, &path, "made", leads("/before")).await?;
    let proxy = scene.stack.proxies.as_ref().context("the stack has no proxies")?.edge_redis.clone();
    proxy.lose_changes(true);
    scene.cast.affiliate.call("PATCH", &format!("/api/links/{id}"), Some(at("after"))).await?;
    let changed = Instant::now();
    // The message was sent and lost; the stream no longer has it either.
    scene.outage().await;
    let mut redis = scene.stack.redis.connect().await?;
    redis::cmd("XTRIM").arg("{changes}").arg("MAXLEN").arg(0).query_async::<()>(&mut redis).await?;
    ensure!(
        ask(scene.stack.edge_addr, &path).await? != Answer::To("https://shop.example/after".to_owned()),
        "the message was not lost"
    );
    proxy.lose_changes(false);
    let healed = Instant::now();
    followed(&edges, &path, "noticed", leads("/after")).await?;
    scene.note(format!(
        "noticed {:.1} s after the line was well again, {:.1} s after the change",
        healed.elapsed().as_secs_f64(),
        changed.elapsed().as_secs_f64()
    ));
    ensure!(healed.elapsed() < NOTICED_FOR, "noticed after {:?}", healed.elapsed());
    Ok(())
}

/// Made-up tokens a second.
const MADE_UP_A_SECOND: u64 = 20_000;
const MADE_UP_FOR: Duration = Duration::from_mins(1);
const MADE_UP_FOR_QUICK: Duration = Duration::from_secs(10);
/// Requests sent before their answers are read.
const AT_ONCE: u64 = 50;
const LINES: u64 = 8;
const GROWN_MAX: u64 = 5 << 20;

/// Random tokens, twenty thousand a second: nothing behind the edge may feel them.
pub(in crate::faults) async fn made_up_tokens(scene: &mut Scene) -> anyhow::Result<()> {
    let lasting = if scene.pace.quick { MADE_UP_FOR_QUICK } else { MADE_UP_FOR };
    // What the first of them touch is there for good: not what grows.
    flood(scene.stack.edge_addr, Duration::from_secs(1)).await?;
    let asked = scene.stack.edge.metric("edge_link_misses_total").await?;
    let held = scene.stack.edge.anonymous_bytes()?;
    let started = Instant::now();
    let refused = flood(scene.stack.edge_addr, lasting).await?;
    let seconds = started.elapsed().as_secs_f64();
    let asked = scene.stack.edge.metric("edge_link_misses_total").await? - asked;
    let grown = scene.stack.edge.anonymous_bytes()?.saturating_sub(held);
    scene.note(format!(
        "{:.0} a second for {seconds:.0} s: {asked} look-ups, {} KiB more memory",
        refused as f64 / seconds,
        grown >> 10
    ));
    ensure!(asked <= seconds, "{asked} look-ups left the edge in {seconds:.0} s");
    // Without optimisation everything takes more.
    ensure!(scene.pace.quick || grown < GROWN_MAX, "memory grew by {} KiB", grown >> 10);
    Ok(())
}

/// Asks over all lines; gives how many tokens were refused.
async fn flood(edge: SocketAddr, lasting: Duration) -> anyhow::Result<u64> {
    let lines: Vec<_> = (0..LINES).map(|_| tokio::spawn(make_up(edge, lasting))).collect();
    let mut refused = 0;
    for line in lines {
        refused += line.await.context("a line panicked")??;
    }
    Ok(refused)
}

/// Asks for made-up tokens at a line's share of the rate; gives how many were refused.
async fn make_up(edge: SocketAddr, lasting: Duration) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect(edge).await?;
    let started = Instant::now();
    let mut every = tokio::time::interval(
        Duration::from_secs(1).mul_f64((AT_ONCE * LINES) as f64 / MADE_UP_A_SECOND as f64),
    );
    let mut answers = Vec::with_capacity(64 * 1024);
    let mut refused = 0;
    while started.elapsed() < lasting {
        every.tick().await;
        let mut requests = String::new();
        for _ in 0..AT_ONCE {
            let token = format!("{:016x}", shared::LinkKey::generate().0);
            requests.push_str(&format!("GET /api/track/{token} HTTP/1.1\r\nHost: a\r\n\r\n"));
        }
        stream.write_all(requests.as_bytes()).await?;
        answers.clear();
        while (refusals(&answers)) < AT_ONCE {
            ensure!(stream.read_buf(&mut answers).await? > 0, "the edge hung up");
        }
        refused += AT_ONCE;
    }
    Ok(refused)
}

/// Answers that refuse a token, among bytes read so far.
fn refusals(answers: &[u8]) -> u64 {
    const REFUSAL: &[u8] = b"HTTP/1.1 404";
    answers.windows(REFUSAL.len()).filter(|part| *part == REFUSAL).count() as u64
}
