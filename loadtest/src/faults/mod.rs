//! `faults`: causes the faults of the pipeline against real processes, under load, one after another.
//!
//! Each fault gets a system of its own, a baseline at a fixed arrival rate, the same load while the fault is
//! caused and healed, and then the account: click by click, and by `control-plane reconcile`. A fault that
//! cannot be caused on this machine is reported as skipped with the reason, never as passed. A few are
//! proved by tests that cause them more exactly than a load can; those are run here by name.

mod catalogue;
mod inject;
mod report;
mod scene;

use crate::account;
use crate::clicker::{self, Load, Outcome, Progress, Target, p99s_us};
use crate::say;
use crate::stack::ground::Ground;
use crate::stack::{Options, Stack};
use anyhow::{Context, bail, ensure};
use catalogue::{CATALOGUE, Cause, Fault, Injecting, Need, Tests};
use futures_util::FutureExt;
use report::{Figures, Row, Verdict};
use scene::{Pace, Scene};
use std::panic::AssertUnwindSafe;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 16;
const AFTERWARDS: Duration = Duration::from_secs(1);
/// A fault with everything around it, the slowest tests included.
const ROW_FOR: Duration = Duration::from_mins(8);

/// Settings of `faults`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these, by the start of their names (`f14`); all when left out.
    names: Vec<String>,
    /// Only those that fit into eight minutes together; the counts decide, the times do not.
    #[arg(long, env = "AOS_FAULTS_QUICK")]
    quick: bool,
    /// List the faults and end.
    #[arg(long)]
    list: bool,
    /// Clicks a second, in the baseline and under the fault; 1,000, or 500 in a quick run.
    #[arg(long, env = "AOS_FAULTS_RATE")]
    rate: Option<u32>,
    /// Seconds an outage lasts; 8, or 3 in a quick run.
    #[arg(long, env = "AOS_FAULTS_OUTAGE")]
    outage: Option<u64>,
    /// Strokes of a fault that comes again and again; 5, or 2 in a quick run.
    #[arg(long, env = "AOS_FAULTS_STROKES")]
    strokes: Option<u32>,
}

impl Args {
    fn pace(&self) -> Pace {
        let pace = Pace {
            // Five windows: one that the machine spoils is not the one in the middle.
            baseline: Duration::from_secs(5),
            outage: Duration::from_secs(self.outage.unwrap_or(8)),
            breath: Duration::from_millis(700),
            strokes: self.strokes.unwrap_or(5),
            rate: self.rate.unwrap_or(1_000),
            quick: false,
        };
        if !self.quick {
            return pace;
        }
        Pace {
            baseline: Duration::from_secs(1),
            outage: Duration::from_secs(self.outage.unwrap_or(3)),
            breath: Duration::from_millis(400),
            strokes: self.strokes.unwrap_or(2),
            rate: self.rate.unwrap_or(500),
            quick: true,
        }
    }

    fn wants(&self, fault: &Fault) -> bool {
        let named = self.names.iter().any(|name| fault.name.starts_with(name.as_str()));
        // What is asked for by name is run, quick or not.
        if self.names.is_empty() { !self.quick || fault.quick } else { named }
    }
}

/// Runs; `true` when no fault failed.
pub(crate) async fn run(args: &Args) -> anyhow::Result<bool> {
    let wanted: Vec<&Fault> = CATALOGUE.iter().filter(|fault| args.wants(fault)).collect();
    if args.list {
        for fault in wanted {
            say(&format!("{:<28} {}", fault.name, fault.summary));
        }
        return Ok(true);
    }
    ensure!(!wanted.is_empty(), "no fault has such a name; --list shows them");
    let further = [(Need::Faketime, "--faketime"), (Need::Attackers, "--attackers")];
    let is_needed = |need: &Need| wanted.iter().any(|fault| fault.needs.contains(need));
    let further: Vec<_> = further.iter().filter(|(need, _)| is_needed(need)).map(|(_, flag)| *flag).collect();
    let ground = Ground::prepare(&further).await?;
    let mut rows = Vec::new();
    for fault in wanted {
        say(&format!("{}: {}", fault.name, fault.summary));
        let started = Instant::now();
        let mut row = outcome_of(&ground, fault, args.pace()).await.unwrap_or_else(|error| Row {
            name: fault.name,
            figures: None,
            notes: Vec::new(),
            verdict: Verdict::Failed(format!("{error:#}")),
            took: Duration::ZERO,
        });
        row.took = started.elapsed();
        say(&format!("  {} ({:.0} s)", row.verdict, row.took.as_secs_f64()));
        rows.push(row);
    }
    report::print(&rows);
    Ok(!rows.iter().any(|row| matches!(row.verdict, Verdict::Failed(_))))
}

/// Causes a fault; whatever becomes of it, the next one has its turn. Not in a task of its own: some of it blocks
/// its thread, and a worker that blocks may be the one that the proxies' tasks wait for.
async fn outcome_of(ground: &Arc<Ground>, fault: &'static Fault, pace: Pace) -> anyhow::Result<Row> {
    let causing = tokio::time::timeout(ROW_FOR, cause(ground, fault, pace));
    match AssertUnwindSafe(causing).catch_unwind().await {
        Ok(Ok(row)) => row,
        Ok(Err(_)) => bail!("it did not end within {ROW_FOR:?}"),
        Err(_) => bail!("it panicked"),
    }
}

