//! SQL of the queue of deliveries.

use super::{Finished, Job};
use crate::error::{Error, Result};
use crate::features::webhooks::model::{Outcome, PausedBecause, Status};
use chrono::{DateTime, Utc};
use shared::id::{AgentId, DeliveryId, EventId, WebhookId};
use sqlx::PgConnection;

/// Serializes claims over all workers, so that the limits per agent and per endpoint are exact.
const CLAIM_LOCK: i64 = 0x0a05_c1a1;

/// An endpoint that an event in the feed is for.
#[derive(sqlx::FromRow)]
pub(crate) struct SubscriberRow {
    pub(crate) endpoint_id: WebhookId,
    pub(crate) agent_id: AgentId,
    pub(crate) event_id: EventId,
    pub(crate) event_type: String,
    pub(crate) trace_context: Option<String>,
}

/// Who is to be told of these events, in their order: active endpoints of agents on Pro. They stay active
/// until the transaction ends.
pub(crate) async fn list_subscribers(
    conn: &mut PgConnection,
    events: &[EventId],
) -> Result<Vec<SubscriberRow>> {
    Ok(sqlx::query_as(
        "SELECT endpoints.id AS endpoint_id, endpoints.agent_id, events.id AS event_id, events.type AS event_type,
                events.trace_context
           FROM events
           JOIN webhook_endpoints AS endpoints
             ON endpoints.agent_id = ANY(events.agent_ids) AND events.type = ANY(endpoints.events)
            AND endpoints.status = 'active' AND endpoints.deleted_at IS NULL
           JOIN agents ON agents.id = endpoints.agent_id AND agents.tier = 'pro'
          WHERE events.id = ANY($1)
          ORDER BY events.id
            FOR SHARE OF endpoints",
    )
    .bind(events)
    .fetch_all(conn)
    .await?)
}

pub(crate) async fn insert_deliveries(
    conn: &mut PgConnection,
    subscribers: &[SubscriberRow],
    expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<()> {
    let ids: Vec<_> = subscribers.iter().map(|_| DeliveryId::generate()).collect();
    let agents: Vec<_> = subscribers.iter().map(|row| row.agent_id).collect();
    let endpoints: Vec<_> = subscribers.iter().map(|row| row.endpoint_id).collect();
    let events: Vec<_> = subscribers.iter().map(|row| row.event_id).collect();
    let types: Vec<_> = subscribers.iter().map(|row| row.event_type.as_str()).collect();
    sqlx::query(
        "INSERT INTO webhook_deliveries (id, agent_id, endpoint_id, event_id, event_type, state, due_at, expires_at, created_at)
         SELECT id, agent_id, endpoint_id, event_id, event_type, 'ready', $7, $6, $7
           FROM unnest($1, $2, $3, $4, $5) AS new (id, agent_id, endpoint_id, event_id, event_type)",
    )
    .bind(ids)
    .bind(agents)
    .bind(endpoints)
    .bind(events)
    .bind(types)
    .bind(expires_at)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes due what has waited long enough; gives up what has waited too long.
pub(crate) async fn wake(conn: &mut PgConnection, limit: i64, now: DateTime<Utc>) -> Result<u64> {
    let woken = sqlx::query(
        "WITH due AS (
             SELECT agent_id, id
               FROM webhook_deliveries
              WHERE state = 'waiting' AND due_at <= $2
              ORDER BY due_at
              LIMIT $1
                FOR UPDATE SKIP LOCKED)
         UPDATE webhook_deliveries AS delivery
            SET state = CASE WHEN expires_at > $2 THEN 'ready' ELSE 'failed' END,
                finished_at = CASE WHEN expires_at > $2 THEN NULL ELSE $2 END
           FROM due
          WHERE delivery.agent_id = due.agent_id AND delivery.id = due.id",
    )
    .bind(limit)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(woken.rows_affected())
}

/// Takes back what a worker that is gone was sending, and notes the try as interrupted.
pub(crate) async fn reclaim(
    conn: &mut PgConnection,
    tries_max: i32,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<u64> {
    let reclaimed = sqlx::query(
        "WITH lost AS (
             SELECT agent_id, id
               FROM webhook_deliveries
              WHERE state = 'sending' AND lease_until <= $3
              ORDER BY lease_until
              LIMIT $2
                FOR UPDATE SKIP LOCKED),
         reclaimed AS (
             UPDATE webhook_deliveries AS delivery
                SET state = CASE WHEN round < $1 AND expires_at > $3 THEN 'ready' ELSE 'failed' END,
                    finished_at = CASE WHEN round < $1 AND expires_at > $3 THEN NULL ELSE $3 END,
                    lease_until = NULL
               FROM lost
              WHERE delivery.agent_id = lost.agent_id AND delivery.id = lost.id
             RETURNING delivery.id, attempts)
         INSERT INTO webhook_attempts (delivery_id, number, at, outcome)
         SELECT id, attempts, $3, $4 FROM reclaimed
         ON CONFLICT DO NOTHING",
    )
    .bind(tries_max)
    .bind(limit)
    .bind(now)
    .bind(Outcome::Interrupted)
    .execute(conn)
    .await?;
    Ok(reclaimed.rows_affected())
}

/// Waits for the right to claim, and keeps it until the transaction ends.
pub(crate) async fn lock_claims(conn: &mut PgConnection) -> Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(CLAIM_LOCK).execute(conn).await?;
    Ok(())
}

