//! From committed events to each agent's feed, by one writer at a time.
//!
//! Numbers given inside the writing transactions would become visible out of order. Here they are given
//! afterwards, under a lock that is held until the commit, so a reader's position is a promise.

use super::queries;
use crate::error::Result;
use sqlx::PgConnection;

/// Events moved in one transaction.
pub const BATCH_MAX: i64 = 500;

/// Moves one batch into the feeds; the number of rows written, 0 also when another writer is at it.
pub async fn advance(conn: &mut PgConnection) -> Result<u64> {
    if !queries::try_lock_feed(conn).await? {
        return Ok(0);
    }
    queries::feed(conn, BATCH_MAX).await
}
