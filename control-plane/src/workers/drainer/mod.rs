//! The drainer: clicks from the streams in Redis to rows in Postgres, each exactly once.
//!
//! **Guarantee.** A frame's clicks, their sums for the fold and its spool's watermark are one transaction,
//! and a sequence below the watermark is never taken again. So it does not matter how often a frame comes,
//! in which order, to how many drainers, or what Redis forgets: the edge sends again whatever the published
//! watermark does not cover. Nothing is acknowledged before it is committed.
//!
//! **Order** is per spool; a frame with something missing before it is dropped, since the edge goes back
//! to the watermark. After every batch the watermark of each spool mentioned is published, also when all of
//! it was known or did not fit: an edge that lost the answer must not ask for ever. On each new connection to
//! Postgres or Redis the watermarks of all recent spools are published: the server behind it may be another
//! one, or the same set back, and what it says counts even when it is less.
//!
//! **Turns.** While Postgres takes a batch, Redis is told of the one before and gives the next. So at most one
//! batch is committed and not acknowledged, and one is read ahead; both are forgotten, and read again, when
//! either server fails: what one incarnation of Postgres has must not be told in the name of another.
//!
//! **Bounds.** Two batches in memory, each of at most 64 entries and about 8 MiB. What cannot be stored is parked with
//! its bytes ([`parked`]) and the stream goes on; frames of a later format stay in the stream for a build
//! that knows them.
//!
//! **Stuck?** `cp_drain_absent_streams` counts streams of a cluster whose master is away; the others go on.
//! `cp_drain_failures_total` grows and `cp_drain_lag_seconds` with it: see the warnings in the log.

mod absent;
pub mod batch;
pub mod decode;
pub mod parked;
mod queries;
pub mod rows;
pub mod sink;
pub mod source;

use crate::app::App;
use crate::features::clicks::partitions;
use crate::redis::Target;
use crate::trace;
use crate::workers::backoff::Backoff;
use batch::Item;
use chrono::{DateTime, Utc};
use decode::{Decoded, decode};
use secrecy::ExposeSecret;
use shared::frame::Peek;
use sink::{Applied, Origin, Sink, SinkError};
use source::{Entry, EntryId, Source};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Copies of a damaged frame, all saying the same of themselves, until it is believed that no other comes.
const DAMAGED_COPIES: u32 = 3;
/// Damaged frames and frames of later formats remembered; beyond that the memory starts anew.
const REMEMBERED_MAX: usize = 10_000;
/// How often the leases are renewed; they hold three times as long.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How often an idle drainer looks whether a stream was begun anew.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Pause of an idle drainer: the shortest after a batch, growing while nothing comes.
const IDLE_MIN: Duration = Duration::from_millis(2);
const IDLE_MAX: Duration = Duration::from_millis(50);
/// Pause after a failure.
const FAILED_MIN: Duration = Duration::from_millis(100);
const FAILED_MAX: Duration = Duration::from_secs(2);

/// Why a turn failed. Nothing is lost: the next one reads the same entries again.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// Redis did not answer, or refused.
    #[error("redis failed: {0}")]
    Redis(#[from] redis::RedisError),
    /// The batch was not written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The partitions could not be made.
    #[error("cannot make the click partitions: {0:?}")]
    Partitions(crate::error::Error),
}

/// A batch that is in Postgres and not yet acknowledged.
#[derive(Debug, Default)]
pub struct Committed {
    /// What it came to.
    pub applied: Applied,
    /// Entries read.
    pub entries: usize,
    done: Vec<(u16, EntryId)>,
}

/// Entries, sorted by what to do with them.
struct Sorted<'a> {
    items: Vec<Item<'a>>,
    origins: Vec<Origin<'a>>,
    done: Vec<(u16, EntryId)>,
}

/// A damaged frame's words about itself: spool, first sequence, lost before, clicks.
type DamagedName = (Uuid, u64, u64, u32);

/// Moves clicks from the streams to Postgres, a batch at a time.
pub struct Drainer {
    app: App,
    source: Source,
    sink: Sink,
    worker: Uuid,
    // What has been published may be wrong: a connection is new.
    announce: bool,
    // Read while the batch before was written.
    ahead: Vec<Entry>,
    // In Postgres and not acknowledged.
    owed: Committed,
    damaged: HashMap<DamagedName, u32>,
    unknown: HashMap<u64, (u16, EntryId)>,
}

