//! `soak`: the whole system under an even load for an hour, while links change every second, the edge reads its
//! files again every minute, and Redis is killed in the middle. What grows or slows down without end shows in the
//! minutes; at the end every click is accounted for.
//!
//! The second quarter is compared with the last: the first warms caches up, and the middle has the kill.

use crate::api::{self, Api, Cast};
use crate::clicker::{self, Load, Progress, Target};
use crate::stack::ground::Ground;
use crate::stack::{Options, Stack};
use crate::{account, say};
use anyhow::Context;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Links that change, one after another.
const CHANGING: usize = 50;
const CHANGE_EVERY: Duration = Duration::from_millis(200);
/// A link's last change is at the edge within this time.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(50);
const MINUTE: u64 = 60;
/// More anonymous memory at the end than in the second quarter, beyond which it is said to grow: a twentieth, and
/// what an allocator keeps back one time and not the other.
const GROWTH_MAX: f64 = 1.05;
const GROWTH_MIB: f64 = 8.0;
/// The same for the p99: a machine that others use is no steadier.
const SLOWER_MAX: f64 = 1.5;
const SLOWER_MS: f64 = 1.0;

/// Settings of `soak`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Minutes; 8 at least.
    #[arg(long, env = "AOS_SOAK_MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u64).range(8..))]
    minutes: u64,
    /// Clicks a second.
    #[arg(long, env = "AOS_SOAK_RATE", default_value_t = 3_000)]
    rate: u32,
    /// Connections clicks come over.
    #[arg(long, env = "AOS_SOAK_CONNECTIONS", default_value_t = 32)]
    connections: usize,
}

/// One minute.
struct Minute {
    edge_mib: f64,
    control_mib: f64,
    p50_ms: f64,
    /// The median of its seconds' p99.
    p99_ms: f64,
    failed: u64,
}

/// What the changes of links came to.
#[derive(Default)]
struct Changes {
    made: AtomicU64,
    refused: AtomicU64,
    stop: AtomicBool,
}

/// Runs; `true` when memory and p99 stayed flat and every click is accounted for.
pub(crate) async fn run(args: &Args) -> anyhow::Result<bool> {
    let ground = Ground::prepare(&[]).await?;
    let mut stack = Stack::start(&ground, Options::default()).await?;
    let cast = stack.api()?.cast().await?;
    let target = Target {
        addr: stack.edge_addr,
        path: format!("/api/track/{}", cast.token),
        location: cast.destination.clone(),
    };
    stack.wait_for_link(&target).await?;
    let links = make_links(&cast).await?;
    let changes = Arc::new(Changes::default());
    let changing = tokio::spawn({
        let (affiliate, links, changes) = (cast.affiliate.clone(), links.clone(), changes.clone());
        async move { change(&affiliate, &links, &changes).await }
    });
    say("| minute | edge, MiB | control plane, MiB | p50, ms | p99, ms | failed | link changes |");
    say("|---|---|---|---|---|---|---|");
    let progress = Arc::new(Progress::default());
    let (mut minutes, mut acknowledged, mut unknown, mut wrong) = (Vec::new(), Vec::new(), 0, Vec::new());
    for minute in 1..=args.minutes {
        let load = Load {
            clicks: u64::from(args.rate) * MINUTE * minute,
            connections: args.connections,
            per_second: Some(args.rate),
            one_each: false,
        };
        let clicking = tokio::spawn({
            let (target, progress) = (target.clone(), progress.clone());
            async move { clicker::run(&target, load, progress).await }
        });
        stack.edge.signal(libc::SIGHUP)?;
        if minute == args.minutes / 2 + 1 {
            say("kill -9 of Redis");
            stack.redis.kill()?;
            stack.redis.start()?;
            stack.redis.ready().await?;
        }
        let outcome = clicking.await.context("the clicker panicked")??;
        let p99s = clicker::p99s_us(&outcome.latencies);
        let one = Minute {
            edge_mib: stack.edge.anonymous_bytes()? as f64 / f64::from(1 << 20),
            control_mib: stack.control_plane.anonymous_bytes()? as f64 / f64::from(1 << 20),
            p50_ms: f64::from(clicker::percentile_us(&outcome.latencies, 50.0)) / 1000.0,
            p99_ms: f64::from(p99s.get(p99s.len() / 2).copied().unwrap_or(u32::MAX)) / 1000.0,
            failed: outcome.unknown + outcome.refused + outcome.wrong.len() as u64,
        };
        say(&format!(
            "| {minute} | {:.1} | {:.1} | {:.2} | {:.2} | {} | {} |",
            one.edge_mib,
            one.control_mib,
            one.p50_ms,
            one.p99_ms,
            one.failed,
            changes.made.load(Ordering::Relaxed)
        ));
        minutes.push(one);
        acknowledged.extend(outcome.acknowledged);
        unknown += outcome.unknown;
        wrong.extend(outcome.wrong);
    }
    changes.stop.store(true, Ordering::Relaxed);
    let leads_to = changing.await.context("the changes panicked")?;
    let followed = follows(&stack, &links, &leads_to).await?;
    say(&format!(
        "{} changes of {CHANGING} links, {} answered otherwise; {followed} of {CHANGING} lead where they were sent last",
        changes.made.load(Ordering::Relaxed),
        changes.refused.load(Ordering::Relaxed)
    ));
    let flat = is_flat(&minutes);
    let account = account::take(&stack, &acknowledged).await?;
    let (settled, words) = stack.reconcile().await?;
    say(&words);
    say(&format!(
        "acknowledged {}, accepted {}, stored {}, metered {}, lost {}, doubled {}, cut off {unknown}, wrong replies {}",
        acknowledged.len(),
        account.accepted,
        account.stored,
        account.used,
        account.lost,
        account.doubled,
        wrong.len()
    ));
    let good = flat
        && settled
        && followed == CHANGING
        && wrong.is_empty()
        && account.lost + account.doubled + account.parked + account.declared_loss == 0
        && account.accepted == account.stored
        && account.used == account.stored;
    if good {
        stack.stop()?;
    } else {
        stack.keep_folder();
    }
    Ok(good)
}

