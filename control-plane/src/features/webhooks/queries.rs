//! SQL of events and of their feed.

use super::event::EventType;
use crate::error::Result;
use chrono::{DateTime, TimeDelta, Utc};
use shared::id::{AgentId, EventId};
use sqlx::PgConnection;
use std::collections::HashMap;
use uuid::Uuid;

/// Serializes what moves committed events into the feed.
const FEED_LOCK: i64 = 0x0a05_feed;

/// The numbers of objects' next events; each object once. Holds them until the commit, so that numbers
/// grow in commit order, and in one order, so that two transactions never wait for each other.
pub(crate) async fn next_sequences(conn: &mut PgConnection, objects: &[Uuid]) -> Result<HashMap<Uuid, i64>> {
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(
        "INSERT INTO event_objects AS known (object_id, sequence)
         SELECT object_id, 1 FROM unnest($1) AS object_id ORDER BY object_id
         ON CONFLICT (object_id) DO UPDATE SET sequence = known.sequence + 1
         RETURNING object_id, sequence",
    )
    .bind(objects)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().collect())
}

pub(crate) struct NewEvent {
    pub(crate) id: EventId,
    pub(crate) event_type: EventType,
    pub(crate) object: Uuid,
    pub(crate) sequence: i64,
    pub(crate) audience: Vec<AgentId>,
    pub(crate) payload: String,
}

/// Stores events, in their order, and puts them into the outbox.
pub(crate) async fn insert_events(
    conn: &mut PgConnection,
    new: &[NewEvent],
    trace: Option<&str>,
    now: DateTime<Utc>,
) -> Result<()> {
    let ids: Vec<_> = new.iter().map(|event| event.id).collect();
    let types: Vec<_> = new.iter().map(|event| event.event_type.as_str()).collect();
    let objects: Vec<_> = new.iter().map(|event| event.object).collect();
    let sequences: Vec<_> = new.iter().map(|event| event.sequence).collect();
    // Arrays of arrays must be rectangular: the second side is its own column.
    let first: Vec<_> = new.iter().map(|event| event.audience.first().copied()).collect();
    let second: Vec<_> = new.iter().map(|event| event.audience.get(1).copied()).collect();
    let payloads: Vec<_> = new.iter().map(|event| event.payload.as_str()).collect();
    sqlx::query(
        "WITH new AS (
             SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7) WITH ORDINALITY
                 AS new (id, type, object_id, sequence, first, second, payload, nth)),
         stored AS (
             INSERT INTO events (id, type, object_id, sequence, agent_ids, payload, created_at, trace_context)
             SELECT id, type, object_id, sequence, array_remove(ARRAY[first, second], NULL), payload, $8, $9
               FROM new)
         INSERT INTO event_outbox (event_id) SELECT id FROM new ORDER BY nth",
    )
    .bind(ids)
    .bind(types)
    .bind(objects)
    .bind(sequences)
    .bind(first)
    .bind(second)
    .bind(payloads)
    .bind(now)
    .bind(trace)
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the right to write the feed until the transaction ends; `false` when another has it.
pub(crate) async fn try_lock_feed(conn: &mut PgConnection) -> Result<bool> {
    Ok(sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)").bind(FEED_LOCK).fetch_one(conn).await?)
}

/// Moves committed events from the outbox into the feeds of their sides, oldest first.
pub(crate) async fn feed(conn: &mut PgConnection, limit: i64) -> Result<Vec<EventId>> {
    Ok(sqlx::query_scalar(
        "WITH taken AS (
             DELETE FROM event_outbox
              WHERE id IN (SELECT id FROM event_outbox ORDER BY id LIMIT $1)
             RETURNING id, event_id)
         INSERT INTO event_feed (agent_id, event_id, created_at)
         SELECT agent_id, events.id, events.created_at
           FROM taken
           JOIN events ON events.id = taken.event_id
          CROSS JOIN unnest(events.agent_ids) AS agent_id
          ORDER BY taken.id
         RETURNING event_id",
    )
    .bind(limit)
    .fetch_all(conn)
    .await?)
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

/// Removes what is older than `before`, a bounded part of it; whether there may be more. Events go last
/// and a day later, so that no delivery is left without its event.
pub(crate) async fn forget(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<bool> {
    let mut more = false;
    for (statement, before) in [
        (
            "DELETE FROM webhook_attempts WHERE ctid = ANY(ARRAY(
                 SELECT ctid FROM webhook_attempts WHERE at < $1 LIMIT $2))",
            before,
        ),
        (
            "DELETE FROM webhook_deliveries WHERE ctid = ANY(ARRAY(
                 SELECT ctid FROM webhook_deliveries WHERE created_at < $1 LIMIT $2))",
            before,
        ),
        (
            "DELETE FROM event_feed WHERE ctid = ANY(ARRAY(
                 SELECT ctid FROM event_feed WHERE created_at < $1 LIMIT $2))",
            before,
        ),
        (
            "DELETE FROM events WHERE ctid = ANY(ARRAY(
                 SELECT ctid FROM events WHERE created_at < $1 LIMIT $2))",
            before - TimeDelta::days(1),
        ),
    ] {
        let gone = sqlx::query(statement).bind(before).bind(limit).execute(&mut *conn).await?;
        more |= gone.rows_affected() as i64 == limit;
    }
    Ok(more)
}
