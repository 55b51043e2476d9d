//! SQL of what is left for the publisher.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Result};
use uuid::Uuid;

pub(super) async fn insert(
    conn: &mut PgConnection,
    (subject, subject_id): (&str, Uuid),
    trace_context: Option<String>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO link_outbox (subject, subject_id, created_at, trace_context) VALUES ($1, $2, $3, $4)",
    )
    .bind(subject)
    .bind(subject_id)
    .bind(now)
    .bind(trace_context)
    .execute(conn)
    .await
    .map(drop)
}