impl Drainer {
    /// A drainer that is not connected yet.
    pub fn new(app: &App) -> anyhow::Result<Self> {
        let target = Target::parse(app.config().redis_url.expose_secret())?;
        Ok(Self {
            source: Source::new(target, app.keys().clone()),
            sink: Sink::new(app.db_worker().connect_options()),
            app: app.clone(),
            worker: shared::id::EventId::generate().uuid(),
            announce: true,
            ahead: Vec::new(),
            owed: Committed::default(),
            damaged: HashMap::new(),
            unknown: HashMap::new(),
        })
    }

    /// One batch of these streams from its reading to its acknowledgement, with nothing beside it.
    pub async fn step(&mut self, shards: &[u16]) -> Result<Committed, DrainError> {
        let committed = self.commit(shards).await?;
        self.acknowledge(&committed).await?;
        Ok(committed)
    }

    /// The first half of a step: what was read is in Postgres, and still in Redis.
    pub async fn commit(&mut self, shards: &[u16]) -> Result<Committed, DrainError> {
        self.connect().await?;
        let entries = match self.source.read(shards).await {
            Ok(entries) => entries,
            Err(error) => return Err(self.lose_redis(error)),
        };
        if entries.is_empty() {
            return Ok(Committed::default());
        }
        let sorted = self.sort_all(&entries);
        match write(&mut self.sink, &entries, sorted, self.app.clock().now()).await {
            Ok(committed) => Ok(committed),
            Err(error) => Err(self.lose_postgres(error)),
        }
    }

