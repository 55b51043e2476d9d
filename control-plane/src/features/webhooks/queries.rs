//! SQL of events and of their feed.

use super::event::EventType;
use crate::error::Result;
use chrono::{DateTime, Utc};
use shared::id::{AgentId, EventId};
use sqlx::PgConnection;
use uuid::Uuid;

/// Serializes what moves committed events into the feed.
const FEED_LOCK: i64 = 0x0a05_feed;

/// The number of an object's next event. Holds the object until the commit, so that numbers grow in
/// commit order.
pub(crate) async fn next_sequence(conn: &mut PgConnection, object: Uuid) -> Result<i64> {
    Ok(sqlx::query_scalar(
        "INSERT INTO event_objects AS known (object_id, sequence)
         VALUES ($1, 1)
         ON CONFLICT (object_id) DO UPDATE SET sequence = known.sequence + 1
         RETURNING sequence",
    )
    .bind(object)
    .fetch_one(conn)
    .await?)
}

pub(crate) struct NewEvent<'a> {
    pub(crate) id: EventId,
    pub(crate) event_type: EventType,
    pub(crate) object: Uuid,
    pub(crate) sequence: i64,
    pub(crate) audience: &'a [AgentId],
    pub(crate) payload: &'a str,
    pub(crate) now: DateTime<Utc>,
}

pub(crate) async fn insert_event(conn: &mut PgConnection, new: &NewEvent<'_>) -> Result<()> {
    sqlx::query(
        "WITH event AS (
             INSERT INTO events (id, type, object_id, sequence, agent_ids, payload, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7))
         INSERT INTO event_outbox (event_id) VALUES ($1)",
    )
    .bind(new.id)
    .bind(new.event_type.as_str())
    .bind(new.object)
    .bind(new.sequence)
    .bind(new.audience)
    .bind(new.payload)
    .bind(new.now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the right to write the feed until the transaction ends; `false` when another has it.
pub(crate) async fn try_lock_feed(conn: &mut PgConnection) -> Result<bool> {
    Ok(sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)").bind(FEED_LOCK).fetch_one(conn).await?)
}

/// Moves committed events from the outbox into the feeds of their sides, oldest first.
pub(crate) async fn feed(conn: &mut PgConnection, limit: i64) -> Result<u64> {
    let moved = sqlx::query(
        "WITH taken AS (
             DELETE FROM event_outbox
              WHERE id IN (SELECT id FROM event_outbox ORDER BY id LIMIT $1)
             RETURNING id, event_id)
         INSERT INTO event_feed (agent_id, event_id, created_at)
         SELECT agent_id, events.id, events.created_at
           FROM taken
           JOIN events ON events.id = taken.event_id
          CROSS JOIN unnest(events.agent_ids) AS agent_id
          ORDER BY taken.id",
    )
    .bind(limit)
    .execute(conn)
    .await?;
    Ok(moved.rows_affected())
}

/// An agent's events behind a position.
pub(crate) async fn list_feed(
    conn: &mut PgConnection,
    agent: AgentId,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, String)>> {
    Ok(sqlx::query_as(
        "SELECT position, payload
           FROM event_feed
           JOIN events ON events.id = event_feed.event_id
          WHERE agent_id = $1 AND position > $2
          ORDER BY position
          LIMIT $3",
    )
    .bind(agent)
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}
