//! `faults`: causes the faults of the pipeline against real processes, under load, one after another.
//!
//! Each fault gets a system of its own, a baseline at a fixed arrival rate, the same load while the fault is
//! caused and healed, and then the account, click by click. A fault that cannot be caused on this machine is
//! reported as skipped with the reason, never as passed.

mod catalogue;
mod inject;

use crate::account::{self, Account};
use crate::clicker::{self, Load, Outcome, Progress, Target, percentile_us};
use crate::say;
use crate::stack::{Options, Stack};
use anyhow::Context;
use catalogue::{CATALOGUE, Fault};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const CONNECTIONS: usize = 16;
const BASELINE_FOR: Duration = Duration::from_secs(3);
const AFTERWARDS: Duration = Duration::from_secs(1);

/// Settings of `faults`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these, by the start of their names (`f14`); all when left out.
    names: Vec<String>,
    /// Only those that fit into eight minutes together.
    #[arg(long, env = "AOS_FAULTS_QUICK")]
    quick: bool,
    /// List the faults and end.
    #[arg(long)]
    list: bool,
    /// Clicks a second, in the baseline and under the fault.
    #[arg(long, env = "AOS_FAULTS_RATE", default_value_t = 1_000)]
    rate: u32,
}

/// What came of one fault.
struct Row {
    name: &'static str,
    figures: Option<Figures>,
    verdict: Verdict,
}

struct Figures {
    acknowledged: u64,
    account: Account,
    success: f64,
    p99_us: u32,
    baseline_p99_us: u32,
}

enum Verdict {
    Passed,
    Failed(String),
    Skipped(String),
}

/// Runs; `true` when no fault failed.
pub(crate) async fn run(args: &Args) -> anyhow::Result<bool> {
    let wanted: Vec<&Fault> = CATALOGUE
        .iter()
        .filter(|fault| !args.quick || fault.quick)
        .filter(|fault| {
            args.names.is_empty() || args.names.iter().any(|name| fault.name.starts_with(name.as_str()))
        })
        .collect();
    if args.list {
        for fault in wanted {
            say(&format!("{:<34} {}", fault.name, fault.summary));
        }
        return Ok(true);
    }
    let mut rows = Vec::new();
    for fault in wanted {
        say(&format!("{}: {}", fault.name, fault.summary));
        let row = match cause(fault, args.rate).await {
            Ok(row) => row,
            Err(error) => {
                Row { name: fault.name, figures: None, verdict: Verdict::Failed(format!("{error:#}")) }
            }
        };
        say(&format!("  {}", verdict_text(&row.verdict)));
        rows.push(row);
    }
    report(&rows);
    Ok(!rows.iter().any(|row| matches!(row.verdict, Verdict::Failed(_))))
}

async fn cause(fault: &'static Fault, rate: u32) -> anyhow::Result<Row> {
    let mut options = Options::default();
    if let Some(prepare) = fault.prepare
        && let Err(reason) = prepare(&mut options)
    {
        return Ok(Row { name: fault.name, figures: None, verdict: Verdict::Skipped(format!("{reason:#}")) });
    }
    let mut stack = Stack::start_with(options).await?;
    let cast = stack.api()?.cast().await?;
    let target = Target {
        addr: stack.edge_addr,
        path: format!("/api/track/{}", cast.token),
        location: cast.destination.clone(),
    };
    stack.wait_for_link(&target).await?;
    let progress = Arc::new(Progress::default());
    let load = Load { clicks: u64::MAX, connections: CONNECTIONS, per_second: Some(rate) };
    let mut baseline = phase(&target, load, &progress, async {
        tokio::time::sleep(BASELINE_FOR).await;
        Ok(())
    })
    .await?;
    let mut during = phase(&target, load, &progress, async {
        (fault.inject)(&mut stack).await?;
        tokio::time::sleep(AFTERWARDS).await;
        Ok(())
    })
    .await?;
    let acknowledged: Vec<u64> = baseline.acknowledged.iter().chain(&during.acknowledged).copied().collect();
    let account = account::take(&stack, &acknowledged).await?;
    let sent = during.acknowledged.len() as u64 + during.unknown + during.wrong.len() as u64;
    let figures = Figures {
        acknowledged: acknowledged.len() as u64,
        success: during.acknowledged.len() as f64 / sent.max(1) as f64,
        p99_us: percentile_us(&mut during.latencies_us, 99.0),
        baseline_p99_us: percentile_us(&mut baseline.latencies_us, 99.0),
        account,
    };
    let verdict = judge(fault, &figures, &during);
    if let Verdict::Failed(_) = verdict {
        stack.keep_folder();
    }
    Ok(Row { name: fault.name, figures: Some(figures), verdict })
}