/// Agents with something due, behind one of them in the order of their ids, each with the number of its
/// deliveries in flight. Costs a look per agent, however much each has waiting.
pub(crate) async fn list_waiting_agents(
    conn: &mut PgConnection,
    behind: AgentId,
    limit: i32,
) -> Result<Vec<(AgentId, i64)>> {
    Ok(sqlx::query_as(
        "WITH RECURSIVE waiting AS (
             (SELECT agent_id, 1 AS nth
                FROM webhook_deliveries
               WHERE state = 'ready' AND agent_id > $1
               ORDER BY agent_id
               LIMIT 1)
             UNION ALL
             SELECT next.agent_id, waiting.nth + 1
               FROM waiting
              CROSS JOIN LATERAL (
                     SELECT agent_id
                       FROM webhook_deliveries
                      WHERE state = 'ready' AND agent_id > waiting.agent_id
                      ORDER BY agent_id
                      LIMIT 1) AS next
              WHERE waiting.nth < $2),
         busy AS (
             SELECT agent_id, count(*) AS in_flight
               FROM webhook_deliveries
              WHERE state = 'sending'
              GROUP BY agent_id)
         SELECT agent_id, COALESCE(in_flight, 0)
           FROM waiting
           LEFT JOIN busy USING (agent_id)
          ORDER BY agent_id",
    )
    .bind(behind)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

/// One agent's turn: how many deliveries it may start, from which of its endpoints on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) agent: AgentId,
    pub(crate) behind: WebhookId,
    pub(crate) quota: i32,
}

#[derive(sqlx::FromRow)]
struct ClaimedRow {
    id: DeliveryId,
    agent_id: AgentId,
    endpoint_id: WebhookId,
    event_id: EventId,
    state: String,
    attempts: i32,
    round: i32,
    created_at: DateTime<Utc>,
    url: String,
    secret: Vec<u8>,
    previous_secret: Option<Vec<u8>>,
    event_type: String,
    payload: String,
    trace_context: Option<String>,
}