async fn cause(ground: &Arc<Ground>, fault: &'static Fault, pace: Pace) -> anyhow::Result<Row> {
    for need in fault.needs {
        if let Err(reason) = need.check(ground) {
            let verdict = Verdict::Skipped(format!("{reason:#}"));
            return Ok(Row {
                name: fault.name,
                figures: None,
                notes: Vec::new(),
                verdict,
                took: Duration::ZERO,
            });
        }
    }
    let mut options = Options::default();
    if let Some(prepare) = fault.prepare {
        prepare(&mut options);
    }
    let stack = Stack::start(ground, options).await?;
    let (row, stack) = match fault.cause {
        Cause::Load(inject) => under_load(fault, inject, stack, pace).await,
        Cause::Tests(tests) => {
            let outcome = tests.iter().try_fold(0, |sum, tests| Ok(sum + run_tests(&stack, tests)?));
            let row = outcome.map(|passed| Row {
                name: fault.name,
                figures: None,
                notes: vec![format!("{passed} tests")],
                verdict: Verdict::Passed,
                took: Duration::ZERO,
            });
            (row, stack)
        }
    };
    let well = row.as_ref().is_ok_and(|row| !matches!(row.verdict, Verdict::Failed(_)));
    stack_end(stack, well);
    row
}

/// Ends a stack; its logs stay when something was wrong.
fn stack_end(mut stack: Stack, well: bool) {
    if !well {
        stack.keep_folder();
    }
    drop(stack);
}

/// Runs tests by the start of their names, on the stack's servers; gives how many passed.
fn run_tests(stack: &Stack, tests: &Tests) -> anyhow::Result<u64> {
    let output = Command::new("cargo")
        .args(["test", "--quiet", "--package", tests.package])
        .args(tests.target)
        .arg("--")
        .arg(tests.filter)
        .env("AOS_TEST_DATABASE_URL", stack.postgres.url())
        .env("AOS_TEST_REDIS_URL", format!("redis://127.0.0.1:{}/", stack.redis.port()))
        .stdin(Stdio::null())
        .output()
        .context("cannot run cargo test")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "tests `{}` failed:\n{text}", tests.filter);
    let passed = text.lines().filter_map(|line| {
        let (_, result) = line.strip_prefix("test result: ")?.split_once(". ")?;
        result.split_once(" passed")?.0.parse::<u64>().ok()
    });
    let passed = passed.sum();
    ensure!(passed > 0, "no test has `{}` in its name", tests.filter);
    Ok(passed)
}

async fn under_load(
    fault: &Fault,
    inject: fn(&mut Scene) -> Injecting<'_>,
    stack: Stack,
    pace: Pace,
) -> (anyhow::Result<Row>, Stack) {
    let cast = match stack.api() {
        Ok(api) => api.cast().await,
        Err(error) => Err(error),
    };
    let cast = match cast {
        Ok(cast) => cast,
        Err(error) => return (Err(error.context("the cast cannot be made")), stack),
    };
    let target = Target {
        addr: stack.edge_addr,
        path: format!("/api/track/{}", cast.token),
        location: cast.destination.clone(),
    };
    let mut scene = Scene::new(stack, cast, target, pace);
    let row = play(fault, inject, &mut scene).await;
    (row, scene.stack)
}

async fn play(
    fault: &Fault,
    inject: fn(&mut Scene) -> Injecting<'_>,
    scene: &mut Scene,
) -> anyhow::Result<Row> {
    let (target, pace) = (scene.target.clone(), scene.pace);
    scene.stack.wait_for_link(&target).await?;
    let progress = Arc::new(Progress::default());
    let load = Load {
        clicks: u64::MAX,
        connections: CONNECTIONS,
        per_second: Some(pace.rate),
        one_each: fault.one_each,
    };
    let baseline = phase(&target, load, &progress, async {
        tokio::time::sleep(pace.baseline).await;
        Ok(())
    })
    .await?;
    let during = phase(&target, load, &progress, async {
        inject(scene).await?;
        tokio::time::sleep(AFTERWARDS).await;
        Ok(())
    })
    .await?;
    let own = std::mem::take(&mut scene.own);
    let acknowledged: Vec<u64> =
        [&baseline, &during, &own].into_iter().flat_map(|outcome| &outcome.acknowledged).copied().collect();
    let account = account::take(&scene.stack, &acknowledged).await?;
    let sent = during.acknowledged.len() as u64 + during.unknown + during.wrong.len() as u64;
    if fault.one_each {
        scene.note(format!("{} connections refused", during.refused));
    }
    let figures = Figures {
        acknowledged: acknowledged.len() as u64,
        success: during.acknowledged.len() as f64 / sent.max(1) as f64,
        p99s_us: p99s_us(&during.latencies),
        baseline_p99s_us: p99s_us(&baseline.latencies),
        reconcile: unsettled(scene.stack.reconcile().await?),
        account,
    };
    let mut timed = fault.timed && !pace.quick;
    if timed && figures.measure_the_machine() {
        scene.note("the p99 was not judged: the machine was busy before anything was wrong");
        timed = false;
    }
    let mut verdict = report::judge(fault, &figures, &during, timed);
    if fault.refused_max < during.refused && matches!(verdict, Verdict::Passed) {
        verdict = Verdict::Failed(format!("{} connections were refused", during.refused));
    }
    let notes = std::mem::take(&mut scene.notes);
    Ok(Row { name: fault.name, figures: Some(figures), notes, verdict, took: Duration::ZERO })
}

/// What `reconcile` said, unless it was content.
fn unsettled((settled, words): (bool, String)) -> Option<String> {
    (!settled).then_some(words)
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
