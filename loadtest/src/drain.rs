//! `drain`: how fast the drainer is, from streams full of frames to committed rows and counters, beside a binary
//! `COPY` of the very same rows into a bare table. Interleaved in one run, one drainer and two, medians.
//!
//! The streams are filled under another name and renamed all at once, so that a drainer that waits finds
//! everything in one moment. The clock runs until Postgres has committed the last click.

use crate::programs::Program;
use crate::say;
use crate::stack::ground::Ground;
use crate::stack::{Options, SHARDS, Stack};
use anyhow::{Context, ensure};
use futures_util::TryStreamExt;
use redis::aio::MultiplexedConnection;
use shared::click::note;
use shared::frame::{self, CLICKS_MAX, FrameHeader};
use shared::keys::{Keys, shard_of};
use shared::{Click, ClickClass, LinkKey};
use sqlx::PgPool;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Spools of each stream: what 32 threads of edges leave.
const SPOOLS_PER_SHARD: usize = 8;
/// Links clicked, and accounts they belong to.
const LINKS: u64 = 10_000;
const ACCOUNTS: u64 = 100;
/// Frames in one round trip.
const PIPELINE: usize = 64;
const LOOK_PAUSE: Duration = Duration::from_millis(2);
const SHARED_FOR: Duration = Duration::from_secs(30);
const DRAINED_FOR: Duration = Duration::from_mins(5);

/// Settings of `drain`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Clicks of a round.
    #[arg(long, env = "AOS_DRAIN_CLICKS", default_value_t = 1_000_000)]
    clicks: u64,
    /// Rounds of each kind.
    #[arg(long, env = "AOS_DRAIN_ROUNDS", default_value_t = 5)]
    rounds: usize,
}

/// Everything a round needs.
struct Bench {
    database: PgPool,
    redis: MultiplexedConnection,
    keys: Keys,
    clicks: u64,
}

