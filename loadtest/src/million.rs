//! `million`: a million clicks through twenty kills of the edge, twenty of the drainer between commit and
//! acknowledgement, and an emptied Redis, three times. Every one of them is stored once.
//!
//! A drainer is killed at exactly that point: the line between it and Redis holds its word that a batch is
//! committed, Postgres is asked whether it is, and then comes `kill -9`.

use crate::clicker::{self, Load, Progress, Target};
use crate::stack::ground::Ground;
use crate::stack::{Options, SHARDS, Stack};
use crate::{account, say};
use anyhow::{Context, ensure};
use shared::keys::{Keys, Watermark};
use sqlx::PgPool;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A drainer under load has a batch to report within this time.
const HELD_FOR: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);
/// A drainer whose line was cut is at work again after this.
const GO_ON_FOR: Duration = Duration::from_secs(1);
/// What a drainer's word to the edges has in it.
const WATERMARK: &[u8] = b":w:";

/// Settings of `million`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Clicks to be acknowledged.
    #[arg(long, env = "AOS_MILLION_CLICKS", default_value_t = 1_000_000)]
    clicks: u64,
    /// Times the edge is killed.
    #[arg(long, env = "AOS_MILLION_EDGE_KILLS", default_value_t = 20)]
    edge_kills: u64,
    /// Times the drainer is killed between commit and acknowledgement.
    #[arg(long, env = "AOS_MILLION_DRAINER_KILLS", default_value_t = 20)]
    drainer_kills: u64,
    /// Times Redis is emptied.
    #[arg(long, env = "AOS_MILLION_FLUSHES", default_value_t = 3)]
    flushes: u64,
    /// Connections clicks come over.
    #[arg(long, env = "AOS_MILLION_CONNECTIONS", default_value_t = 32)]
    connections: usize,
    /// Clicks a second: slow enough that clicks still come when the last stroke falls.
    #[arg(long, env = "AOS_MILLION_RATE", default_value_t = 8_000)]
    rate: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stroke {
    Edge,
    Drainer,
    Flush,
}

/// Runs; `true` when every click is accounted for, once.
pub(crate) async fn run(args: &Args) -> anyhow::Result<bool> {
    let ground = Ground::prepare(&[]).await?;
    let mut stack = Stack::start(&ground, Options { proxies: true, ..Options::default() }).await?;
    let cast = stack.api()?.cast().await?;
    let target = Target {
        addr: stack.edge_addr,
        path: format!("/api/track/{}", cast.token),
        location: cast.destination.clone(),
    };
    stack.wait_for_link(&target).await?;
    let progress = Arc::new(Progress::default());
    let load = Load {
        clicks: args.clicks,
        connections: args.connections,
        per_second: Some(args.rate),
        one_each: false,
    };
    let started = Instant::now();
    let clicking = tokio::spawn({
        let (target, progress) = (target.clone(), progress.clone());
        async move { clicker::run(&target, load, progress).await }
    });
    if let Err(error) = strike(args, &mut stack, &progress).await {
        progress.stop.store(true, Ordering::Relaxed);
        stack.keep_folder();
        return Err(error);
    }
    let outcome = clicking.await.context("the clicker panicked")??;
    say(&format!(
        "{} clicks acknowledged in {:.0} s; {} more were cut off by a kill, and may or may not have counted",
        outcome.acknowledged.len(),
        started.elapsed().as_secs_f64(),
        outcome.unknown
    ));
    let account = account::take(&stack, &outcome.acknowledged).await?;
    let (settled, words) = stack.reconcile().await?;
    say(&words);
    say(&format!(
        "acknowledged {}, accepted {}, stored {}, metered {}, lost {}, doubled {}, wrong replies {}",
        outcome.acknowledged.len(),
        account.accepted,
        account.stored,
        account.used,
        account.lost,
        account.doubled,
        outcome.wrong.len()
    ));
    let good = settled
        && outcome.wrong.is_empty()
        && account.lost + account.doubled + account.parked + account.declared_loss == 0
        && account.accepted == account.stored
        && account.used == account.stored
        && account.stored >= outcome.acknowledged.len() as u64
        && account.stored <= outcome.acknowledged.len() as u64 + outcome.unknown;
    if good {
        stack.stop()?;
    } else {
        stack.keep_folder();
    }
    Ok(good)
}

