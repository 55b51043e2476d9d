//! `upgrade`: the version before and this one side by side, under load. The schema first, then each program to this
//! version; all of them back on the new schema, as a rollback does; and up again. Nothing may be refused, lost or
//! doubled, whichever version an edge, a drainer and an API are of.
//!
//! Before an edge changes its version, the line to Redis is cut for a while, so that it leaves clicks in its spool for
//! the other version to read. `cargo xtask upgrade-test` builds the version before.

use super::fleet::Part;
use super::stores::Stores;
use super::{BREATH, Ended, Fleet};
use crate::clicker::Outcome;
use crate::stack::SECRET;
use crate::stack::ground::Lab;
use crate::{programs, say};
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// So long the version before is measured alone.
const BASELINE: Duration = Duration::from_secs(5);
/// So long an edge cannot ship before it changes its version.
const UNSHIPPED_FOR: Duration = Duration::from_secs(2);

/// Settings of `upgrade`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder with the programs of the version before.
    #[arg(long, env = "AOS_UPGRADE_PREVIOUS_BIN")]
    previous_bin: PathBuf,
    /// What gave the roles their rights in the version before, where its `migrate` did not.
    #[arg(long, env = "AOS_UPGRADE_PREVIOUS_GRANTS")]
    previous_grants: Option<PathBuf>,
    /// Clicks a second.
    #[arg(long, env = "AOS_UPGRADE_RATE", default_value_t = 400)]
    rate: u32,
    /// Sales a second.
    #[arg(long, env = "AOS_UPGRADE_SALES", default_value_t = 20)]
    sales: u32,
}

/// Two of each, but one that works: the jobs are one at a time anyway.
const PARTS: [(&str, Part); 7] = [
    ("edge-1", Part::Edge),
    ("drain-1", Part::Drain),
    ("api-1", Part::Serve),
    ("work-1", Part::Work),
    ("edge-2", Part::Edge),
    ("drain-2", Part::Drain),
    ("api-2", Part::Serve),
];

/// Runs; `true` when no step was noticed.
pub(crate) async fn run(args: &Args) -> anyhow::Result<bool> {
    let lab = Lab::find(&["--rivals"])?;
    let new = programs::build()?;
    let old = args.previous_bin.canonicalize().context("there is no version before")?;
    let folder = lab.folder("upgrade")?;
    let stores = Stores::start(&lab, &folder, false).await?;
    stores.migrate(&old, SECRET).await?;
    if let Some(grants) = &args.previous_grants {
        stores.run(&std::fs::read_to_string(grants)?).await.context("the grants of the version before")?;
    }
    let parts = PARTS.map(|(name, part)| (name.to_owned(), part));
    let mut fleet = Fleet::start(&lab, &folder, stores, &parts, &old).await?;
    let (cast, target) = fleet.cast().await?;
    say(&format!(
        "{} programs of the version before, {} clicks and {} sales a second",
        PARTS.len(),
        args.rate,
        args.sales
    ));
    let load = fleet.load((&cast, &target), (args.rate, args.sales), &Ended::default());
    tokio::time::sleep(BASELINE).await;
    let baseline = load.end().await?;
    say(&format!(
        "baseline: {} clicks and {} sales, {} errors",
        baseline.clicks.acknowledged.len(),
        baseline.sales.acknowledged.len(),
        errors(&baseline)
    ));
    let load = fleet.load((&cast, &target), (args.rate, args.sales), &baseline);
    let done = there_and_back(&mut fleet, &old, &new).await;
    let mut ended = load.end().await?;
    done?;
    let above = errors(&ended).saturating_sub(errors(&baseline));
    ended.clicks.add(Outcome { acknowledged: baseline.clicks.acknowledged, ..Outcome::default() });
    ended.sales.acknowledged.extend(baseline.sales.acknowledged);
    let figures = fleet.account(ended).await?;
    let good = figures.show(Duration::ZERO);
    say(&format!("{:>5}  errors above the baseline: {above}", if above == 0 { "ok" } else { "WRONG" }));
    if good {
        fleet.went_well();
    }
    Ok(good && above == 0)
}

fn errors(load: &Ended) -> u64 {
    let clicks = load.clicks.refused + load.clicks.unknown + load.clicks.wrong.len() as u64;
    clicks + load.sales.failed + load.sales.given_up + load.sales.refused.len() as u64
}

async fn there_and_back(fleet: &mut Fleet, old: &Path, new: &Path) -> anyhow::Result<()> {
    let started = Instant::now();
    let said = fleet.stores.migrate(new, SECRET).await?;
    let rights = said.lines().filter(|line| line.contains("rights changed")).count();
    say(&format!(
        "  the schema of this version, {rights} rights changed, in {:.1} s",
        started.elapsed().as_secs_f64()
    ));
    for (version, binaries) in [("this version", new), ("the version before", old), ("this version", new)] {
        for nth in 0..fleet.members.len() {
            switch(fleet, nth, version, binaries).await?;
        }
    }
    tokio::time::sleep(BREATH).await;
    Ok(())
}

async fn switch(fleet: &mut Fleet, nth: usize, version: &str, binaries: &Path) -> anyhow::Result<()> {
    let started = Instant::now();
    let edge = fleet.members[nth].part() == Part::Edge;
    let mut left = String::new();
    if edge {
        let line = fleet.stores.edge_line.clone().context("edges have no line of their own")?;
        line.silent(true);
        tokio::time::sleep(UNSHIPPED_FOR).await;
        let unshipped = fleet.members[nth].program()?.metric("edge_ship_unshipped").await?;
        let stopped = fleet.leave(nth, true).await;
        line.silent(false);
        line.cut();
        stopped?;
        fleet.enter(nth, binaries, true).await?;
        ensure!(unshipped > 0.0, "{} left nothing in its spool", fleet.members[nth].name());
        left = format!(", {unshipped} clicks in the spool it found");
    } else {
        fleet.restart(nth, binaries, true).await?;
    }
    let name = fleet.members[nth].name();
    say(&format!("  {name} is {version} after {:.1} s{left}", started.elapsed().as_secs_f64()));
    tokio::time::sleep(BREATH).await;
    Ok(())
}
