//! Frames that could not be stored: kept with their bytes, counted, and brought back by hand.
//!
//! Parking and moving the spool's watermark past the frame are one transaction, so the sum
//! `watermark = stored + parked + declared loss` of every spool holds through it.

use super::batch::{Parked, Taken};
use super::source::EntryId;
use super::{queries, sink};
use chrono::{DateTime, Utc};
use shared::frame;
use sqlx::{Connection, PgConnection, Result};
use uuid::Uuid;

/// Keeps one frame. The same entry parked twice (a drainer died between commit and delete) is one row.
pub(super) async fn insert_parked(
    conn: &mut PgConnection,
    parked: &Parked,
    shard: u16,
    entry: EntryId,
    bytes: &[u8],
    now: DateTime<Utc>,
) -> Result<()> {
    let counted = parked.counted.map_or(0, |(_, count)| count as i64);
    sqlx::query(
        "INSERT INTO parked_frames
                (shard, stream_id, spool, first_seq, clicks, reason, bytes, counted, counted_first, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT ON CONSTRAINT parked_frames_shard_stream_id_key DO NOTHING",
    )
    .bind(shard as i16)
    .bind(entry.to_string())
    .bind(parked.named.map(|(spool, ..)| spool))
    .bind(parked.named.map(|(_, first_seq, _)| first_seq as i64))
    .bind(parked.named.map_or(0, |(.., clicks)| i64::from(clicks)))
    .bind(parked.reason)
    .bind(bytes)
    .bind(counted)
    .bind(parked.counted.map(|(first, _)| first as i64))
    .bind(now)
    .execute(conn)
    .await
    .map(drop)
}

/// A parked frame, without its bytes.
#[derive(Debug, sqlx::FromRow)]
pub struct ParkedFrame {
    /// Its number, for replaying and dropping it.
    pub id: i64,
    /// Why: `foreign`, `damaged`, `malformed`, `refused`, `conflict`.
    pub reason: String,
    /// The spool it names.
    pub spool: Option<Uuid>,
    /// The first sequence it names.
    pub first_seq: Option<i64>,
    /// The clicks it announces.
    pub clicks: i64,
    /// Those its spool counts as parked.
    pub counted: i64,
    /// How long it is.
    pub size_bytes: i32,
    /// When it was parked.
    pub created_at: DateTime<Utc>,
}

/// The parked frames, oldest first.
pub async fn list(conn: &mut PgConnection, after: i64, limit: i64) -> Result<Vec<ParkedFrame>> {
    sqlx::query_as(
        "SELECT id, reason, spool, first_seq, clicks, counted, octet_length(bytes) AS size_bytes, created_at
           FROM parked_frames
          WHERE id > $1
          ORDER BY id
          LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await
}

/// Why a frame stays parked.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no such frame.
    #[error("there is no parked frame {0}")]
    Missing(i64),
    /// Nothing of it is missing.
    #[error(
        "it stands for no click: another frame stored its sequences, or the edge still has them; drop it"
    )]
    NothingMissing,
    /// This build cannot read it either.
    #[error("it cannot be read: {0}")]
    Unreadable(frame::FrameError),
    /// The frame or its spool's row is not what it was when it was parked.
    #[error("it and its spool do not fit together any more")]
    Changed,
    /// Postgres still refuses it, or is away.
    #[error("it was not stored: {0}")]
    Refused(#[from] sqlx::Error),
}

#[derive(sqlx::FromRow)]
struct Kept {
    spool: Option<Uuid>,
    counted: i64,
    counted_first: Option<i64>,
    bytes: Vec<u8>,
    created_at: DateTime<Utc>,
}

/// Locks the spool's row and then the frame's, in the drainer's order.
async fn lock(conn: &mut PgConnection, id: i64) -> Result<Option<Kept>> {
    sqlx::query(
        "SELECT FROM spools WHERE spool = (SELECT spool FROM parked_frames WHERE id = $1) FOR UPDATE",
    )
    .bind(id)
    .execute(&mut *conn)
    .await?;
    sqlx::query_as(
        "SELECT spool, counted, counted_first, bytes, created_at FROM parked_frames WHERE id = $1 FOR UPDATE",
    )
    .bind(id)
    .fetch_optional(conn)
    .await
}

/// Stores what a frame stands for and forgets it, in one transaction; gives the number of clicks.
/// Times are kept as they would have been when it was parked.
pub async fn replay(conn: &mut PgConnection, id: i64) -> std::result::Result<u64, ReplayError> {
    let mut tx = conn.begin().await?;
    let kept = lock(&mut tx, id).await?.ok_or(ReplayError::Missing(id))?;
    let (Some(spool), Some(first)) = (kept.spool, kept.counted_first) else {
        return Err(ReplayError::NothingMissing);
    };
    let frame = frame::decode(&kept.bytes).map_err(ReplayError::Unreadable)?;
    let skip = (first as u64).checked_sub(frame.header.first_seq).ok_or(ReplayError::Changed)?;
    let clicks = frame.clicks.get(skip as usize..).unwrap_or_default();
    if frame.header.spool != spool || clicks.len() as i64 != kept.counted {
        return Err(ReplayError::Changed);
    }
    let taken = [Taken { spool, first_seq: first as u64, clicks }];
    let open_from_ms = queries::load_open_from(&mut tx).await?.timestamp_millis();
    sink::store(&mut tx, &taken, kept.created_at, open_from_ms).await?;
    let moved = sqlx::query(
        "UPDATE spools SET parked = parked - $2, stored = stored + $2 WHERE spool = $1 AND parked >= $2",
    )
    .bind(spool)
    .bind(kept.counted)
    .execute(&mut *tx)
    .await?;
    if moved.rows_affected() != 1 {
        return Err(ReplayError::Changed);
    }
    sqlx::query("DELETE FROM parked_frames WHERE id = $1").bind(id).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(kept.counted as u64)
}

/// Forgets a frame for good. What it stands for becomes declared loss; gives how many clicks that are, or
/// `None` when there is no such frame.
pub async fn discard(conn: &mut PgConnection, id: i64) -> Result<Option<u64>> {
    let mut tx = conn.begin().await?;
    let Some(kept) = lock(&mut tx, id).await? else { return Ok(None) };
    if kept.counted > 0 {
        sqlx::query(
            "UPDATE spools SET parked = parked - $2, declared_loss = declared_loss + $2 WHERE spool = $1",
        )
        .bind(kept.spool)
        .bind(kept.counted)
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query("DELETE FROM parked_frames WHERE id = $1").bind(id).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(Some(kept.counted as u64))
}
