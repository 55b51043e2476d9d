//! SQL of the runner.

use sqlx::{PgConnection, Result};

/// Takes the lock of a job for as long as this connection lives; `false` when another process has it.
pub(super) async fn try_lock(conn: &mut PgConnection, name: &str) -> Result<bool> {
    sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended('job ' || $1, 0))")
        .bind(name)
        .fetch_one(conn)
        .await
}