/// Runs; `true` unless a click went missing.
pub(crate) async fn run(args: &Args) -> anyhow::Result<bool> {
    let ground = Ground::prepare(&[]).await?;
    let postgres = ["max_wal_size=16GB", "checkpoint_timeout=1h"].map(str::to_owned).to_vec();
    let mut stack = Stack::start(&ground, Options { postgres, ..Options::default() }).await?;
    // Only drainers work: the fold has a core of its own where there is one.
    stack.edge.stop()?;
    stack.control_plane.stop()?;
    let mut bench = Bench {
        database: stack.database().await?,
        redis: stack.redis.connect().await?,
        keys: Keys::new(""),
        clicks: args.clicks.next_multiple_of(CLICKS_MAX as u64),
    };
    sqlx::raw_sql("CREATE TABLE bare (LIKE clicks)").execute(&bench.database).await?;
    let mut first = stack.second_drainer()?;
    let mut second = stack.second_drainer()?;
    first.start()?;
    first.ready().await?;
    let (mut copies, mut ones, mut twos) = (Vec::new(), Vec::new(), Vec::new());
    say(&format!("{} clicks a round, {} rounds of each kind; clicks a second:", bench.clicks, args.rounds));
    for round in 1..=args.rounds {
        ones.push(bench.drain(&mut [&mut first]).await?);
        let rows = bench.rows().await?;
        copies.push(bench.copy(&rows).await?);
        second.start()?;
        second.ready().await?;
        twos.push(bench.drain(&mut [&mut first, &mut second]).await?);
        second.stop()?;
        let last = |rates: &[f64]| rates.last().copied().unwrap_or_default();
        say(&format!(
            "round {round}: COPY {:>9.0}   one drainer {:>9.0}   two {:>9.0}",
            last(&copies),
            last(&ones),
            last(&twos)
        ));
    }
    let (copy, one, two) = (median(&mut copies), median(&mut ones), median(&mut twos));
    say("");
    say("| COPY, clicks/s | one drainer | of COPY | two drainers | of one |");
    say("|---|---|---|---|---|");
    say(&format!("| {copy:.0} | {one:.0} | {:.2} | {two:.0} | {:.2} |", one / copy, two / one));
    first.stop()?;
    stack.stop()?;
    Ok(true)
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

impl Bench {
    /// Fills the streams, lets the drainers at them; gives clicks a second.
    async fn drain(&mut self, drainers: &mut [&mut Program]) -> anyhow::Result<f64> {
        self.shared_among(drainers.len()).await?;
        sqlx::raw_sql("TRUNCATE clicks, click_deltas, spools").execute(&self.database).await?;
        self.fill().await?;
        sqlx::raw_sql("CHECKPOINT").execute(&self.database).await?;
        let mut rename = redis::pipe();
        for shard in 0..SHARDS {
            rename.cmd("RENAME").arg(self.filling(shard)).arg(self.keys.clicks(shard)).ignore();
        }
        let started = Instant::now();
        rename.query_async::<()>(&mut self.redis).await?;
        loop {
            let done: i64 = sqlx::query_scalar("SELECT coalesce(sum(watermark), 0)::BIGINT FROM spools")
                .fetch_one(&self.database)
                .await?;
            if done as u64 >= self.clicks {
                break;
            }
            ensure!(started.elapsed() < DRAINED_FOR, "only {done} clicks were drained");
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        let took = started.elapsed();
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM clicks").fetch_one(&self.database).await?;
        let counted: i64 = sqlx::query_scalar(
            "SELECT coalesce(sum(count), 0)::BIGINT FROM click_deltas, unnest(counts) AS count",
        )
        .fetch_one(&self.database)
        .await?;
        ensure!(rows as u64 == self.clicks && rows == counted, "{rows} rows, {counted} counted");
        Ok(self.clicks as f64 / took.as_secs_f64())
    }

    /// Waits until so many drainers share the streams evenly.
    async fn shared_among(&self, drainers: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + SHARED_FOR;
        loop {
            let shares: Vec<i64> = sqlx::query_scalar(
                "SELECT count(*) FROM drain_leases WHERE expires_at > now() GROUP BY worker",
            )
            .fetch_all(&self.database)
            .await?;
            let even = i64::from(SHARDS) / drainers as i64;
            if shares.len() == drainers && shares.iter().all(|share| *share == even) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the drainers do not share the streams: {shares:?}");
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    fn filling(&self, shard: u16) -> String {
        // The same slot as the stream, and no drainer's business.
        format!("{}:filling", self.keys.clicks(shard))
    }

    /// Frames as edges cut them, each spool's in order, spools taking turns.
    async fn fill(&mut self) -> anyhow::Result<()> {
        let spools = spools();
        let now_ms = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?;
        let mut bytes = Vec::new();
        let mut pipe = redis::pipe();
        let mut number = 0;
        for nth in 0..self.clicks / CLICKS_MAX as u64 {
            let spool = spools[nth as usize % spools.len()];
            let header = FrameHeader {
                spool,
                edge: 1,
                first_seq: nth / spools.len() as u64 * CLICKS_MAX as u64,
                clock_ms: now_ms,
                lost_before: 0,
                last: false,
            };
            let notes: Vec<_> = (number..number + CLICKS_MAX as u64).map(notes_of).collect();
            let clicks: Vec<_> = (number..).zip(&notes).map(|(n, notes)| click(n, now_ms, notes)).collect();
            number += CLICKS_MAX as u64;
            frame::encode(&header, &clicks, &mut bytes);
            let stream = self.filling(shard_of(spool, SHARDS));
            pipe.cmd("XADD").arg(stream).arg("*").arg("f").arg(&bytes).ignore();
            if pipe.len() >= PIPELINE {
                pipe.query_async::<()>(&mut self.redis).await?;
                pipe.clear();
            }
        }
        pipe.query_async::<()>(&mut self.redis).await.context("cannot fill the streams")
    }

    /// The rows that were drained last, as Postgres hands them out.
    async fn rows(&self) -> anyhow::Result<Vec<u8>> {
        let mut conn = self.database.acquire().await?;
        let mut out = conn.copy_out_raw("COPY (SELECT * FROM clicks) TO STDOUT (FORMAT binary)").await?;
        let mut rows = Vec::new();
        while let Some(part) = out.try_next().await? {
            rows.extend_from_slice(&part);
        }
        Ok(rows)
    }

    /// Copies them into a bare table; gives clicks a second.
    async fn copy(&self, rows: &[u8]) -> anyhow::Result<f64> {
        sqlx::raw_sql("TRUNCATE bare").execute(&self.database).await?;
        sqlx::raw_sql("CHECKPOINT").execute(&self.database).await?;
        let mut conn = self.database.acquire().await?;
        let started = Instant::now();
        let mut copy = conn.copy_in_raw("COPY bare FROM STDIN (FORMAT binary)").await?;
        copy.send(rows).await?;
        let copied = copy.finish().await?;
        let took = started.elapsed();
        ensure!(copied == self.clicks, "{copied} rows were copied");
        Ok(copied as f64 / took.as_secs_f64())
    }
}

/// New spools, as many on every stream.
fn spools() -> Vec<Uuid> {
    let mut by_shard = vec![Vec::new(); usize::from(SHARDS)];
    while by_shard.iter().any(|spools| spools.len() < SPOOLS_PER_SHARD) {
        let spool = Uuid::from_u64_pair(LinkKey::generate().0, LinkKey::generate().0);
        let spools = &mut by_shard[usize::from(shard_of(spool, SHARDS))];
        if spools.len() < SPOOLS_PER_SHARD {
            spools.push(spool);
        }
    }
    (0..SPOOLS_PER_SHARD).flat_map(|nth| by_shard.iter().map(move |spools| spools[nth])).collect()
}

/// Every third click has a sub id.
fn notes_of(number: u64) -> Vec<u8> {
    let sub = format!("{number:08}");
    let mut notes = vec![note::SUB1, 8];
    notes.extend_from_slice(sub.as_bytes());
    if number.is_multiple_of(3) { notes } else { Vec::new() }
}

fn click(number: u64, now_ms: i64, notes: &[u8]) -> Click<'_> {
    // Few links have most of the clicks: the square of an even spread.
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let link = (((spread * spread) >> 32) * LINKS) >> 32;
    Click {
        at_ms: now_ms - (number % 60_000) as i64,
        link: LinkKey(link.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
        advertiser: (link % ACCOUNTS) as u32 + 1,
        visitor: number.wrapping_mul(0xd6e8_feb8_6659_fd93),
        class: ClickClass::Human,
        flags: 1,
        country: *b"DE",
        notes,
    }
}
