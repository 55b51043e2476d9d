//! Ctrl-C, SIGTERM and SIGHUP as a counter that waiting loops look at.
//!
//! Children live in process groups of their own, so the terminal's signal reaches only this program,
//! which then stops them in order. A second signal means "now": stopping no longer waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Returned by everything that stopped waiting because a signal came.
#[derive(Debug, Clone, Copy)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// How often waiting loops look at the counter and at what they wait for.
pub const TICK: Duration = Duration::from_millis(25);

/// The number of signals received so far.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// Takes over SIGINT, SIGTERM and SIGHUP for the rest of the process.
    pub fn install() -> Result<Self> {
        let this = Self::default();
        let counter = Arc::clone(&this.0);
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot listen for signals")?;
        std::thread::spawn(move || {
            for _ in signals.forever() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        Ok(this)
    }

    /// How many signals came; two or more ask for haste.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Whether anyone asked to stop.
    pub fn requested(&self) -> bool {
        self.count() > 0
    }

    /// Fails with [`Interrupted`] once a signal came.
    pub fn check(&self) -> Result<()> {
        if self.requested() { Err(Interrupted.into()) } else { Ok(()) }
    }

    /// Sleeps one tick, or fails if a signal came.
    pub fn tick(&self) -> Result<()> {
        self.check()?;
        std::thread::sleep(TICK);
        self.check()
    }
}
