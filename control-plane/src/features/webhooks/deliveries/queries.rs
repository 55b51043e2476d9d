//! SQL of deliveries as their owner sees them.

use crate::error::Result;
use crate::features::webhooks::model::{Attempt, Delivery, DeliveryStatus, Endpoint, Outcome};
use crate::page::{Page, Paged};
use chrono::{DateTime, Utc};
use shared::id::{AgentId, DeliveryId, EventId, WebhookId};
use sqlx::PgConnection;

/// Keeps back what an endpoint would be sent.
pub(crate) async fn hold(conn: &mut PgConnection, endpoint: WebhookId) -> Result<()> {
    sqlx::query(
        "UPDATE webhook_deliveries
            SET state = 'held'
          WHERE endpoint_id = $1 AND state IN ('ready', 'waiting')",
    )
    .bind(endpoint)
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets go what was kept back; what became too old meanwhile is given up.
pub(crate) async fn release(conn: &mut PgConnection, endpoint: WebhookId, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "UPDATE webhook_deliveries
            SET state = CASE WHEN expires_at > $2 THEN 'ready' ELSE 'failed' END,
                finished_at = CASE WHEN expires_at > $2 THEN NULL ELSE $2 END
          WHERE endpoint_id = $1 AND state = 'held'",
    )
    .bind(endpoint)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// A delivery beside one of its tries: both from one statement, so that they belong together.
#[derive(sqlx::FromRow)]
struct DeliveryRow {
    id: DeliveryId,
    event_id: EventId,
    event_type: String,
    state: String,
    due_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    number: Option<i32>,
    at: Option<DateTime<Utc>>,
    outcome: Option<Outcome>,
    status: Option<i16>,
    took_ms: Option<i32>,
}

impl DeliveryRow {
    fn attempt(&self) -> Option<Attempt> {
        Some(Attempt {
            number: self.number?,
            at: self.at?,
            outcome: self.outcome?,
            status: self.status,
            took_ms: self.took_ms,
        })
    }

    fn delivery(self) -> Delivery {
        Delivery {
            status: DeliveryStatus::from_name(&self.state).unwrap_or(DeliveryStatus::Pending),
            next_attempt_at: ["ready", "waiting"].contains(&self.state.as_str()).then_some(self.due_at),
            id: self.id,
            event_id: self.event_id,
            event_type: self.event_type,
            created_at: self.created_at,
            finished_at: self.finished_at,
            attempts: Vec::new(),
        }
    }
}

/// Gathers rows, which are sorted by delivery and try.
fn gather(rows: Vec<DeliveryRow>) -> Vec<Delivery> {
    let mut deliveries: Vec<Delivery> = Vec::new();
    for row in rows {
        let attempt = row.attempt();
        if deliveries.last().is_none_or(|last| last.id != row.id) {
            deliveries.push(row.delivery());
        }
        if let Some(last) = deliveries.last_mut() {
            last.attempts.extend(attempt);
        }
    }
    deliveries
}

/// A page of an endpoint's deliveries, newest first.
pub(crate) async fn list(
    conn: &mut PgConnection,
    endpoint: WebhookId,
    status: Option<DeliveryStatus>,
    page: Page,
) -> Result<Paged<Delivery>> {
    let states: &[&str] = match status {
        None => &["ready", "waiting", "sending", "held", "delivered", "failed"],
        Some(DeliveryStatus::Pending) => &["ready", "waiting", "sending", "held"],
        Some(DeliveryStatus::Delivered) => &["delivered"],
        Some(DeliveryStatus::Failed) => &["failed"],
    };
    let rows: Vec<DeliveryRow> = sqlx::query_as(
        "SELECT delivery.id, event_id, event_type, state, due_at, created_at, finished_at,
                number, at, outcome, attempt.status, took_ms
           FROM (SELECT agent_id, id
                   FROM webhook_deliveries
                  WHERE endpoint_id = $1 AND state = ANY($2) AND (created_at, id) < ($5, $6)
                  ORDER BY created_at DESC, id DESC
                  LIMIT $3 OFFSET $4) AS page
           JOIN webhook_deliveries AS delivery ON delivery.agent_id = page.agent_id AND delivery.id = page.id
           LEFT JOIN webhook_attempts AS attempt ON attempt.delivery_id = delivery.id
          ORDER BY created_at DESC, delivery.id DESC, number",
    )
    .bind(endpoint)
    .bind(states)
    .bind(page.limit_and_one())
    .bind(page.offset())
    .bind(page.below_instant().0)
    .bind(page.below_instant().1)
    .fetch_all(&mut *conn)
    .await?;
    let deliveries = gather(rows);
    let total = match page.total() {
        Some(total) => total,
        None if page.offset() == 0 && page.ends_with(&deliveries) => deliveries.len() as i64,
        None => {
            sqlx::query_scalar(
                "SELECT count(*)
                   FROM (SELECT
                           FROM webhook_deliveries
                          WHERE endpoint_id = $1 AND state = ANY($2)
                          LIMIT $3) AS counted",
            )
            .bind(endpoint)
            .bind(states)
            .bind(crate::page::REACH_MAX)
            .fetch_one(conn)
            .await?
        }
    };
    Ok(page.of_rows(deliveries, total, |one: &Delivery| (one.created_at.timestamp_micros(), one.id.uuid())))
}

/// One delivery of an endpoint.
pub(crate) async fn find(
    conn: &mut PgConnection,
    endpoint: &Endpoint,
    id: DeliveryId,
) -> Result<Option<Delivery>> {
    let rows: Vec<DeliveryRow> = sqlx::query_as(
        "SELECT delivery.id, event_id, event_type, state, due_at, created_at, finished_at,
                number, at, outcome, attempt.status, took_ms
           FROM webhook_deliveries AS delivery
           LEFT JOIN webhook_attempts AS attempt ON attempt.delivery_id = delivery.id
          WHERE agent_id = $1 AND delivery.id = $2 AND endpoint_id = $3
          ORDER BY number",
    )
    .bind(endpoint.agent_id)
    .bind(id)
    .bind(endpoint.id)
    .fetch_all(conn)
    .await?;
    Ok(gather(rows).pop())
}

/// Makes a delivery due now, with a new schedule when it had come to its end. One being tried goes on.
pub(crate) async fn requeue(
    conn: &mut PgConnection,
    agent: AgentId,
    id: DeliveryId,
    expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "UPDATE webhook_deliveries
            SET state = 'ready', due_at = $4, finished_at = NULL,
                round = CASE WHEN state IN ('delivered', 'failed') THEN 0 ELSE round END,
                expires_at = GREATEST(expires_at, $3)
          WHERE agent_id = $1 AND id = $2 AND state <> 'sending'",
    )
    .bind(agent)
    .bind(id)
    .bind(expires_at)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}
