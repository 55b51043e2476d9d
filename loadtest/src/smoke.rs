//! `smoke`: N acknowledged clicks are N rows and N in the usage, and one sale is one commission,
//! whatever is killed meanwhile.

use crate::api::Cast;
use crate::clicker::{self, Load, Progress, Target, percentile_us};
use crate::stack::ground::Ground;
use crate::stack::{Options, Stack};
use crate::{account, say};
use anyhow::{Context, ensure};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Settings of `smoke`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Clicks to be acknowledged.
    #[arg(long, env = "AOS_SMOKE_CLICKS", default_value_t = 100_000)]
    clicks: u64,
    /// Times the edge is killed with kill -9, spread over the run.
    #[arg(long, env = "AOS_SMOKE_EDGE_KILLS", default_value_t = 3)]
    edge_kills: u64,
    /// Connections clicks come over.
    #[arg(long, env = "AOS_SMOKE_CONNECTIONS", default_value_t = 32)]
    connections: usize,
    /// Also kill -9 the control plane half-way, and start it again two seconds later.
    #[arg(long, env = "AOS_SMOKE_KILL_CONTROL_PLANE")]
    kill_control_plane: bool,
    /// Also kill -9 Redis half-way, and start it again, empty, two seconds later.
    #[arg(long, env = "AOS_SMOKE_KILL_REDIS")]
    kill_redis: bool,
}

/// Runs; `true` when every figure is right.
pub(crate) async fn run(args: &Args) -> anyhow::Result<bool> {
    say("starting PostgreSQL, Redis, control plane and edge");
    let ground = Ground::prepare(&[]).await?;
    let mut stack = Stack::start(&ground, Options::default()).await?;
    let cast = stack.api()?.cast().await?;
    let target = Target {
        addr: stack.edge_addr,
        path: format!("/api/track/{}", cast.token),
        location: cast.destination.clone(),
    };
    stack.wait_for_link(&target).await?;
    let progress = Arc::new(Progress::default());
    let started = Instant::now();
    let clicking = tokio::spawn({
        let (target, progress) = (target.clone(), progress.clone());
        let load =
            Load { clicks: args.clicks, connections: args.connections, per_second: None, one_each: false };
        async move { clicker::run(&target, load, progress).await }
    });
    let outcome = match disturb(args, &mut stack, &progress).await {
        Ok(()) => clicking.await.context("the clicker panicked")??,
        Err(error) => {
            progress.stop.store(true, Ordering::Relaxed);
            return Err(error);
        }
    };
    let took = started.elapsed();
    say(&format!(
        "{} clicks acknowledged in {:.1} s, {} with unknown fate (in flight when something was killed)",
        outcome.acknowledged.len(),
        took.as_secs_f64(),
        outcome.unknown
    ));
    let latencies = outcome.latencies;
    say(&format!("p50 {} µs, p99 {} µs", percentile_us(&latencies, 50.0), percentile_us(&latencies, 99.0)));
    for wrong in &outcome.wrong {
        say(&format!("wrong reply: {wrong}"));
    }
    let account = account::take(&stack, &outcome.acknowledged).await?;
    let commissions = sell_one(&cast).await?;
    let verdict = [
        ("replies that were not the redirect", outcome.wrong.len() as u64, 0),
        ("lost", account.lost, 0),
        ("doubled", account.doubled, 0),
        ("parked or declared lost", account.parked + account.declared_loss, 0),
        ("accepted by the edge − stored", account.accepted.abs_diff(account.stored), 0),
        ("clicks in /api/usage − rows", account.used.abs_diff(account.stored), 0),
        ("commissions of one sale", commissions, 1),
    ];
    say(&format!("accepted {}, stored {}, in the usage {}", account.accepted, account.stored, account.used));
    let mut good = true;
    for (what, is, should) in verdict {
        let mark = if is == should { "ok" } else { "WRONG" };
        good &= is == should;
        say(&format!("{mark:>5}  {what}: {is}"));
    }
    stack.stop()?;
    Ok(good)
}

/// Kills what is to be killed, spread over the run.
async fn disturb(args: &Args, stack: &mut Stack, progress: &Progress) -> anyhow::Result<()> {
    let mut events: Vec<(u64, &str)> =
        (1..=args.edge_kills).map(|kill| (args.clicks * kill / (args.edge_kills + 1), "edge")).collect();
    if args.kill_control_plane {
        events.push((args.clicks * 2 / 5, "control plane"));
    }
    if args.kill_redis {
        events.push((args.clicks * 3 / 5, "Redis"));
    }
    events.sort_unstable();
    for (at, victim) in events {
        while progress.acknowledged.load(Ordering::Relaxed) < at {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        say(&format!("kill -9 of the {victim} at {} clicks", progress.acknowledged.load(Ordering::Relaxed)));
        match victim {
            "edge" => {
                stack.edge.kill()?;
                stack.edge.start()?;
                stack.edge.ready().await?;
            }
            "control plane" => {
                stack.control_plane.kill()?;
                tokio::time::sleep(Duration::from_secs(2)).await;
                stack.control_plane.start()?;
                stack.control_plane.ready().await?;
            }
            _ => {
                stack.redis.kill()?;
                tokio::time::sleep(Duration::from_secs(2)).await;
                stack.redis.start()?;
            }
        }
    }
    Ok(())
}

/// Reports one sale and counts the commissions the affiliate sees.
async fn sell_one(cast: &Cast) -> anyhow::Result<u64> {
    let sale = json!({"tracking_token": cast.token, "event_type": "sale", "revenue_amount": 99.00, "external_id": "order-1"});
    let conversion = cast.advertiser.call("POST", "/api/conversions/track", Some(sale)).await?;
    ensure!(conversion["commission_amount"].as_f64() == Some(19.8), "20 % of 99 is 19.8: {conversion}");
    let conversions =
        cast.affiliate.call("GET", &format!("/api/agents/{}/conversions", cast.affiliate_id), None).await?;
    conversions["pagination"]["total"].as_u64().context("the list has a total")
}
