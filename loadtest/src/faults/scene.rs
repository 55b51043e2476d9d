//! What an injection works on: the system under load, who plays in it, and how long things last.

use crate::api::Cast;
use crate::clicker::{self, Load, Outcome, Progress, Target};
use crate::programs::Program;
use crate::stack::Stack;
use crate::stack::disk::Disk;
use anyhow::Context;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long things last. A quick run proves the same counts with fewer strokes.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// Load before the fault.
    pub(super) baseline: Duration,
    /// An outage.
    pub(super) outage: Duration,
    /// Between two strokes of one fault.
    pub(super) breath: Duration,
    /// Strokes of a fault that comes several times.
    pub(super) strokes: u32,
    /// Clicks a second.
    pub(super) rate: u32,
    /// Whether this is the run for every change.
    pub(super) quick: bool,
}

/// Between two looks at a condition.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// Numbers of the clicks that an injection makes itself: far from the load's.
const OWN_CLICKS: u64 = 1_000_000_000;

/// A system under load, while something is done to it.
pub(super) struct Scene {
    /// Everything that runs.
    pub(super) stack: Stack,
    /// Who plays.
    pub(super) cast: Cast,
    /// What is clicked.
    pub(super) target: Target,
    /// How long things last.
    pub(super) pace: Pace,
    /// Figures for the report.
    pub(super) notes: Vec<String>,
    /// What became of the clicks that the injection made itself.
    pub(super) own: Outcome,
    own_next: u64,
}

impl Scene {
    /// A system that runs and is not disturbed yet.
    pub(super) fn new(stack: Stack, cast: Cast, target: Target, pace: Pace) -> Self {
        Self { stack, cast, target, pace, notes: Vec::new(), own: Outcome::default(), own_next: OWN_CLICKS }
    }

    /// Adds a figure to the report.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// The stack's small disk.
    pub(super) fn disk(&self) -> anyhow::Result<&Disk> {
        self.stack.disk.as_ref().context("the stack has no disk")
    }

    /// Between two strokes.
    pub(super) async fn breath(&self) {
        tokio::time::sleep(self.pace.breath).await;
    }

    /// As long as an outage lasts.
    pub(super) async fn outage(&self) {
        tokio::time::sleep(self.pace.outage).await;
    }

    /// Waits for a condition; gives how long it took.
    pub(super) async fn until<F>(
        what: &str,
        within: Duration,
        mut holds: impl FnMut() -> F,
    ) -> anyhow::Result<Duration>
    where
        F: Future<Output = anyhow::Result<bool>>,
    {
        let started = Instant::now();
        loop {
            if holds().await? {
                return Ok(started.elapsed());
            }
            anyhow::ensure!(started.elapsed() < within, "not within {within:?}: {what}");
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// Numbers for so many clicks that an injection sends by itself.
    pub(super) fn numbers(&mut self, clicks: u64) -> std::ops::Range<u64> {
        let first = self.own_next;
        self.own_next += clicks;
        first..self.own_next
    }

    /// Another edge without a load of its own, which serves the link.
    pub(super) async fn another_edge(&self) -> anyhow::Result<(Program, SocketAddr)> {
        let (mut edge, addr, _) = self.stack.another_edge(None)?;
        edge.start()?;
        edge.ready().await?;
        self.stack.wait_for_link(&Target { addr, ..self.target.clone() }).await?;
        Ok((edge, addr))
    }

    /// Clicks made by the injection itself, as fast as they go, on this edge; they are part of the account.
    pub(super) async fn click(&mut self, edge: SocketAddr, clicks: u64) -> anyhow::Result<()> {
        let target = Target { addr: edge, ..self.target.clone() };
        let progress = Arc::new(Progress::from(self.own_next));
        // Numbers of clicks whose fate is unknown are used up too.
        self.own_next += 2 * clicks + 1_000;
        let load = Load { clicks, connections: 8, per_second: None, one_each: false };
        let outcome = clicker::run(&target, load, progress).await.context("the injection's own clicks")?;
        self.own.add(outcome);
        Ok(())
    }
}
