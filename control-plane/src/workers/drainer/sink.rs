//! Batches into Postgres, one transaction each: all of a batch or nothing of it.
//!
//! The row locks on `spools`, held from reading the watermarks to the commit, are the fence between
//! drainers; the compare-and-set on the watermark only asserts it. Lost races are tried again
//! ([`TRIES_MAX`]); data that Postgres refuses is narrowed down to its frame, which is parked after
//! [`REFUSALS_MAX`] tries. A server that is away is the caller's matter: it comes back with the same entries.

use super::batch::{self, Item, Plan, SpoolState, Taken};
use super::parked;
use super::queries::{self, Change, NewSpool};
use super::rows::Encoder;
use super::source::{EntryId, Progress};
use crate::db;
use crate::workers::backoff::jittered;
use chrono::{DateTime, Utc};
use shared::frame::FrameHeader;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Tries of a transaction that lost a race.
const TRIES_MAX: u32 = 5;
/// Refusals of one frame's data before it is parked.
const REFUSALS_MAX: u32 = 3;
/// A transaction that takes longer has lost its server: sqlx has no time-out of its own.
const TRANSACTION_FOR: Duration = Duration::from_secs(30);
const CONNECT_FOR: Duration = Duration::from_secs(5);
/// Spools remembered as having a row. More are asked for again, which costs one statement.
const KNOWN_MAX: usize = 10_000;
/// Spools told of since: as long as an edge keeps what it may have to send again, and then some.
const RECENT_DAYS: i64 = 8;
const WATERMARK_PAGE: i64 = 1000;
/// Bytes of rows sent at once.
const COPY_PART: usize = 128 * 1024;

/// Where an item was read and what it was.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The stream.
    pub shard: u16,
    /// The entry.
    pub id: EntryId,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// What a batch came to.
#[derive(Debug, Default)]
pub struct Applied {
    /// Where every spool that was mentioned stands now.
    pub progress: Vec<Progress>,
    /// Clicks stored.
    pub clicks: u64,
    /// Frames parked.
    pub parked: u64,
    /// Frames dropped for a gap before them.
    pub gaps: u64,
    /// Frames that were committed before.
    pub known: u64,
    /// Frames with the name of another.
    pub conflicts: u64,
    /// Sequences declared lost.
    pub lost: u64,
    /// Clicks whose time was out of range.
    pub corrected: u64,
}

impl Applied {
    fn add(&mut self, other: Self) {
        self.progress.extend(other.progress);
        self.clicks += other.clicks;
        self.parked += other.parked;
        self.gaps += other.gaps;
        self.known += other.known;
        self.conflicts += other.conflicts;
        self.lost += other.lost;
        self.corrected += other.corrected;
    }
}

/// Why a batch was not written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Postgres said no, or nothing.
    #[error("postgres failed: {0}")]
    Postgres(#[from] sqlx::Error),
    /// Postgres did not answer in time.
    #[error("postgres did not answer within {0:?}")]
    TimedOut(Duration),
    /// The server would acknowledge what it can still lose.
    #[error("synchronous_commit is off: an acknowledged click could be lost; set it to on")]
    CommitNotDurable,
    /// A row that was locked changed under the lock. Nothing is written.
    #[error("a spool's watermark changed under its lock")]
    Fenced,
}

struct Session {
    conn: PgConnection,
    epoch: u64,
    known: HashSet<Uuid>,
}

/// Writer of batches, on a connection of its own.
pub struct Sink {
    options: Arc<PgConnectOptions>,
    session: Option<Session>,
}

impl Sink {
    /// A writer that is not connected yet.
    pub fn new(options: Arc<PgConnectOptions>) -> Self {
        Self { options, session: None }
    }

    /// Connects if need be; `true` when it had to: another server, or the same one set back, may answer now.
    pub async fn connect(&mut self) -> Result<bool, SinkError> {
        if self.session.is_some() {
            return Ok(false);
        }
        let connecting = async {
            let mut conn = PgConnection::connect_with(&self.options).await?;
            let server = queries::load_server(&mut conn).await?;
            Ok::<_, sqlx::Error>((conn, server))
        };
        let (conn, server) = tokio::time::timeout(CONNECT_FOR, connecting)
            .await
            .map_err(|_| SinkError::TimedOut(CONNECT_FOR))??;
        if server.synchronous_commit == "off" {
            return Err(SinkError::CommitNotDurable);
        }
        self.session = Some(Session { conn, epoch: server.epoch as u64, known: HashSet::new() });
        Ok(true)
    }

    /// Gives the connection up. What was begun on it is rolled back by the server.
    pub fn disconnect(&mut self) {
        self.session = None;
    }

    /// Incarnation of the database behind the connection.
    pub fn epoch(&self) -> u64 {
        self.session.as_ref().map_or(0, |session| session.epoch)
    }

    fn session(&mut self) -> Result<&mut Session, SinkError> {
        self.session.as_mut().ok_or_else(|| sqlx::Error::PoolClosed.into())
    }

