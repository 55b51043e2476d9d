//! The folder's spools as one thing: opened once per process, shared by everything that touches clicks.

use super::config::SpoolConfig;
use super::folder;
use super::fs::{Disk, Fs};
use super::metrics::Metrics;
use super::reader::Reader;
use super::recovery::recover;
use super::segment::lock;
use super::state::Spool;
use super::upkeep::{SEGMENT_BYTES_MIN, Upkeep};
use super::writer::Writer;
use shared::keys::Watermark;
use std::fs::File;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Why a spool folder cannot be used. A full or failing disk is not among these: then the edge runs
/// without a spool, and says so.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the spool folder {0} is in use by another process")]
    InUse(String),
    /// A setting makes no sense.
    #[error("spool setting: {0}")]
    Config(&'static str),
    /// It cannot be used, and not for want of room or a broken disk.
    #[error("the spool folder {dir} cannot be used")]
    Io {
        /// The folder.
        dir: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// What is known of one spool: the edge's part of the conservation sum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpoolReport {
    /// The spool.
    pub spool: Uuid,
    /// Whether this process still writes it.
    pub live: bool,
    /// Sequences taken: clicks answered, stored or lost.
    pub accepted: u64,
    /// Of these, lost as far as this process knows: no room, or damage it came across.
    pub declared_loss: u64,
    /// The lowest sequence still on disk.
    pub first_kept_seq: u64,
    /// Everything below is in Redis, or was.
    pub shipped_seq: u64,
    /// What Postgres has, as last heard.
    pub watermark: Option<Watermark>,
}

struct Threads {
    upkeep: Thread,
    sync: Thread,
    handles: Vec<JoinHandle<()>>,
}

/// All spools of one folder.
pub struct SpoolSet {
    upkeep: Arc<Upkeep>,
    threads: Mutex<Option<Threads>>,
    /// Holds the folder's lock.
    lock: Mutex<Option<File>>,
}

impl std::fmt::Debug for SpoolSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpoolSet").field("dir", &self.upkeep.config.dir).finish_non_exhaustive()
    }
}

impl SpoolSet {
    /// Takes the folder, recovers what earlier processes left in it, and starts the two threads beside it.
    pub fn open(config: SpoolConfig) -> Result<Arc<Self>, OpenError> {
        let set = Self::open_on(config, Arc::new(Disk))?;
        set.start_threads();
        Ok(set)
    }

