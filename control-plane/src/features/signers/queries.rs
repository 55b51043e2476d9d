//! SQL of signers.

use crate::error::Result;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// What is known of a directory.
#[derive(sqlx::FromRow, Debug)]
pub(super) struct DirectoryRow {
    pub(super) origin: String,
    pub(super) keys: Option<String>,
    pub(super) fetched_at: Option<DateTime<Utc>>,
    pub(super) tried_at: DateTime<Utc>,
    pub(super) failure: Option<String>,
}

pub(super) async fn list_directories(
    conn: &mut PgConnection,
    origins: &[String],
) -> Result<Vec<DirectoryRow>> {
    Ok(sqlx::query_as(
        "SELECT origin, keys, fetched_at, tried_at, failure
           FROM agent_directories
          WHERE origin = ANY ($1)
          ORDER BY origin",
    )
    .bind(origins)
    .fetch_all(conn)
    .await?)
}

pub(super) async fn save_keys(
    conn: &mut PgConnection,
    origin: &str,
    keys: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO agent_directories (origin, keys, fetched_at, tried_at)
         VALUES ($1, $2, $3, $3)
         ON CONFLICT (origin) DO UPDATE
            SET keys = excluded.keys, fetched_at = excluded.fetched_at, tried_at = excluded.tried_at, failure = NULL",
    )
    .bind(origin)
    .bind(keys)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn save_failure(
    conn: &mut PgConnection,
    origin: &str,
    failure: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO agent_directories (origin, tried_at, failure)
         VALUES ($1, $2, $3)
         ON CONFLICT (origin) DO UPDATE SET tried_at = excluded.tried_at, failure = excluded.failure",
    )
    .bind(origin)
    .bind(now)
    .bind(failure)
    .execute(conn)
    .await?;
    Ok(())
}