    /// Where every spool stands that was heard of lately.
    pub async fn recent(&mut self, now: DateTime<Utc>) -> Result<Vec<Progress>, SinkError> {
        let since = now - chrono::TimeDelta::days(RECENT_DAYS);
        let session = self.session()?;
        let mut all = Vec::new();
        let mut after = Uuid::nil();
        loop {
            let page =
                queries::list_recent_watermarks(&mut session.conn, since, after, WATERMARK_PAGE).await?;
            all.extend(page.iter().map(|row| Progress {
                shard: row.shard as u16,
                spool: row.spool,
                next_seq: row.watermark as u64,
            }));
            match page.last() {
                Some(last) if page.len() as i64 == WATERMARK_PAGE => after = last.spool,
                _ => return Ok(all),
            }
        }
    }

    /// Renews this drainer's share of the streams; gives the streams it has now.
    pub async fn renew_leases(&mut self, worker: Uuid, shards: u16) -> Result<Vec<u16>, SinkError> {
        let all: Vec<i32> = (0..i32::from(shards)).collect();
        let conn = &mut self.session()?.conn;
        let renewing = queries::renew_leases(conn, worker, &all);
        let held = tokio::time::timeout(CONNECT_FOR, renewing)
            .await
            .map_err(|_| SinkError::TimedOut(CONNECT_FOR))??;
        Ok(held.into_iter().map(|shard| shard as u16).collect())
    }

    /// Gives the streams back, when there still is a connection to do it on.
    pub async fn release_leases(&mut self, worker: Uuid) {
        if let Ok(session) = self.session() {
            // They expire by themselves; letting go only saves the others the wait.
            tokio::time::timeout(CONNECT_FOR, queries::release_leases(&mut session.conn, worker)).await.ok();
        }
    }

