//! SQL of endpoints.

use crate::error::{Error, Result};
use crate::features::webhooks::event::EventType;
use crate::features::webhooks::model::{Endpoint, PausedBecause, Status};
use crate::page::{Page, Paged};
use chrono::{DateTime, Utc};
use shared::id::{AgentId, WebhookId};
use sqlx::PgConnection;

/// Holds an agent until the transaction ends, so that its endpoints are counted one at a time.
pub(crate) async fn lock_agent(conn: &mut PgConnection, agent: AgentId) -> Result<()> {
    sqlx::query("SELECT FROM agents WHERE id = $1 FOR NO KEY UPDATE").bind(agent).execute(conn).await?;
    Ok(())
}

/// An agent's plan.
pub(crate) async fn find_tier(conn: &mut PgConnection, agent: AgentId) -> Result<Option<String>> {
    Ok(sqlx::query_scalar("SELECT tier FROM agents WHERE id = $1").bind(agent).fetch_optional(conn).await?)
}

pub(crate) struct NewEndpoint<'a> {
    pub(crate) id: WebhookId,
    pub(crate) agent: AgentId,
    pub(crate) url: &'a str,
    pub(crate) events: &'a [EventType],
    pub(crate) status: Status,
    pub(crate) secret: &'a [u8],
    pub(crate) now: DateTime<Utc>,
}

fn names(events: &[EventType]) -> Vec<&'static str> {
    events.iter().map(|event| event.as_str()).collect()
}