    /// The same without threads: nothing happens but recovery.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn open_still(config: SpoolConfig) -> Result<Self, OpenError> {
        Self::open_on(config, Arc::new(Disk)).map(|set| Arc::into_inner(set).expect("it was just made"))
    }

    /// The same on another file system and without threads: the caller calls the passes.
    pub(super) fn open_on(config: SpoolConfig, fs: Arc<dyn Fs>) -> Result<Arc<Self>, OpenError> {
        if config.segment_bytes < SEGMENT_BYTES_MIN || !config.segment_bytes.is_multiple_of(4096) {
            return Err(OpenError::Config("a segment is whole pages of 4 KiB, and 64 KiB at least"));
        }
        if config.segment_bytes > 1 << 30 {
            return Err(OpenError::Config("a segment is 1 GiB at most"));
        }
        if config.sync_interval.is_zero() {
            return Err(OpenError::Config("the sync interval is above zero"));
        }
        let dir = config.dir.display().to_string();
        let taken = match folder::take(&config.dir) {
            Ok(Some(held)) => folder::edge_id(&config.dir).map(|edge| (held, edge)),
            Ok(None) => return Err(OpenError::InUse(dir)),
            Err(error) => Err(error),
        };
        let io = |source| OpenError::Io { dir: dir.clone(), source };
        let (held, edge) = match taken {
            Ok((held, edge)) => (Some(held), edge),
            Err(error) if is_disk_trouble(&error) => {
                tracing::error!(%error, "the spool folder is out of order: running without, all clicks are declared lost");
                (None, folder::random_u64().map_err(io)?)
            }
            Err(error) => return Err(io(error)),
        };
        let upkeep = Upkeep::new(config, fs, edge, held.is_some());
        if held.is_some() {
            let recovered = recover(&upkeep.config.dir, &upkeep.fs, edge).map_err(io)?;
            upkeep.bytes.store(recovered.bytes, Ordering::Relaxed);
            upkeep.metrics.foreign_files.set(recovered.foreign as f64);
            let segments = recovered.spools.iter().flat_map(|spool| Vec::from(lock(&spool.segments).clone()));
            lock(&upkeep.recovered).extend(segments);
            *lock(&upkeep.spools) = recovered.spools;
        }
        Ok(Arc::new(Self { upkeep: Arc::new(upkeep), threads: Mutex::default(), lock: Mutex::new(held) }))
    }

    pub(super) fn start_threads(&self) {
        let interval = self.upkeep.config.sync_interval;
        let spawn = |name: &str, pass: fn(&Upkeep)| {
            let upkeep = Arc::clone(&self.upkeep);
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || run(&upkeep, interval, pass))
                .expect("a process that cannot start two threads cannot serve either")
        };
        let upkeep = spawn("spool-upkeep", |upkeep| upkeep.tend(Instant::now()));
        let sync = spawn("spool-sync", Upkeep::sync);
        *lock(&self.threads) = Some(Threads {
            upkeep: upkeep.thread().clone(),
            sync: sync.thread().clone(),
            handles: vec![upkeep, sync],
        });
    }

    /// A writer on a new spool, with its first segment ready if there is room for one.
    pub fn writer(&self) -> Writer {
        // Without randomness two spools could be one: better to end here than to mix their clicks up.
        let mut id = [0; 16];
        getrandom::fill(&mut id).expect("the kernel has randomness once it has booted");
        let spool = Arc::new(Spool::new(Uuid::from_bytes(id), self.upkeep.edge, true));
        let ready = self.upkeep.supply(&spool);
        let threads = lock(&self.threads);
        let sync = threads.as_ref().map(|threads| threads.sync.clone());
        Writer::new(
            spool,
            ready,
            threads.as_ref().map(|threads| threads.upkeep.clone()),
            sync.filter(|_| self.upkeep.config.strict),
        )
    }

    /// The id of this edge installation; it stays with the folder.
    pub fn edge_id(&self) -> u64 {
        self.upkeep.edge
    }

    /// Whether clicks cannot be kept on disk now: an alarm.
    pub fn degraded(&self) -> bool {
        self.upkeep.degraded.load(Ordering::Acquire)
    }

    /// What is known of every spool in the folder.
    pub fn report(&self) -> Vec<SpoolReport> {
        let spools = lock(&self.upkeep.spools).clone();
        spools
            .iter()
            .map(|spool| {
                let progress = *lock(&spool.progress);
                SpoolReport {
                    spool: spool.id,
                    live: !spool.is_closed(),
                    accepted: spool.accepted(),
                    declared_loss: spool.hot.lost.load(Ordering::Acquire) + progress.damaged,
                    first_kept_seq: spool.first_kept().0,
                    shipped_seq: progress.shipped_seq,
                    watermark: progress.watermark,
                }
            })
            .collect()
    }

    /// Ends the threads after a last sync and gives the folder back. Writers must be gone: what they append
    /// afterwards is kept, but by the kernel's leave.
    pub fn close(&self) {
        self.upkeep.stop.store(true, Ordering::Release);
        if let Some(threads) = lock(&self.threads).take() {
            for handle in threads.handles {
                handle.thread().unpark();
                if handle.join().is_err() {
                    tracing::error!("a spool thread panicked");
                }
            }
        }
        self.upkeep.finish();
        lock(&self.lock).take();
    }

    /// The spools to ship.
    pub(crate) fn spools(&self) -> Vec<Arc<Spool>> {
        lock(&self.upkeep.spools).clone()
    }

    /// A reader of one spool; there is one at a time.
    pub(crate) fn reader(&self, spool: &Arc<Spool>) -> Reader {
        Reader::new(Arc::clone(spool), Arc::clone(&self.upkeep.fs))
    }

    /// Where shipping counts.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.upkeep.metrics
    }

    /// One round of making ready, freeing and counting.
    #[cfg(test)]
    pub(super) fn tend(&self, now: Instant) {
        self.upkeep.tend(now);
    }

    /// Gives the folder back without a last sync, as the end of the process does.
    #[cfg(test)]
    pub(super) fn forget(&self) {
        self.upkeep.forgotten.store(true, Ordering::Release);
    }

    /// One round of syncing.
    #[cfg(test)]
    pub(super) fn sync(&self) {
        self.upkeep.sync();
    }
}

impl Drop for SpoolSet {
    fn drop(&mut self) {
        self.close();
    }
}

/// A thread's life: a pass, then rest until the interval is over or somebody asks.
fn run(upkeep: &Upkeep, interval: Duration, pass: fn(&Upkeep)) {
    while !upkeep.stop.load(Ordering::Acquire) {
        pass(upkeep);
        std::thread::park_timeout(interval);
    }
}

/// Trouble that a disk makes and an operator cannot be expected to have configured.
fn is_disk_trouble(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
        || error.raw_os_error() == Some(libc::EIO)
}