    /// The second half: edges are told, Redis lets go.
    pub async fn acknowledge(&mut self, committed: &Committed) -> Result<(), DrainError> {
        let epoch = self.sink.epoch();
        match acknowledge(&mut self.source, epoch, committed).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.lose_redis(error)),
        }
    }

    /// A turn: the entries read ahead are written while the batch before is acknowledged and the next is read.
    /// Gives the entries it moved; none means that there is nothing left to do.
    pub async fn turn(&mut self, shards: &[u16]) -> Result<usize, DrainError> {
        self.connect().await?;
        let entries = std::mem::take(&mut self.ahead);
        let owed = std::mem::take(&mut self.owed);
        let sorted = self.sort_all(&entries);
        let (epoch, now) = (self.sink.epoch(), self.app.clock().now());
        let Self { source, sink, .. } = self;
        let exchange = async {
            acknowledge(source, epoch, &owed).await?;
            source.read(shards).await
        };
        let (written, read) = tokio::join!(write(sink, &entries, sorted, now), exchange);
        match (written, read) {
            (Ok(committed), Ok(next)) => {
                let moved = committed.entries + next.len();
                self.owed = committed;
                self.ahead = next;
                Ok(moved)
            }
            (Ok(_), Err(error)) => Err(self.lose_redis(error)),
            (Err(error), Ok(_)) => Err(self.lose_postgres(error)),
            (Err(error), Err(other)) => {
                self.lose_redis(other);
                Err(self.lose_postgres(error))
            }
        }
    }

    /// Gives both connections up, as a failure would.
    pub fn disconnect(&mut self) {
        self.forget();
        self.source.disconnect();
        self.sink.disconnect();
    }

    /// What is under way is read again.
    fn forget(&mut self) {
        self.ahead.clear();
        self.owed = Committed::default();
        self.source.rewind_all();
    }

    fn lose_redis(&mut self, error: redis::RedisError) -> DrainError {
        self.forget();
        self.source.disconnect();
        error.into()
    }

    fn lose_postgres(&mut self, error: SinkError) -> DrainError {
        self.forget();
        self.sink.disconnect();
        error.into()
    }

    async fn connect(&mut self) -> Result<(), DrainError> {
        // Both at once is no gain: the second is useless without the first.
        self.announce |= self.sink.connect().await?;
        self.announce |= self.source.connect().await?;
        if !self.announce && self.source.returned().is_empty() {
            return Ok(());
        }
        let mut recent = match self.sink.recent(self.app.clock().now()).await {
            Ok(recent) => recent,
            Err(error) => return Err(self.lose_postgres(error)),
        };
        if !self.announce {
            recent.retain(|progress| self.source.returned().contains(&progress.shard));
        }
        // A stream that is lost in the middle of it will have returned again.
        self.source.announced();
        if let Err(error) = self.source.publish(self.sink.epoch(), &recent).await {
            return Err(self.lose_redis(error));
        }
        self.announce = false;
        Ok(())
    }

    fn sort_all<'a>(&mut self, entries: &'a [Entry]) -> Sorted<'a> {
        let mut done = Vec::with_capacity(entries.len());
        let mut items = Vec::with_capacity(entries.len());
        let mut origins = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(item) = self.sort(entry, &mut done) else { continue };
            items.push(item);
            origins.push(Origin { shard: entry.shard, id: entry.id, bytes: &entry.bytes });
            done.push((entry.shard, entry.id));
        }
        Sorted { items, origins, done }
    }

    /// What to do with an entry; `None` when it stays, or was only a copy of one that stays.
    fn sort<'a>(&mut self, entry: &'a Entry, done: &mut Vec<(u16, EntryId)>) -> Option<Item<'a>> {
        let park = |reason, peek: Option<Peek>, moves| {
            let header = peek.map(|peek| (peek.header, peek.clicks));
            Some(Item::Park { reason, header, moves })
        };
        match decode(&entry.bytes) {
            Decoded::Frame(frame) => Some(Item::Frame(frame)),
            Decoded::Unknown(version) => {
                self.leave(entry, version, done);
                None
            }
            Decoded::Damaged(peek) => {
                let believed = peek.is_some_and(|peek| self.count_damaged(&peek) >= DAMAGED_COPIES);
                park("damaged", peek, believed)
            }
            Decoded::Malformed(peek, error) => {
                tracing::error!(%error, entry = %entry.id, "a frame breaks its format");
                park("malformed", peek, true)
            }
            Decoded::Foreign => park("foreign", None, false),
        }
    }

    /// Leaves a frame of a later format in its stream. The edge sends it again and again; of equal copies one
    /// is enough.
    fn leave(&mut self, entry: &Entry, version: u8, done: &mut Vec<(u16, EntryId)>) {
        let hash = xxhash_rust::xxh3::xxh3_64(&entry.bytes);
        if self.unknown.len() >= REMEMBERED_MAX {
            self.unknown.clear();
        }
        let first = *self.unknown.entry(hash).or_insert((entry.shard, entry.id));
        if first == (entry.shard, entry.id) {
            tracing::error!(version, entry = %entry.id, "a frame of a later format waits for a later build");
            self.source.keep(entry.shard, entry.id);
        } else {
            done.push((entry.shard, entry.id));
        }
        metrics::gauge!("cp_drain_unknown_frames").set(self.source.kept() as f64);
    }

    fn count_damaged(&mut self, peek: &Peek) -> u32 {
        if self.damaged.len() >= REMEMBERED_MAX {
            self.damaged.clear();
        }
        let header = &peek.header;
        let copies = self
            .damaged
            .entry((header.spool, header.first_seq, header.lost_before, peek.clicks))
            .or_default();
        *copies += 1;
        *copies
    }

    /// Drains its share of the streams until asked to stop.
    pub async fn run(mut self) {
        let stop = self.app.tasks().clone();
        let shards = self.app.config().click_shards;
        let mut prepared = false;
        let mut held: Vec<u16> = Vec::new();
        let mut renewed: Option<Instant> = None;
        let mut checked = Instant::now();
        let mut idle = Backoff::new(IDLE_MIN, IDLE_MAX);
        let mut failed = Backoff::new(FAILED_MIN, FAILED_MAX);
        while !stop.is_stopping() {
            let turn = async {
                if !prepared {
                    // A click that finds no partition of its day would end in the default one.
                    partitions::ensure(&self.app).await.map_err(DrainError::Partitions)?;
                    prepared = true;
                }
                if renewed.is_none_or(|at| at.elapsed() >= RENEW_EVERY) {
                    self.connect().await?;
                    let now_held = self.renew(shards).await?;
                    // A stream that comes back later starts at its beginning again.
                    held.retain(|shard| !now_held.contains(shard));
                    self.source.rewind(&held);
                    held = now_held;
                    renewed = Some(Instant::now());
                }
                let moved = self.turn(&held).await?;
                if moved == 0 && checked.elapsed() >= CHECK_EVERY {
                    checked = Instant::now();
                    self.check_cursors().await?;
                }
                Ok::<_, DrainError>(moved)
            };
            let pause = match turn.await {
                Ok(0) => {
                    failed.reset();
                    idle.pause()
                }
                Ok(_) => {
                    idle.reset();
                    failed.reset();
                    continue;
                }
                Err(error) => {
                    metrics::counter!("cp_drain_failures_total").increment(1);
                    tracing::warn!(%error, "draining failed; trying again");
                    renewed = None;
                    failed.pause()
                }
            };
            tokio::select! {
                () = stop.stopping() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        // Whoever comes next finds less to read; it would know it for done.
        let owed = std::mem::take(&mut self.owed);
        self.acknowledge(&owed).await.ok();
        self.sink.release_leases(self.worker).await;
    }

    async fn renew(&mut self, shards: u16) -> Result<Vec<u16>, DrainError> {
        match self.sink.renew_leases(self.worker, shards).await {
            Ok(held) => Ok(held),
            Err(error) => Err(self.lose_postgres(error)),
        }
    }

    /// Looks, while nothing comes, whether a stream was begun anew.
    pub async fn check_cursors(&mut self) -> Result<(), DrainError> {
        match self.source.check_cursors().await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.lose_redis(error)),
        }
    }
}