pub(crate) async fn insert_endpoint(conn: &mut PgConnection, new: &NewEndpoint<'_>) -> Result<()> {
    let paused = new.status == Status::Paused;
    sqlx::query(
        "INSERT INTO webhook_endpoints (id, agent_id, url, events, status, paused_because, paused_at, secret, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)",
    )
    .bind(new.id)
    .bind(new.agent)
    .bind(new.url)
    .bind(names(new.events))
    .bind(new.status)
    .bind(paused.then_some(PausedBecause::Owner))
    .bind(paused.then_some(new.now))
    .bind(new.secret)
    .bind(new.now)
    .execute(conn)
    .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct EndpointRow {
    id: WebhookId,
    agent_id: AgentId,
    url: String,
    events: Vec<String>,
    status: Status,
    paused_because: Option<PausedBecause>,
    paused_at: Option<DateTime<Utc>>,
    previous_secret_until: Option<DateTime<Utc>>,
    failing_since: Option<DateTime<Utc>>,
    last_success_at: Option<DateTime<Utc>>,
    last_failure_at: Option<DateTime<Utc>>,
    last_failure: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<EndpointRow> for Endpoint {
    type Error = Error;

    fn try_from(row: EndpointRow) -> Result<Self> {
        let events = row.events.iter().map(|name| name.parse().map_err(Error::bug));
        Ok(Self {
            id: row.id,
            agent_id: row.agent_id,
            url: row.url,
            events: events.collect::<Result<_>>()?,
            status: row.status,
            paused_because: row.paused_because,
            paused_at: row.paused_at,
            previous_secret_until: row.previous_secret_until,
            failing_since: row.failing_since,
            last_success_at: row.last_success_at,
            last_failure_at: row.last_failure_at,
            last_failure: row.last_failure,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

pub(crate) async fn find_endpoint(
    conn: &mut PgConnection,
    agent: AgentId,
    id: WebhookId,
) -> Result<Option<Endpoint>> {
    let row: Option<EndpointRow> = sqlx::query_as(
        "SELECT id, agent_id, url, events, status, paused_because, paused_at, previous_secret_until,
                failing_since, last_success_at, last_failure_at, last_failure, created_at, updated_at
           FROM webhook_endpoints
          WHERE id = $1 AND agent_id = $2 AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(agent)
    .fetch_optional(conn)
    .await?;
    row.map(Endpoint::try_from).transpose()
}

/// The same, locked until the transaction ends.
pub(crate) async fn lock_endpoint(
    conn: &mut PgConnection,
    agent: AgentId,
    id: WebhookId,
) -> Result<Option<Endpoint>> {
    let row: Option<EndpointRow> = sqlx::query_as(
        "SELECT id, agent_id, url, events, status, paused_because, paused_at, previous_secret_until,
                failing_since, last_success_at, last_failure_at, last_failure, created_at, updated_at
           FROM webhook_endpoints
          WHERE id = $1 AND agent_id = $2 AND deleted_at IS NULL
            FOR UPDATE",
    )
    .bind(id)
    .bind(agent)
    .fetch_optional(conn)
    .await?;
    row.map(Endpoint::try_from).transpose()
}

pub(crate) async fn count_endpoints(conn: &mut PgConnection, agent: AgentId) -> Result<i64> {
    Ok(sqlx::query_scalar(
        "SELECT count(*) FROM webhook_endpoints WHERE agent_id = $1 AND deleted_at IS NULL",
    )
    .bind(agent)
    .fetch_one(conn)
    .await?)
}

pub(crate) async fn list_endpoints(
    conn: &mut PgConnection,
    agent: AgentId,
    page: Page,
) -> Result<Paged<Endpoint>> {
    let total = count_endpoints(conn, agent).await?;
    let rows: Vec<EndpointRow> = sqlx::query_as(
        "SELECT id, agent_id, url, events, status, paused_because, paused_at, previous_secret_until,
                failing_since, last_success_at, last_failure_at, last_failure, created_at, updated_at
           FROM webhook_endpoints
          WHERE agent_id = $1 AND deleted_at IS NULL
          ORDER BY created_at DESC, id DESC
          LIMIT $2 OFFSET $3",
    )
    .bind(agent)
    .bind(page.limit())
    .bind(page.offset())
    .fetch_all(conn)
    .await?;
    let endpoints = rows.into_iter().map(Endpoint::try_from).collect::<Result<_>>()?;
    Ok(page.of(endpoints, total))
}

/// Stores what its owner changed. A change of address or a new start forgets earlier failures.
pub(crate) async fn update_endpoint(
    conn: &mut PgConnection,
    endpoint: &Endpoint,
    forget_failures: bool,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "UPDATE webhook_endpoints
            SET url = $2, events = $3, status = $4, paused_because = $5, paused_at = $6, updated_at = $7,
                failing_since = CASE WHEN $8 THEN NULL ELSE failing_since END
          WHERE id = $1",
    )
    .bind(endpoint.id)
    .bind(&endpoint.url)
    .bind(names(&endpoint.events))
    .bind(endpoint.status)
    .bind(endpoint.paused_because)
    .bind(endpoint.paused_at)
    .bind(now)
    .bind(forget_failures)
    .execute(conn)
    .await?;
    Ok(())
}

/// Puts a new secret in front; the one before stays until `until`.
pub(crate) async fn rotate_secret(
    conn: &mut PgConnection,
    id: WebhookId,
    secret: &[u8],
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "UPDATE webhook_endpoints
            SET previous_secret = secret, previous_secret_until = $3, secret = $2, updated_at = $4
          WHERE id = $1",
    )
    .bind(id)
    .bind(secret)
    .bind(until)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// The sealed secrets of an endpoint: the current one, and the one before while it still signs.
pub(crate) async fn find_secrets(
    conn: &mut PgConnection,
    id: WebhookId,
    now: DateTime<Utc>,
) -> Result<Option<(Vec<u8>, Option<Vec<u8>>)>> {
    Ok(sqlx::query_as(
        "SELECT secret, CASE WHEN previous_secret_until > $2 THEN previous_secret END
           FROM webhook_endpoints
          WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(now)
    .fetch_optional(conn)
    .await?)
}

pub(crate) async fn delete_endpoint(
    conn: &mut PgConnection,
    id: WebhookId,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "WITH gone AS (
             UPDATE webhook_endpoints SET deleted_at = $2, updated_at = $2 WHERE id = $1)
         UPDATE webhook_deliveries
            SET state = 'failed', finished_at = $2
          WHERE endpoint_id = $1 AND state IN ('ready', 'waiting', 'held')",
    )
    .bind(id)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}
