//! SQL of the drainer. Everything in one transaction: lock, store, count, move the watermark.

use super::batch::SpoolState;
use super::rows::Deltas;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgCopyIn;
use sqlx::{PgConnection, Result};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What a session must know of its server before it may drain into it.
#[derive(sqlx::FromRow)]
pub(super) struct ServerRow {
    /// Incarnation of the data: the timeline, which grows with every promotion and restore.
    pub(super) epoch: i64,
    pub(super) synchronous_commit: String,
}

pub(super) async fn load_server(conn: &mut PgConnection) -> Result<ServerRow> {
    // The first eight digits of a WAL file's name are its timeline.
    sqlx::query_as(
        "SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint AS epoch,
                current_setting('synchronous_commit') AS synchronous_commit",
    )
    .fetch_one(conn)
    .await
}

/// A spool's row as it is first made.
pub(super) struct NewSpool {
    pub(super) spool: Uuid,
    pub(super) edge: i64,
    pub(super) shard: i16,
    pub(super) clock_at: DateTime<Utc>,
}

/// Makes the rows of spools never seen; `new` is sorted by spool, so that two drainers wait for each other
/// in the same order.
pub(super) async fn insert_spools(
    conn: &mut PgConnection,
    new: &[NewSpool],
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO spools (spool, edge, shard, watermark, clock_at, updated_at)
         SELECT spool, edge, shard, 0, clock_at, $5
           FROM unnest($1::UUID[], $2::BIGINT[], $3::SMALLINT[], $4::TIMESTAMPTZ[])
                AS new (spool, edge, shard, clock_at)
          ORDER BY spool
         ON CONFLICT (spool) DO NOTHING",
    )
    .bind(new.iter().map(|new| new.spool).collect::<Vec<_>>())
    .bind(new.iter().map(|new| new.edge).collect::<Vec<_>>())
    .bind(new.iter().map(|new| new.shard).collect::<Vec<_>>())
    .bind(new.iter().map(|new| new.clock_at).collect::<Vec<_>>())
    .bind(now)
    .execute(conn)
    .await
    .map(drop)
}

#[derive(sqlx::FromRow)]
struct SpoolRow {
    spool: Uuid,
    watermark: i64,
    stored: i64,
    parked: i64,
    declared_loss: i64,
    clock_at: DateTime<Utc>,
    finished: bool,
    last_first_seq: Option<i64>,
    last_checksum: Option<i64>,
}

/// Locks the rows of these spools until the transaction ends, in the order of their ids.
pub(super) async fn lock_spools(
    conn: &mut PgConnection,
    spools: &[Uuid],
) -> Result<BTreeMap<Uuid, SpoolState>> {
    let rows: Vec<SpoolRow> = sqlx::query_as(
        "SELECT spool, watermark, stored, parked, declared_loss, clock_at, finished, last_first_seq, last_checksum
           FROM spools
          WHERE spool = ANY ($1)
          ORDER BY spool
            FOR UPDATE",
    )
    .bind(spools)
    .fetch_all(conn)
    .await?;
    let state = |row: SpoolRow| SpoolState {
        watermark: row.watermark as u64,
        stored: row.stored as u64,
        parked: row.parked as u64,
        declared_loss: row.declared_loss as u64,
        clock_ms: row.clock_at.timestamp_millis(),
        finished: row.finished,
        last_frame: row.last_first_seq.zip(row.last_checksum).map(|(seq, sum)| (seq as u64, sum as u64)),
    };
    Ok(rows.into_iter().map(|row| (row.spool, state(row))).collect())
}

/// A spool's row, before and after.
pub(super) struct Change<'a> {
    pub(super) spool: Uuid,
    pub(super) shard: i16,
    pub(super) before: &'a SpoolState,
    pub(super) after: &'a SpoolState,
}

