//! `api-scale`: with 10,000 programs and 1,000,000 conversions, every list and filter answers within
//! 50 ms at p99, deep pages and cursors too, and no query reads a big table whole.

mod lists;
mod plans;
mod seed;

use crate::say;
use crate::stack::ground::Ground;
use crate::stack::{Options, Stack};
use anyhow::Context;
use lists::{List, Reader};
use plans::Plans;
use seed::{Seeded, Size};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Instant;

/// Settings of `api-scale`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Programs.
    #[arg(long, default_value_t = 10_000)]
    programs: u64,
    /// Conversions, each with its commission.
    #[arg(long, default_value_t = 1_000_000)]
    conversions: u64,
    /// Requests of each list, one after another.
    #[arg(long, default_value_t = 200)]
    requests: usize,
    /// Milliseconds that 99 of 100 replies may take.
    #[arg(long, default_value_t = 50.0)]
    p99_ms: f64,
    /// Takes the seeded database from this folder; when there is none, seeds one and leaves it there.
    #[arg(long)]
    kept: Option<PathBuf>,
    /// Only lists whose path contains this.
    #[arg(long)]
    only: Option<String>,
}

/// Requests that show a plan: more than the five after which Postgres may settle on a general one.
const PLANNED: usize = 7;
/// Pages that a list is followed by its cursors.
const CURSORS: usize = 50;

/// Runs; `true` when every list keeps its time and no plan reads a big table whole.
pub(crate) async fn run(args: &Args) -> anyhow::Result<bool> {
    say("starting PostgreSQL, Redis, control plane and edge");
    let ground = Ground::prepare(&[]).await?;
    // The endpoint that the deliveries belong to.
    let control = vec![("AOS_EGRESS_ALLOW", "127.0.0.0/8".to_owned())];
    let data = args.kept.as_deref().and_then(seed::kept);
    let fresh = data.is_none();
    let options =
        Options { control, data, postgres: vec![plans::LOG_LINE_PREFIX.to_owned()], ..Options::default() };
    let mut stack = Stack::start(&ground, options).await?;
    let size = Size { agents: args.programs / 2, programs: args.programs, conversions: args.conversions };
    let started = Instant::now();
    let seeded = match &args.kept {
        Some(folder) if !fresh => seed::names(&stack, folder)?,
        kept => {
            let seeded = seed::seed(&stack, &size).await?;
            if let Some(folder) = kept {
                seed::keep(&mut stack, &seeded, folder).await?;
            }
            seeded
        }
    };
    say(&format!(
        "{} programs, {} conversions and what belongs to them in {:.0} s",
        args.programs,
        args.conversions,
        started.elapsed().as_secs_f64()
    ));
    let mut lists = lists::all(&seeded);
    lists.retain(|list| args.only.as_ref().is_none_or(|only| list.path.contains(only)));
    let whole = planned(&mut stack, &seeded, &lists).await?;
    let mut well = whole.iter().all(String::is_empty);
    // The process is new, and so are its connections to Postgres: each list once, which is not measured.
    for list in &lists {
        read(&seeded, list.reader, &list.path).await?;
    }
    say(&format!("{:>8} {:>8} {:>8}  list", "p50 ms", "p99 ms", "max ms"));
    for (list, whole) in lists.iter().zip(&whole) {
        let mut times = Vec::with_capacity(args.requests);
        for _ in 0..args.requests {
            times.push(read(&seeded, list.reader, &list.path).await?.0);
        }
        well &= report(&mut times, &list.path, whole, args.p99_ms);
    }
    for list in lists.iter().filter(|list| list.path.contains("page=")) {
        let mut times = follow(&seeded, list).await?;
        if !times.is_empty() {
            let what = format!("{} …{} cursors on", list.path, times.len());
            well &= report(&mut times, &what, "", args.p99_ms);
        }
    }
    Ok(well)
}

/// Reads every list a few times with plans written down; which big tables each of them read whole.
async fn planned(stack: &mut Stack, seeded: &Seeded, lists: &[List]) -> anyhow::Result<Vec<String>> {
    let mut plans = Plans::watch(stack).await?;
    restart(stack).await?;
    plans.read_whole()?;
    let mut whole = Vec::with_capacity(lists.len());
    for list in lists {
        for _ in 0..PLANNED {
            read(seeded, list.reader, &list.path).await?;
        }
        whole.push(plans.read_whole()?.into_iter().collect::<Vec<_>>().join(", "));
    }
    Plans::stop_watching(stack).await?;
    restart(stack).await?;
    Ok(whole)
}

async fn restart(stack: &mut Stack) -> anyhow::Result<()> {
    stack.control_plane.kill()?;
    stack.control_plane.start()?;
    stack.control_plane.ready().await
}

/// One request: how long it took, in milliseconds, and what came.
async fn read(seeded: &Seeded, reader: Reader, path: &str) -> anyhow::Result<(f64, Value)> {
    let api = match reader {
        Reader::Anyone => &seeded.anyone,
        Reader::Big => &seeded.big,
        Reader::Busy => &seeded.busy,
    };
    let started = Instant::now();
    let reply = api.call("GET", path, None).await?;
    Ok((started.elapsed().as_secs_f64() * 1000.0, reply))
}

/// Goes on from a deep page by its cursors.
async fn follow(seeded: &Seeded, list: &List) -> anyhow::Result<Vec<f64>> {
    let (_, mut page) = read(seeded, list.reader, &list.path).await?;
    let base: Vec<_> = list.path.split('&').filter(|part| !part.starts_with("page=")).collect();
    let base = base.join("&");
    let mut times = Vec::new();
    while times.len() < CURSORS {
        let Some(cursor) = page["pagination"]["next_cursor"].as_str().map(str::to_owned) else { break };
        let (took, next) = read(seeded, list.reader, &format!("{base}&cursor={cursor}")).await?;
        // Sums have their rows under another name.
        let mut rows = ["data", "programs", "affiliates"].iter().filter_map(|name| next[*name].as_array());
        rows.next().filter(|rows| !rows.is_empty()).context("a cursor led to an empty page")?;
        times.push(took);
        page = next;
    }
    Ok(times)
}

/// One line; whether it is as it should be.
fn report(times: &mut [f64], what: &str, whole: &str, p99_ms: f64) -> bool {
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        times.get((times.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
    };
    let (slow, scanned) = (at(99) > p99_ms, !whole.is_empty());
    let mut line = format!("{:8.1} {:8.1} {:8.1}  {what}", at(50), at(99), at(100));
    if slow {
        line.push_str("  TOO SLOW");
    }
    if scanned {
        line.push_str(&format!("  READS WHOLE: {whole}"));
    }
    say(&line);
    !slow && !scanned
}