/// A link that changes.
#[derive(Clone)]
struct Link {
    id: String,
    token: String,
}

async fn make_links(cast: &Cast) -> anyhow::Result<Vec<Link>> {
    let path = format!("/api/partnerships/{}/links", cast.partnership);
    let mut links = Vec::with_capacity(CHANGING);
    for nth in 0..CHANGING {
        let body = json!({"destination_url": destination(nth, 0)});
        let made = cast.affiliate.call("POST", &path, Some(body)).await?;
        links.push(Link { id: api::text(&made, "id")?, token: api::text(&made, "token")? });
    }
    Ok(links)
}

fn destination(nth: usize, turn: u64) -> String {
    format!("https://shop.example.com/changing/{nth}?turn={turn}")
}

/// Sends one link after another somewhere else until told to stop; where each was sent last, as far as the API
/// said yes.
async fn change(affiliate: &Api, links: &[Link], changes: &Changes) -> Vec<String> {
    let mut leads_to: Vec<String> = (0..links.len()).map(|nth| destination(nth, 0)).collect();
    for turn in 1.. {
        for (nth, link) in links.iter().enumerate() {
            if changes.stop.load(Ordering::Relaxed) {
                return leads_to;
            }
            let next = destination(nth, turn);
            let path = format!("/api/links/{}", link.id);
            match affiliate.ask("PATCH", &path, Some(json!({"destination_url": next}))).await {
                Some((200, _)) => {
                    changes.made.fetch_add(1, Ordering::Relaxed);
                    leads_to[nth] = next;
                }
                _ => {
                    changes.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
            tokio::time::sleep(CHANGE_EVERY).await;
        }
    }
    leads_to
}

/// How many links lead where they were sent last.
async fn follows(stack: &Stack, links: &[Link], leads_to: &[String]) -> anyhow::Result<usize> {
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
    let deadline = Instant::now() + FOLLOWS_WITHIN;
    loop {
        let mut followed = 0;
        for (link, expected) in links.iter().zip(leads_to) {
            // HEAD answers like GET and records nothing.
            let reply =
                http.head(format!("http://{}/api/track/{}", stack.edge_addr, link.token)).send().await?;
            let location = reply.headers().get("location").and_then(|value| value.to_str().ok());
            followed += usize::from(location == Some(expected));
        }
        if followed == links.len() || Instant::now() > deadline {
            return Ok(followed);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Compares the second quarter with the last, and says how.
fn is_flat(minutes: &[Minute]) -> bool {
    let quarter = minutes.len() / 4;
    let (early, late) = (&minutes[quarter..2 * quarter], &minutes[minutes.len() - quarter..]);
    let mut flat = true;
    let mut compare = |name: &str, of: fn(&Minute) -> f64, times: f64, more: f64| {
        let (before, after) = (median(early, of), median(late, of));
        let holds = after <= before * times + more;
        flat &= holds;
        let word = if holds { "flat" } else { "NOT flat" };
        say(&format!("{name}: {before:.1} in the second quarter, {after:.1} in the last: {word}"));
    };
    compare("edge, MiB", |minute| minute.edge_mib, GROWTH_MAX, GROWTH_MIB);
    compare("control plane, MiB", |minute| minute.control_mib, GROWTH_MAX, GROWTH_MIB);
    compare("p99, ms", |minute| minute.p99_ms, SLOWER_MAX, SLOWER_MS);
    flat
}

fn median(minutes: &[Minute], of: fn(&Minute) -> f64) -> f64 {
    let mut values: Vec<f64> = minutes.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(edge_mib: impl Fn(usize) -> f64) -> Vec<Minute> {
        let minute =
            |nth| Minute { edge_mib: edge_mib(nth), control_mib: 90.0, p50_ms: 0.2, p99_ms: 2.0, failed: 0 };
        (0..60).map(minute).collect()
    }

    #[test]
    fn what_grows_all_the_time_is_not_flat() {
        assert!(is_flat(&minutes(|_| 60.0)));
        assert!(is_flat(&minutes(|nth| if nth < 15 { 30.0 } else { 60.0 + (nth % 7) as f64 })));
        assert!(!is_flat(&minutes(|nth| 60.0 + nth as f64)));
        assert!(!is_flat(&minutes(|nth| if nth > 50 { f64::NAN } else { 60.0 })));
    }
}