/// Starts deliveries: for each turn the oldest of as many endpoints as its quota allows, at most
/// `per_endpoint` in flight to each, `limit` in all. Call it under [`lock_claims`].
pub(crate) async fn claim(
    conn: &mut PgConnection,
    turns: &[Turn],
    per_endpoint: i32,
    limit: i64,
    lease_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<Job>> {
    let agents: Vec<_> = turns.iter().map(|turn| turn.agent).collect();
    let behind: Vec<_> = turns.iter().map(|turn| turn.behind).collect();
    let quotas: Vec<_> = turns.iter().map(|turn| turn.quota).collect();
    let rows: Vec<ClaimedRow> = sqlx::query_as(
        "WITH RECURSIVE turn AS (
             SELECT * FROM unnest($1, $2, $3) AS given (agent_id, behind, quota)),
         busy AS MATERIALIZED (
             SELECT endpoint_id, count(*)::int AS in_flight
               FROM webhook_deliveries
              WHERE state = 'sending'
              GROUP BY endpoint_id),
         lane AS (
             SELECT turn.agent_id, first.endpoint_id, turn.quota, 1 AS nth
               FROM turn
              CROSS JOIN LATERAL (
                     SELECT endpoint_id
                       FROM webhook_deliveries
                      WHERE state = 'ready' AND agent_id = turn.agent_id AND endpoint_id > turn.behind
                      ORDER BY endpoint_id
                      LIMIT 1) AS first
             UNION ALL
             SELECT lane.agent_id, next.endpoint_id, lane.quota, lane.nth + 1
               FROM lane
              CROSS JOIN LATERAL (
                     SELECT endpoint_id
                       FROM webhook_deliveries
                      WHERE state = 'ready' AND agent_id = lane.agent_id AND endpoint_id > lane.endpoint_id
                      ORDER BY endpoint_id
                      LIMIT 1) AS next
              -- Lanes that are full are stepped over; an agent has no more of them than this.
              WHERE lane.nth < lane.quota + 32),
         picked AS (
             SELECT lane.agent_id, lane.quota, oldest.id,
                    row_number() OVER (PARTITION BY lane.agent_id ORDER BY lane.nth, oldest.due_at) AS nth
               FROM lane
               LEFT JOIN busy USING (endpoint_id)
              CROSS JOIN LATERAL (
                     SELECT id, due_at
                       FROM webhook_deliveries
                      WHERE state = 'ready' AND agent_id = lane.agent_id AND endpoint_id = lane.endpoint_id
                      ORDER BY due_at, id
                      LIMIT GREATEST($4 - COALESCE(busy.in_flight, 0), 0)
                        FOR UPDATE SKIP LOCKED) AS oldest),
         chosen AS (
             SELECT delivery.agent_id, delivery.id,
                    CASE WHEN delivery.expires_at <= $7 THEN 'failed'
                         WHEN endpoint.status = 'active' AND endpoint.deleted_at IS NULL THEN 'sending'
                         ELSE 'held' END AS state
               FROM (SELECT agent_id, id FROM picked WHERE nth <= quota ORDER BY nth, agent_id LIMIT $5) AS first
               JOIN webhook_deliveries AS delivery USING (agent_id, id)
               JOIN webhook_endpoints AS endpoint ON endpoint.id = delivery.endpoint_id)
         UPDATE webhook_deliveries AS delivery
            SET state = chosen.state,
                attempts = attempts + (chosen.state = 'sending')::int,
                round = round + (chosen.state = 'sending')::int,
                lease_until = CASE WHEN chosen.state = 'sending' THEN $6 END,
                finished_at = CASE WHEN chosen.state = 'failed' THEN $7 END
           FROM chosen, webhook_endpoints AS endpoint, events AS event
          WHERE delivery.agent_id = chosen.agent_id AND delivery.id = chosen.id
            AND endpoint.id = delivery.endpoint_id AND event.id = delivery.event_id
         RETURNING delivery.id, delivery.agent_id, delivery.endpoint_id, delivery.event_id, delivery.state,
                   delivery.attempts, delivery.round, delivery.created_at, endpoint.url, endpoint.secret,
                   CASE WHEN endpoint.previous_secret_until > $7 THEN endpoint.previous_secret END AS previous_secret,
                   event.type AS event_type, event.payload, event.trace_context",
    )
    .bind(agents)
    .bind(behind)
    .bind(quotas)
    .bind(per_endpoint)
    .bind(limit)
    .bind(lease_until)
    .bind(now)
    .fetch_all(conn)
    .await?;
    rows.into_iter().filter(|row| row.state == "sending").map(Job::try_from).collect()
}

impl TryFrom<ClaimedRow> for Job {
    type Error = Error;

    fn try_from(row: ClaimedRow) -> Result<Self> {
        Ok(Self {
            delivery: row.id,
            agent: row.agent_id,
            endpoint: row.endpoint_id,
            event: row.event_id,
            event_type: row.event_type.parse().map_err(Error::bug)?,
            attempt: row.attempts,
            round: row.round,
            queued_at: row.created_at,
            url: row.url,
            secret: row.secret,
            previous_secret: row.previous_secret,
            payload: row.payload,
            trace: row.trace_context,
        })
    }
}

/// An endpoint as its failures are judged.
#[derive(sqlx::FromRow)]
pub(crate) struct HealthRow {
    pub(crate) id: WebhookId,
    pub(crate) status: Status,
    pub(crate) deleted: bool,
    pub(crate) failing_since: Option<DateTime<Utc>>,
}