/// Moves the watermarks, each from the value it was planned with. Gives the number of rows that had it.
pub(super) async fn update_spools(
    conn: &mut PgConnection,
    changes: &[Change<'_>],
    now: DateTime<Utc>,
) -> Result<u64> {
    let column = |pick: fn(&SpoolState) -> u64| -> Vec<i64> {
        changes.iter().map(|change| pick(change.after) as i64).collect()
    };
    let clock = |change: &Change<'_>| {
        DateTime::from_timestamp_millis(change.after.clock_ms.clamp(0, CLOCK_MS_MAX)).unwrap_or_default()
    };
    let done = sqlx::query(
        "UPDATE spools
            SET watermark = change.watermark, stored = change.stored, parked = change.parked,
                declared_loss = change.declared_loss, clock_at = change.clock_at, finished = change.finished,
                last_first_seq = change.last_first_seq, last_checksum = change.last_checksum,
                shard = change.shard, updated_at = $12
           FROM unnest($1::UUID[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[], $5::BIGINT[], $6::BIGINT[],
                       $7::TIMESTAMPTZ[], $8::BOOLEAN[], $9::BIGINT[], $10::BIGINT[], $11::SMALLINT[])
                AS change (spool, before, watermark, stored, parked, declared_loss,
                           clock_at, finished, last_first_seq, last_checksum, shard)
          WHERE spools.spool = change.spool AND spools.watermark = change.before",
    )
    .bind(changes.iter().map(|change| change.spool).collect::<Vec<_>>())
    .bind(changes.iter().map(|change| change.before.watermark as i64).collect::<Vec<_>>())
    .bind(column(|state| state.watermark))
    .bind(column(|state| state.stored))
    .bind(column(|state| state.parked))
    .bind(column(|state| state.declared_loss))
    .bind(changes.iter().map(clock).collect::<Vec<_>>())
    .bind(changes.iter().map(|change| change.after.finished).collect::<Vec<_>>())
    .bind(changes.iter().map(|change| change.after.last_frame.map(|last| last.0 as i64)).collect::<Vec<_>>())
    .bind(changes.iter().map(|change| change.after.last_frame.map(|last| last.1 as i64)).collect::<Vec<_>>())
    .bind(changes.iter().map(|change| change.shard).collect::<Vec<_>>())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// The last instant both chrono and Postgres can hold with room to spare: the year 9999.
const CLOCK_MS_MAX: i64 = 253_402_300_799_000;

/// When the first month begins whose usage is not closed.
pub(super) async fn load_open_from(conn: &mut PgConnection) -> Result<DateTime<Utc>> {
    sqlx::query_scalar(
        "SELECT coalesce((through + INTERVAL '1 month') AT TIME ZONE 'UTC', 'epoch') FROM usage_closed",
    )
    .fetch_one(conn)
    .await
}

/// Appends the batch's sums for the fold.
pub(super) async fn insert_deltas(
    conn: &mut PgConnection,
    deltas: &Deltas<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO click_deltas (advertisers, link_keys, hours, classes, billable, counts, created_at,
                                   source_advertisers, source_link_keys, source_days, source_kinds, source_names,
                                   source_counts)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(&deltas.advertisers)
    .bind(&deltas.link_keys)
    .bind(&deltas.hours)
    .bind(&deltas.classes)
    .bind(&deltas.billable)
    .bind(&deltas.counts)
    .bind(now)
    .bind(&deltas.sources.advertisers)
    .bind(&deltas.sources.link_keys)
    .bind(&deltas.sources.days)
    .bind(&deltas.sources.kinds)
    .bind(&deltas.sources.names)
    .bind(&deltas.sources.counts)
    .execute(conn)
    .await
    .map(drop)
}

/// Begins to send rows, encoded in the order of these columns, to the table of clicks.
pub(super) async fn copy_clicks(conn: &mut PgConnection) -> Result<PgCopyIn<&mut PgConnection>> {
    conn.copy_in_raw(
        "COPY clicks (at, seq, link_key, visitor, spool_tag, advertiser, class, flags, country, notes)
         FROM STDIN (FORMAT binary)",
    )
    .await
}

#[derive(sqlx::FromRow)]
pub(super) struct WatermarkRow {
    pub(super) shard: i16,
    pub(super) spool: Uuid,
    pub(super) watermark: i64,
}

/// Watermarks of spools heard of since, in pages by spool.
pub(super) async fn list_recent_watermarks(
    conn: &mut PgConnection,
    since: DateTime<Utc>,
    after: Uuid,
    limit: i64,
) -> Result<Vec<WatermarkRow>> {
    sqlx::query_as(
        "SELECT shard, spool, watermark
           FROM spools
          WHERE updated_at >= $1 AND spool > $2
          ORDER BY spool
          LIMIT $3",
    )
    .bind(since)
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await
}

/// Says that this drainer lives, takes its share of the streams, and gives those it now has.
///
/// Drainers alive share the streams by their rank. A stream changes hands when its holder has let go of it or
/// has not renewed it for six seconds. Times are the database's: drainers' clocks may differ.
pub(super) async fn renew_leases(conn: &mut PgConnection, worker: Uuid, shards: &[i32]) -> Result<Vec<i32>> {
    sqlx::query(
        "INSERT INTO drain_workers (worker, seen_at)
         VALUES ($1, now())
         ON CONFLICT (worker) DO UPDATE SET seen_at = excluded.seen_at",
    )
    .bind(worker)
    .execute(&mut *conn)
    .await?;
    sqlx::query("DELETE FROM drain_workers WHERE seen_at < now() - INTERVAL '1 hour'")
        .execute(&mut *conn)
        .await?;
    let alive: Vec<Uuid> = sqlx::query_scalar(
        "SELECT worker
           FROM drain_workers
          WHERE seen_at > now() - INTERVAL '6 seconds'
          ORDER BY worker",
    )
    .fetch_all(&mut *conn)
    .await?;
    let rank = alive.iter().position(|other| *other == worker).unwrap_or(0);
    let share: Vec<i32> =
        shards.iter().copied().filter(|shard| *shard as usize % alive.len().max(1) == rank).collect();
    sqlx::query("DELETE FROM drain_leases WHERE worker = $1 AND NOT shard = ANY ($2)")
        .bind(worker)
        .bind(&share)
        .execute(&mut *conn)
        .await?;
    let mut held: Vec<i32> = sqlx::query_scalar(
        "INSERT INTO drain_leases (shard, worker, expires_at)
         SELECT shard, $1, now() + INTERVAL '6 seconds'
           FROM unnest($2::INTEGER[]) AS share (shard)
          ORDER BY shard
         ON CONFLICT (shard) DO UPDATE SET worker = excluded.worker, expires_at = excluded.expires_at
          WHERE drain_leases.worker = excluded.worker OR drain_leases.expires_at < now()
         RETURNING shard",
    )
    .bind(worker)
    .bind(&share)
    .fetch_all(conn)
    .await?;
    held.sort_unstable();
    Ok(held)
}

/// Lets go of everything, so that the others need not wait for it to expire.
pub(super) async fn release_leases(conn: &mut PgConnection, worker: Uuid) -> Result<()> {
    sqlx::query("DELETE FROM drain_leases WHERE worker = $1").bind(worker).execute(&mut *conn).await?;
    sqlx::query("DELETE FROM drain_workers WHERE worker = $1").bind(worker).execute(conn).await?;
    Ok(())
}