    /// Writes a batch. `origins` belong to `items`, one each.
    pub async fn apply(
        &mut self,
        items: &[Item<'_>],
        origins: &[Origin<'_>],
        now: DateTime<Utc>,
    ) -> Result<Applied, SinkError> {
        match self.transact(items, origins, now).await {
            Err(SinkError::Postgres(error)) if is_refusal(&error) => {
                tracing::warn!(%error, frames = items.len(), "a batch was refused; looking for the frame");
            }
            outcome => return outcome,
        }
        let mut applied = Applied::default();
        for (item, origin) in items.chunks(1).zip(origins.chunks(1)) {
            applied.add(self.apply_one(item, origin, now).await?);
        }
        Ok(applied)
    }

    async fn apply_one(
        &mut self,
        item: &[Item<'_>],
        origin: &[Origin<'_>],
        now: DateTime<Utc>,
    ) -> Result<Applied, SinkError> {
        let mut refusals = 0;
        loop {
            let error = match self.transact(item, origin, now).await {
                Err(SinkError::Postgres(error)) if is_refusal(&error) => error,
                outcome => return outcome,
            };
            refusals += 1;
            if refusals < REFUSALS_MAX {
                tokio::time::sleep(jittered(Duration::from_millis(10), Duration::from_millis(50))).await;
                continue;
            }
            let [Item::Frame(frame)] = item else { return Err(error.into()) };
            tracing::error!(%error, spool = %frame.header.spool, "a frame is refused and parked");
            let header = Some((frame.header, frame.clicks.len() as u32));
            let park = [Item::Park { reason: "refused", header, moves: true }];
            return self.transact(&park, origin, now).await;
        }
    }

    async fn transact(
        &mut self,
        items: &[Item<'_>],
        origins: &[Origin<'_>],
        now: DateTime<Utc>,
    ) -> Result<Applied, SinkError> {
        let mut tries = 1;
        loop {
            let session = self.session()?;
            let outcome = tokio::time::timeout(TRANSACTION_FOR, write(session, items, origins, now)).await;
            match outcome.map_err(|_| SinkError::TimedOut(TRANSACTION_FOR))? {
                Err(SinkError::Postgres(error)) if db::is_retryable(&error) && tries < TRIES_MAX => {
                    tries += 1;
                    metrics::counter!("cp_drain_retries_total").increment(1);
                    tokio::time::sleep(jittered(Duration::from_millis(10), Duration::from_millis(200))).await;
                }
                outcome => return outcome,
            }
        }
    }
}

/// Whether Postgres refused the data itself: bad values, broken constraints.
fn is_refusal(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database)
        if database.code().is_some_and(|code| code.starts_with("22") || code.starts_with("23")))
}

/// Spool, header and stream of everything that may move a watermark, a line per spool, sorted.
fn mentioned(items: &[Item<'_>], origins: &[Origin<'_>]) -> BTreeMap<Uuid, (FrameHeader, u16)> {
    let mut spools = BTreeMap::new();
    for (item, origin) in items.iter().zip(origins) {
        match item {
            Item::Frame(frame) => spools.insert(frame.header.spool, (frame.header, origin.shard)),
            Item::Park { header: Some((header, _)), moves: true, .. } => {
                spools.insert(header.spool, (*header, origin.shard))
            }
            Item::Park { .. } => None,
        };
    }
    spools
}

async fn write(
    session: &mut Session,
    items: &[Item<'_>],
    origins: &[Origin<'_>],
    now: DateTime<Utc>,
) -> Result<Applied, SinkError> {
    let mentioned = mentioned(items, origins);
    let Session { conn, known, .. } = session;
    let mut tx = conn.begin().await?;
    let before = lock(&mut tx, &mentioned, known, now).await?;
    let mut after = before.clone();
    let plan = batch::plan(items, &mut after);
    let open_from_ms = queries::load_open_from(&mut tx).await?.timestamp_millis();
    let corrected =
        if plan.taken.is_empty() { 0 } else { store(&mut tx, &plan.taken, now, open_from_ms).await? };
    for parked in &plan.parked {
        let origin = &origins[parked.item];
        parked::insert_parked(&mut tx, parked, origin.shard, origin.id, origin.bytes, now).await?;
    }
    move_watermarks(&mut tx, &mentioned, &before, &after, now).await?;
    tx.commit().await?;
    if known.len() + mentioned.len() > KNOWN_MAX {
        known.clear();
    }
    known.extend(mentioned.keys());
    Ok(applied(&plan, corrected, &mentioned, &after))
}

/// Stores clicks and their sums; gives how many had a time out of range. Rows are sent as they are encoded and
/// added up while Postgres still reads: it has the longer work.
pub(super) async fn store(
    conn: &mut PgConnection,
    taken: &[Taken<'_>],
    now: DateTime<Utc>,
    open_from_ms: i64,
) -> Result<u64, sqlx::Error> {
    let clicks = taken.iter().map(|taken| taken.clicks.len()).sum();
    let mut copy = queries::copy_clicks(conn).await?;
    let mut part = Vec::new();
    let mut encoder = Encoder::new(clicks, now.timestamp_millis(), open_from_ms, &mut part);
    for taken in taken {
        encoder.write(taken, &mut part);
        if part.len() >= COPY_PART {
            copy.send(part.as_slice()).await?;
            part.clear();
        }
    }
    let corrected = encoder.corrected();
    copy.send(part.as_slice()).await?;
    part.clear();
    let deltas = encoder.finish(&mut part);
    copy.send(part.as_slice()).await?;
    copy.finish().await?;
    queries::insert_deltas(conn, &deltas, now).await?;
    Ok(corrected)
}

/// Locks the spools' rows, making those that do not exist yet.
async fn lock(
    conn: &mut PgConnection,
    mentioned: &BTreeMap<Uuid, (FrameHeader, u16)>,
    known: &mut HashSet<Uuid>,
    now: DateTime<Utc>,
) -> Result<BTreeMap<Uuid, SpoolState>, SinkError> {
    let new: Vec<_> = mentioned
        .iter()
        .filter(|(spool, _)| !known.contains(spool))
        .map(|(spool, (header, shard))| NewSpool {
            spool: *spool,
            edge: header.edge as i64,
            shard: *shard as i16,
            clock_at: DateTime::UNIX_EPOCH,
        })
        .collect();
    if !new.is_empty() {
        queries::insert_spools(conn, &new, now).await?;
    }
    if mentioned.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<_> = mentioned.keys().copied().collect();
    let locked = queries::lock_spools(conn, &ids).await?;
    if locked.len() < ids.len() {
        // Rows that were there are gone: a restored database. The next try makes them again.
        known.clear();
        return Err(SinkError::Fenced);
    }
    Ok(locked)
}

async fn move_watermarks(
    conn: &mut PgConnection,
    mentioned: &BTreeMap<Uuid, (FrameHeader, u16)>,
    before: &BTreeMap<Uuid, SpoolState>,
    after: &BTreeMap<Uuid, SpoolState>,
    now: DateTime<Utc>,
) -> Result<(), SinkError> {
    let changes: Vec<_> = mentioned
        .iter()
        .filter_map(|(spool, (_, shard))| {
            let (before, after) = (before.get(spool)?, after.get(spool)?);
            let change = Change { spool: *spool, shard: *shard as i16, before, after };
            (before != after).then_some(change)
        })
        .collect();
    if changes.is_empty() {
        return Ok(());
    }
    let moved = queries::update_spools(conn, &changes, now).await?;
    if moved == changes.len() as u64 { Ok(()) } else { Err(SinkError::Fenced) }
}

fn applied(
    plan: &Plan<'_>,
    corrected: u64,
    mentioned: &BTreeMap<Uuid, (FrameHeader, u16)>,
    after: &BTreeMap<Uuid, SpoolState>,
) -> Applied {
    let progress = mentioned.iter().map(|(spool, (_, shard))| Progress {
        shard: *shard,
        spool: *spool,
        next_seq: after.get(spool).map_or(0, |state| state.watermark),
    });
    Applied {
        progress: progress.collect(),
        clicks: plan.clicks() as u64,
        parked: plan.parked.len() as u64,
        gaps: plan.gaps as u64,
        known: plan.known as u64,
        conflicts: plan.conflicts as u64,
        lost: plan.lost,
        corrected,
    }
}