/// Locks endpoints in the order of their ids, so that two workers never wait for each other.
pub(crate) async fn lock_health(conn: &mut PgConnection, endpoints: &[WebhookId]) -> Result<Vec<HealthRow>> {
    Ok(sqlx::query_as(
        "SELECT id, status, deleted_at IS NOT NULL AS deleted, failing_since
           FROM webhook_endpoints
          WHERE id = ANY($1)
          ORDER BY id
            FOR UPDATE",
    )
    .bind(endpoints)
    .fetch_all(conn)
    .await?)
}

/// What a batch of tries says about an endpoint.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) id: WebhookId,
    pub(crate) failing_since: Option<DateTime<Utc>>,
    pub(crate) succeeded: bool,
    pub(crate) failure: Option<String>,
    pub(crate) paused: Option<PausedBecause>,
}

pub(crate) async fn update_health(
    conn: &mut PgConnection,
    health: &[Health],
    now: DateTime<Utc>,
) -> Result<()> {
    let ids: Vec<_> = health.iter().map(|one| one.id).collect();
    let failing: Vec<_> = health.iter().map(|one| one.failing_since).collect();
    let succeeded: Vec<_> = health.iter().map(|one| one.succeeded).collect();
    let failures: Vec<_> = health.iter().map(|one| one.failure.as_deref()).collect();
    let paused: Vec<_> = health.iter().map(|one| one.paused.map(PausedBecause::as_str)).collect();
    sqlx::query(
        "UPDATE webhook_endpoints AS endpoint
            SET failing_since = judged.failing_since,
                last_success_at = CASE WHEN judged.succeeded THEN $6 ELSE last_success_at END,
                last_failure_at = CASE WHEN judged.failure IS NOT NULL THEN $6 ELSE last_failure_at END,
                last_failure = COALESCE(judged.failure, last_failure),
                status = CASE WHEN judged.paused IS NOT NULL THEN 'paused' ELSE status END,
                paused_because = COALESCE(judged.paused, paused_because),
                paused_at = CASE WHEN judged.paused IS NOT NULL THEN $6 ELSE paused_at END
           FROM unnest($1, $2, $3, $4, $5) AS judged (id, failing_since, succeeded, failure, paused)
          WHERE endpoint.id = judged.id",
    )
    .bind(ids)
    .bind(failing)
    .bind(succeeded)
    .bind(failures)
    .bind(paused)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes down how tries ended. A try whose lease another worker has taken over changes nothing but the log.
pub(crate) async fn finish(conn: &mut PgConnection, finished: &[Finished], now: DateTime<Utc>) -> Result<()> {
    let column = |of: fn(&Finished) -> &'static str| finished.iter().map(of).collect::<Vec<_>>();
    let ids: Vec<_> = finished.iter().map(|one| one.delivery).collect();
    let agents: Vec<_> = finished.iter().map(|one| one.agent).collect();
    let attempts: Vec<_> = finished.iter().map(|one| one.attempt).collect();
    let due: Vec<_> = finished.iter().map(|one| one.due_at).collect();
    let statuses: Vec<_> = finished.iter().map(|one| one.status).collect();
    let took: Vec<_> = finished.iter().map(|one| one.took_ms).collect();
    sqlx::query(
        "WITH tried AS (
             SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)
                 AS tried (agent_id, id, attempt, state, due_at, outcome, status, took_ms)),
         moved AS (
             UPDATE webhook_deliveries AS delivery
                SET state = CASE WHEN tried.state = 'waiting' AND expires_at <= tried.due_at THEN 'failed'
                                 ELSE tried.state END,
                    due_at = tried.due_at, lease_until = NULL,
                    finished_at = CASE WHEN tried.state IN ('delivered', 'failed') THEN $9
                                       WHEN tried.state = 'waiting' AND expires_at <= tried.due_at THEN $9 END
               FROM tried
              WHERE delivery.agent_id = tried.agent_id AND delivery.id = tried.id
                AND delivery.state = 'sending' AND delivery.attempts = tried.attempt)
         INSERT INTO webhook_attempts (delivery_id, number, at, outcome, status, took_ms)
         SELECT id, attempt, $9, outcome, status, took_ms FROM tried
         ON CONFLICT (delivery_id, number) DO UPDATE
            SET at = EXCLUDED.at, outcome = EXCLUDED.outcome, status = EXCLUDED.status, took_ms = EXCLUDED.took_ms",
    )
    .bind(agents)
    .bind(ids)
    .bind(attempts)
    .bind(column(|one| one.state))
    .bind(due)
    .bind(column(|one| one.outcome.as_str()))
    .bind(statuses)
    .bind(took)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}