/// Clicks while something happens.
async fn phase(
    target: &Target,
    load: Load,
    progress: &Arc<Progress>,
    happening: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Outcome> {
    progress.stop.store(false, Ordering::Relaxed);
    let clicking = tokio::spawn({
        let (target, progress) = (target.clone(), progress.clone());
        async move { clicker::run(&target, load, progress).await }
    });
    let happened = happening.await;
    progress.stop.store(true, Ordering::Relaxed);
    let outcome = clicking.await.context("the clicker panicked")??;
    happened?;
    Ok(outcome)
}

fn judge(fault: &Fault, figures: &Figures, during: &Outcome) -> Verdict {
    let account = &figures.account;
    let mut wrong = Vec::new();
    if let Some(reply) = during.wrong.first() {
        wrong.push(format!("a reply was not the redirect: {reply:?}"));
    }
    if account.lost > account.declared_loss + account.parked {
        wrong.push(format!(
            "{} lost, {} of them declared or parked",
            account.lost,
            account.declared_loss + account.parked
        ));
    }
    if !fault.may_declare && account.declared_loss + account.parked > 0 {
        wrong.push(format!("{} declared lost, {} parked", account.declared_loss, account.parked));
    }
    if account.doubled > 0 {
        wrong.push(format!("{} doubled", account.doubled));
    }
    if account.accepted != account.stored + account.parked + account.declared_loss {
        wrong.push(format!(
            "accepted {} ≠ stored {} + parked {} + declared {}",
            account.accepted, account.stored, account.parked, account.declared_loss
        ));
    }
    if account.used != account.stored {
        wrong.push(format!("usage {} ≠ stored {}", account.used, account.stored));
    }
    if figures.success < fault.success_min {
        wrong.push(format!("only {:.3} % of redirects succeeded", figures.success * 100.0));
    }
    // The baseline of two noisy cores is a few hundred microseconds; below 10 ms nothing is proved.
    let p99_limit_us = (2 * figures.baseline_p99_us).max(10_000);
    if fault.success_min > 0.0 && figures.p99_us > p99_limit_us {
        wrong.push(format!("p99 {} µs against {} µs before", figures.p99_us, figures.baseline_p99_us));
    }
    if wrong.is_empty() { Verdict::Passed } else { Verdict::Failed(wrong.join("; ")) }
}

fn verdict_text(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Passed => "passed".to_owned(),
        Verdict::Failed(why) => format!("FAILED: {why}"),
        Verdict::Skipped(why) => format!("skipped: {why}"),
    }
}

fn report(rows: &[Row]) {
    say("");
    say(&format!(
        "{:<34} {:>8} {:>8} {:>5} {:>7} {:>9} {:>9} {:>9} {:>8}  verdict",
        "fault", "acked", "stored", "lost", "doubled", "success", "p99 ms", "base ms", "heal s"
    ));
    for row in rows {
        let figures = row.figures.as_ref().map_or_else(
            || " ".repeat(70),
            |figures| {
                format!(
                    "{:>8} {:>8} {:>5} {:>7} {:>8.3}% {:>9.2} {:>9.2} {:>8.1}",
                    figures.acknowledged,
                    figures.account.stored,
                    figures.account.lost,
                    figures.account.doubled,
                    figures.success * 100.0,
                    f64::from(figures.p99_us) / 1000.0,
                    f64::from(figures.baseline_p99_us) / 1000.0,
                    figures.account.caught_up_in.as_secs_f64()
                )
            },
        );
        say(&format!("{:<34} {figures}  {}", row.name, verdict_text(&row.verdict)));
    }
    let count = |wanted: fn(&Verdict) -> bool| rows.iter().filter(|row| wanted(&row.verdict)).count();
    say(&format!(
        "{} passed, {} failed, {} skipped",
        count(|verdict| matches!(verdict, Verdict::Passed)),
        count(|verdict| matches!(verdict, Verdict::Failed(_))),
        count(|verdict| matches!(verdict, Verdict::Skipped(_)))
    ));
}