/// Everything that is done to the system, spread evenly over the clicks.
async fn strike(args: &Args, stack: &mut Stack, progress: &Progress) -> anyhow::Result<()> {
    let spread =
        |times: u64, stroke| (1..=times).map(move |nth| (args.clicks * (2 * nth - 1) / (2 * times), stroke));
    let mut strokes: Vec<(u64, Stroke)> = spread(args.edge_kills, Stroke::Edge)
        .chain(spread(args.drainer_kills, Stroke::Drainer))
        .chain(spread(args.flushes, Stroke::Flush))
        .collect();
    strokes.sort_unstable();
    let database = stack.database().await?;
    for (at, stroke) in strokes {
        while progress.acknowledged.load(Ordering::Relaxed) < at {
            tokio::time::sleep(PAUSE).await;
        }
        let clicks = progress.acknowledged.load(Ordering::Relaxed);
        match stroke {
            Stroke::Edge => {
                say(&format!("{clicks:>8}  kill -9 of the edge"));
                stack.edge.kill()?;
                stack.edge.start()?;
                stack.edge.ready().await?;
            }
            Stroke::Drainer => {
                let ahead = kill_before_acknowledging(stack, &database).await?;
                say(&format!(
                    "{clicks:>8}  kill -9 of the drainer, {ahead} clicks committed and not acknowledged"
                ));
            }
            Stroke::Flush => {
                say(&format!("{clicks:>8}  FLUSHALL"));
                let mut redis = stack.redis.connect().await?;
                redis::cmd("FLUSHALL").query_async::<()>(&mut redis).await?;
            }
        }
    }
    Ok(())
}

/// Gives how many clicks were committed that nobody had been told of.
async fn kill_before_acknowledging(stack: &mut Stack, database: &PgPool) -> anyhow::Result<i64> {
    let line = stack.proxies.as_ref().context("the stack has no proxies")?.control_redis.clone();
    let deadline = Instant::now() + HELD_FOR;
    let ahead = loop {
        line.hold_at(WATERMARK);
        let held = tokio::time::timeout(HELD_FOR, line.held()).await;
        ensure!(held.is_ok(), "no drainer said within {HELD_FOR:?} that a batch is committed");
        let ahead = unsaid(stack, database).await?;
        if ahead > 0 {
            break ahead;
        }
        // On a new connection it says again what is known: not the moment that is wanted. It goes on meanwhile.
        line.let_go();
        ensure!(Instant::now() < deadline, "nothing new was committed within {HELD_FOR:?}");
        tokio::time::sleep(GO_ON_FOR).await;
    };
    stack.control_plane.kill()?;
    line.let_go();
    stack.control_plane.start()?;
    stack.control_plane.ready().await?;
    Ok(ahead)
}

/// Clicks that Postgres has and Redis has not been told of.
async fn unsaid(stack: &Stack, database: &PgPool) -> anyhow::Result<i64> {
    let rows: Vec<(Uuid, i16, i64)> =
        sqlx::query_as("SELECT spool, shard, watermark FROM spools").fetch_all(database).await?;
    let keys = Keys::new("");
    let mut redis = stack.redis.connect().await?;
    let mut unsaid = 0;
    for (spool, shard, watermark) in rows {
        let key = keys.watermark(shard.unsigned_abs() % SHARDS, spool);
        let said: Option<String> = redis::cmd("GET").arg(key).query_async(&mut redis).await?;
        let said = said.as_deref().and_then(Watermark::parse).map_or(0, |mark| mark.next_seq as i64);
        unsaid += (watermark - said).max(0);
    }
    Ok(unsaid)
}
