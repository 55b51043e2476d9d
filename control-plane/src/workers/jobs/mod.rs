//! Periodic jobs: [`schedule`] lists them, [`runner`] runs them.
//!
//! A job's code lives in its feature; it does a bounded turn in transactions of its own and may be run twice
//! at once or be cut off anywhere without harm. Most are cheap to run everywhere; those marked `alone` run in
//! one process at a time. What an operator sees when one is stuck: `cp_job_failures_total` by job grows.

mod queries;
pub mod runner;
pub mod schedule;

use crate::app::App;
use crate::error::Result;
use std::pin::Pin;
use std::time::Duration;

/// What a job's turn leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Nothing more for now.
    Idle,
    /// More waits: run again at once.
    Again,
}

/// A turn in progress.
pub type Running = Pin<Box<dyn Future<Output = Result<Turn>> + Send>>;

/// A periodic job.
#[derive(Clone, Copy)]
pub struct Job {
    /// Its name in logs and metrics; unique.
    pub name: &'static str,
    /// From the end of a turn to the begin of the next.
    pub every: Duration,
    /// In one process at a time.
    pub alone: bool,
    /// One turn.
    pub run: fn(App) -> Running,
}