/// Writes a batch.
async fn write(
    sink: &mut Sink,
    entries: &[Entry],
    sorted: Sorted<'_>,
    now: DateTime<Utc>,
) -> Result<Committed, SinkError> {
    let (started, since) = (Instant::now(), trace::now());
    let Sorted { items, origins, done } = sorted;
    let applied =
        if items.is_empty() { Applied::default() } else { sink.apply(&items, &origins, now).await? };
    if !entries.is_empty() {
        measure(entries, &applied, now.timestamp_millis(), started.elapsed());
        let counts = [("affiliateos.frames", entries.len() as u64), ("affiliateos.clicks", applied.clicks)];
        trace::batch("drain clicks", since, &counts, []);
    }
    Ok(Committed { applied, entries: entries.len(), done })
}

/// Tells edges of a batch and lets Redis go of it. `epoch` is of the server that has it.
async fn acknowledge(source: &mut Source, epoch: u64, committed: &Committed) -> redis::RedisResult<()> {
    source.publish(epoch, &committed.applied.progress).await?;
    source.delete(&committed.done).await
}

fn measure(entries: &[Entry], applied: &Applied, now_ms: i64, took: Duration) {
    metrics::counter!("cp_drain_clicks_total").increment(applied.clicks);
    metrics::counter!("cp_drain_frames_total").increment(entries.len() as u64);
    metrics::counter!("cp_drain_known_frames_total").increment(applied.known);
    metrics::counter!("cp_drain_gap_frames_total").increment(applied.gaps);
    metrics::counter!("cp_drain_parked_frames_total").increment(applied.parked);
    metrics::counter!("cp_drain_conflicts_total").increment(applied.conflicts);
    metrics::counter!("cp_drain_lost_clicks_total").increment(applied.lost);
    metrics::counter!("cp_drain_corrected_times_total").increment(applied.corrected);
    metrics::histogram!("cp_drain_batch_seconds").record(took.as_secs_f64());
    if let Some(oldest) = entries.iter().map(|entry| entry.id.ms()).min() {
        let waited_ms = now_ms.saturating_sub(oldest as i64).max(0);
        metrics::histogram!("cp_drain_lag_seconds").record(waited_ms as f64 / 1000.0);
    }
    if applied.conflicts > 0 {
        tracing::error!(
            frames = applied.conflicts,
            "frames came under the name of others: a copied spool folder? They are parked"
        );
    }
    if applied.lost > 0 {
        tracing::error!(clicks = applied.lost, "edges declared clicks lost");
    }
}
