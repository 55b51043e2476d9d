//! Files an operator may put anew while the edge runs: lists, keys, a country database.
//!
//! Each is looked at every second, and read again when it is another one or SIGHUP comes. One that cannot
//! be used changes nothing: what was read before stays, `edge_file_stale` is 1 until a good one comes, and
//! the log says why. That holds for the start too: an edge that cannot read one still redirects.

use shared::shutdown::Shutdown;
use std::fmt::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Reads a file and puts it in force: what it found in it, or why it cannot be used.
type Load = Box<dyn Fn(&Path) -> Result<String, String> + Send + Sync>;

/// One file.
pub(crate) struct Watched {
    /// What it is, in logs and metrics.
    name: &'static str,
    path: PathBuf,
    /// Those that belong to it: any other one of them is a reason to read.
    beside: Vec<PathBuf>,
    load: Load,
    loads: AtomicU64,
    failures: AtomicU64,
    stale: AtomicBool,
}

/// What tells one file from the one that was there before.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    len: u64,
    inode: (u64, u64),
}

/// What operators are shown of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) name: &'static str,
    pub(crate) loads: u64,
    pub(crate) failures: u64,
    pub(crate) stale: bool,
}

impl Watched {
    /// A file that was not looked at yet.
    pub(crate) fn new(
        name: &'static str,
        path: PathBuf,
        load: impl Fn(&Path) -> Result<String, String> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Self::several(name, path, Vec::new(), load)
    }

    /// A file and those beside it that make sense only together.
    pub(crate) fn several(
        name: &'static str,
        path: PathBuf,
        beside: Vec<PathBuf>,
        load: impl Fn(&Path) -> Result<String, String> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            name,
            path,
            beside,
            load: Box::new(load),
            loads: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            stale: AtomicBool::new(false),
        })
    }

    pub(crate) fn shown(&self) -> Shown {
        Shown {
            name: self.name,
            loads: self.loads.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            stale: self.stale.load(Ordering::Relaxed),
        }
    }

    /// Reads the file now. Takes as long as it takes: not for a thread that serves.
    pub(crate) fn read(&self) {
        let (file, path) = (self.name, self.path.display());
        match (self.load)(&self.path) {
            Ok(found) => {
                self.loads.fetch_add(1, Ordering::Relaxed);
                self.stale.store(false, Ordering::Relaxed);
                tracing::info!(file, %path, %found, "read a file");
            }
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                self.stale.store(true, Ordering::Relaxed);
                tracing::error!(file, %path, error = %on_one_line(&error), "cannot use a file; what was read before stays");
            }
        }
    }

    fn stamps(&self) -> Vec<Option<Stamp>> {
        std::iter::once(&self.path).chain(&self.beside).map(|path| Stamp::of(path)).collect()
    }

    /// Reads the file at the start, then whenever it is another one, until stopped.
    pub(crate) async fn follow(self: Arc<Self>, stop: Shutdown) {
        // Read at the start already: what matters is what comes after.
        let mut seen = self.stamps();
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(error) => return tracing::error!(%error, "cannot listen for SIGHUP"),
        };
        loop {
            let asked = tokio::select! {
                () = stop.stopping() => return,
                _ = hangup.recv() => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            // Before it is read: a file that changes meanwhile is read once more.
            let stamps = self.stamps();
            if asked || stamps != seen {
                seen = stamps;
                let file = Arc::clone(&self);
                if tokio::task::spawn_blocking(move || file.read()).await.is_err() {
                    tracing::error!(file = self.name, "reading a file panicked");
                }
            }
        }
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self {
            modified: (found.mtime(), found.mtime_nsec()),
            len: found.len(),
            inode: (found.dev(), found.ino()),
        })
    }
}

/// An error's text as one short line: a bad pattern may show itself over several.
fn on_one_line(error: &str) -> String {
    let mut line = String::with_capacity(error.len().min(400));
    for part in error.split_whitespace() {
        if line.len() > 300 {
            line.push('…');
            break;
        }
        // Writing to a String cannot fail.
        write!(line, "{}{part}", if line.is_empty() { "" } else { " " }).ok();
    }
    line
}
