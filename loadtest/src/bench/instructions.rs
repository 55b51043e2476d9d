//! `instructions`: user-space instructions a redirect takes, counted by callgrind. No clock is involved, so no
//! noise of the machine is either: two runs differ by less than a percent. That makes it the one figure of
//! speed a gate can rest on, and [`CEILING`] only ever goes down.
//!
//! Two runs that differ in nothing but the number of clicks are compared, which leaves starting, loading links
//! and stopping out. Only the worker's thread is counted: what the thread beside it does (shipping, syncing)
//! goes by the clock, and callgrind makes a second of the machine's time thirty times as long as a redirect's.

use super::edge::{Edge, Way};
use super::links::Links;
use super::load::{Expected, Load, Until, run as put_under};
use crate::stack::SECRET;
use crate::stack::ground::Lab;
use crate::{programs, say};
use anyhow::{Context, ensure};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Instructions of a redirect at most.
const CEILING: u64 = 16_560;
/// The same of one that the fast path answers.
const CEILING_FAST: u64 = 8_350;
/// Known to both runs.
const LINKS: u32 = 10_000;
/// Clicks of the shorter run, and how many more the longer one has.
const FEW: u64 = 5_000;
const MORE: u64 = 20_000;
const CONNECTIONS: usize = 8;
/// One instruction that fills kilobytes counts as thousands: the C library does without it.
const TUNABLES: &str =
    "glibc.cpu.x86_rep_stosb_threshold=1073741824:glibc.cpu.x86_rep_movsb_threshold=1073741824";
/// The start of the names of callgrind's files.
const OUT: &str = "callgrind.out";

/// Settings of `instructions`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The build of the edge to count: a cargo profile.
    #[arg(long, env = "AOS_INSTRUCTIONS_PROFILE", default_value = "dist")]
    profile: String,
    /// Instructions of a redirect at most.
    #[arg(long, env = "AOS_INSTRUCTIONS_CEILING", default_value_t = CEILING)]
    ceiling: u64,
    /// The same of one that the fast path answers.
    #[arg(long, env = "AOS_INSTRUCTIONS_CEILING_FAST", default_value_t = CEILING_FAST)]
    ceiling_fast: u64,
    /// Leave callgrind's file of the longer run with the fast path here, for callgrind_annotate or KCachegrind.
    #[arg(long, env = "AOS_INSTRUCTIONS_KEEP", value_name = "FILE")]
    keep: Option<PathBuf>,
}

/// Runs; `false` when a redirect takes more than the ceiling.
pub(crate) async fn run(args: &Args) -> anyhow::Result<bool> {
    let lab = Lab::find(&["--valgrind"])?;
    let valgrind = lab.valgrind.clone().context("valgrind was not found")?;
    let edge = programs::build_edge_as(&args.profile)?;
    let folder = lab.folder("instructions")?;
    let links = Links::new(LINKS, &shared::Secret::parse(SECRET)?);
    let mut within = true;
    for way in Way::ALL {
        let mut counted = [0; 2];
        for (at, clicks) in [FEW, FEW + MORE].into_iter().enumerate() {
            let place = folder.join(way.name()).join(at.to_string());
            std::fs::create_dir_all(&place)?;
            let file = count(&lab, &valgrind, &edge, &place, &links, way, clicks).await?;
            counted[at] = total(&std::fs::read_to_string(&file)?)?;
            if let Some(keep) = &args.keep {
                std::fs::copy(&file, keep).context("cannot leave callgrind's file there")?;
            }
        }
        let each = counted[1].saturating_sub(counted[0]) / MORE;
        let ceiling = match way {
            Way::Hyper => args.ceiling,
            Way::Fast => args.ceiling_fast,
        };
        within &= each <= ceiling;
        let verdict = if each <= ceiling { "within" } else { "OVER" };
        say(&format!("{}: {each} instructions a redirect, {verdict} the ceiling of {ceiling}", way.name()));
    }
    std::fs::remove_dir_all(&folder).ok();
    Ok(within)
}

/// What callgrind wrote of an edge's worker from its start to its end, with so many clicks in between.
async fn count(
    lab: &Lab,
    valgrind: &Path,
    edge: &Path,
    folder: &Path,
    links: &Links,
    way: Way,
    clicks: u64,
) -> anyhow::Result<PathBuf> {
    let out = folder.join(OUT);
    let wrapper = folder.join("tracker-edge");
    let script = format!(
        "#!/bin/sh\nexport GLIBC_TUNABLES={TUNABLES}\nexec '{}' --tool=callgrind --quiet --separate-threads=yes --callgrind-out-file='{}' '{}' \"$@\"\n",
        valgrind.display(),
        out.display(),
        edge.join("tracker-edge").display()
    );
    std::fs::write(&wrapper, script)?;
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755))?;
    let mut edge = Edge::start(lab, folder, folder, links, way).await?;
    let load = Load {
        addr: edge.addr,
        links,
        expected: Expected::Own,
        one_link: false,
        connections: CONNECTIONS,
        one_each: false,
        per_second: None,
        until: Until::Clicks(clicks),
    };
    let outcome = tokio::task::block_in_place(|| put_under(load))?;
    ensure!(outcome.replies == clicks, "{} of {clicks} clicks were answered", outcome.replies);
    let recorded = edge.recorded().await?;
    ensure!(recorded == clicks, "{recorded} of {clicks} clicks were recorded");
    edge.stop()?;
    worker(folder)
}

/// The source that only the worker's thread runs.
const WORKERS_OWN: &str = "tracker-edge/src/http.rs";

/// The file of the worker's thread: callgrind writes one for each.
fn worker(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut found = None;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(OUT)) {
            continue;
        }
        let text = std::fs::read_to_string(&path).context("callgrind's file cannot be read")?;
        if text.contains(WORKERS_OWN) {
            ensure!(found.is_none(), "two threads answer requests");
            found = Some(path);
        }
    }
    found.context("callgrind saw no thread answer requests: was the edge built without line tables?")
}

/// The sum callgrind wrote down.
fn total(text: &str) -> anyhow::Result<u64> {
    let line =
        text.lines().find_map(|line| line.strip_prefix("totals: ")).context("callgrind gave no sum")?;
    line.trim().parse().context("callgrind's sum is no number")
}
