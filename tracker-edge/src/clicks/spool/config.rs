//! The spool's settings, with the reason for each default.

use std::path::PathBuf;
use std::time::Duration;

/// What a spool folder is run with.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// The folder. Belongs to one process at a time.
    pub dir: PathBuf,
    /// Bytes of a segment. Twice as much is twice the memory held ready per worker; half as much rolls
    /// twice as often.
    pub segment_bytes: u64,
    /// How often what was written is synced to the disk: what a power cut may take.
    pub sync_interval: Duration,
    /// Whether an answer waits until its click is synced.
    pub strict: bool,
    /// How long a segment is kept after Postgres has committed all of it, so that a database restored
    /// to an earlier moment can be given the clicks again.
    pub retain_for: Duration,
    /// Bytes of all segments at most. Beyond it, committed segments go before their time, then clicks
    /// are declared lost.
    pub disk_budget_bytes: u64,
}

impl SpoolConfig {
    /// The defaults, in this folder.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 8 << 20,
            sync_interval: Duration::from_millis(100),
            strict: false,
            retain_for: Duration::from_hours(1),
            disk_budget_bytes: 4 << 30,
        }
    }
}
