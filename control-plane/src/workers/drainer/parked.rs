//! Frames that could not be stored: kept with their bytes, counted, and brought back by hand.
//!
//! Parking and moving the spool's watermark past the frame are one transaction, so the sum
//! `watermark = stored + parked + declared loss` of every spool holds through it.

use super::batch::Parked;
use super::source::EntryId;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Result};

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
