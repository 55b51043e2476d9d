//! SQL of claims: who asked for which host, and what became of it.

use super::model::{Domain, Problem, Status};
use crate::page::{Page, Paged};
use chrono::{DateTime, Utc};
use shared::id::{AgentId, DomainId};
use sqlx::{PgConnection, Result};

/// What [`Domain`] is read from.
#[derive(sqlx::FromRow)]
pub(super) struct DomainRow {
    id: DomainId,
    agent_id: AgentId,
    host: String,
    status: Status,
    problem: Option<String>,
    fix: Option<String>,
    verified_at: Option<DateTime<Utc>>,
    checked_at: Option<DateTime<Utc>>,
    check_at: Option<DateTime<Utc>>,
    waiting_since: Option<DateTime<Utc>>,
    attempts: i32,
    issued_at: Option<DateTime<Utc>>,
    renew_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    lapsed_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<DomainRow> for Domain {
    fn from(row: DomainRow) -> Self {
        let DomainRow {
            id,
            agent_id,
            host,
            status,
            problem,
            fix,
            verified_at,
            checked_at,
            check_at,
            waiting_since,
            attempts,
            issued_at,
            renew_at,
            expires_at,
            lapsed_at,
            created_at,
            updated_at,
        } = row;
        Self {
            id,
            agent_id,
            host,
            status,
            problem,
            fix,
            verified_at,
            checked_at,
            check_at,
            waiting_since,
            attempts,
            issued_at,
            renew_at,
            expires_at,
            lapsed_at,
            created_at,
            updated_at,
        }
    }
}

/// Holds an agent until the transaction ends, so that its domains are counted one at a time; gives its plan.
pub(super) async fn lock_agent(conn: &mut PgConnection, agent: AgentId) -> Result<Option<String>> {
    sqlx::query_scalar("SELECT tier FROM agents WHERE id = $1 FOR NO KEY UPDATE")
        .bind(agent)
        .fetch_optional(conn)
        .await
}

pub(super) async fn count_domains(conn: &mut PgConnection, agent: AgentId) -> Result<i64> {
    sqlx::query_scalar("SELECT count(*) FROM domains WHERE agent_id = $1 AND deleted_at IS NULL")
        .bind(agent)
        .fetch_one(conn)
        .await
}

/// Whose a host is by the DNS.
pub(super) async fn find_owner(conn: &mut PgConnection, host: &str) -> Result<Option<AgentId>> {
    sqlx::query_scalar(
        "SELECT agent_id FROM domains WHERE host = $1 AND verified_at IS NOT NULL AND deleted_at IS NULL",
    )
    .bind(host)
    .fetch_optional(conn)
    .await
}

pub(super) async fn find_by_host(
    conn: &mut PgConnection,
    agent: AgentId,
    host: &str,
) -> Result<Option<DomainId>> {
    sqlx::query_scalar("SELECT id FROM domains WHERE agent_id = $1 AND host = $2 AND deleted_at IS NULL")
        .bind(agent)
        .bind(host)
        .fetch_optional(conn)
        .await
}

pub(super) async fn insert_domain(
    conn: &mut PgConnection,
    id: DomainId,
    agent: AgentId,
    host: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO domains (id, agent_id, host, status, check_at, waiting_since, created_at, updated_at)
         VALUES ($1, $2, $3, 'pending_dns', $4, $4, $4, $4)",
    )
    .bind(id)
    .bind(agent)
    .bind(host)
    .bind(now)
    .execute(conn)
    .await
    .map(drop)
}

pub(super) async fn find_domain(
    conn: &mut PgConnection,
    agent: AgentId,
    id: DomainId,
) -> Result<Option<Domain>> {
    let row: Option<DomainRow> = sqlx::query_as(
        "SELECT id, agent_id, host, status, problem, fix, verified_at, checked_at, check_at, waiting_since, attempts,
                issued_at, renew_at, expires_at, lapsed_at, created_at, updated_at
           FROM domains
          WHERE id = $1 AND agent_id = $2 AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(agent)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Domain::from))
}

/// The same, locked until the transaction ends.
pub(super) async fn lock_domain(
    conn: &mut PgConnection,
    agent: AgentId,
    id: DomainId,
) -> Result<Option<Domain>> {
    let row: Option<DomainRow> = sqlx::query_as(
        "SELECT id, agent_id, host, status, problem, fix, verified_at, checked_at, check_at, waiting_since, attempts,
                issued_at, renew_at, expires_at, lapsed_at, created_at, updated_at
           FROM domains
          WHERE id = $1 AND agent_id = $2 AND deleted_at IS NULL
            FOR UPDATE",
    )
    .bind(id)
    .bind(agent)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Domain::from))
}

pub(super) async fn list_domains(
    conn: &mut PgConnection,
    agent: AgentId,
    page: Page,
) -> Result<Paged<Domain>> {
    let rows: Vec<DomainRow> = sqlx::query_as(
        "SELECT id, agent_id, host, status, problem, fix, verified_at, checked_at, check_at, waiting_since, attempts,
                issued_at, renew_at, expires_at, lapsed_at, created_at, updated_at
           FROM domains
          WHERE agent_id = $1 AND deleted_at IS NULL
          ORDER BY created_at DESC, id DESC
          LIMIT $2 OFFSET $3",
    )
    .bind(agent)
    .bind(page.limit())
    .bind(page.offset())
    .fetch_all(&mut *conn)
    .await?;
    let total = count_domains(conn, agent).await?;
    Ok(page.of(rows.into_iter().map(Domain::from).collect(), total))
}

/// Ends a claim. Edges are told if they ever heard of it.
pub(super) async fn delete_domain(conn: &mut PgConnection, id: DomainId, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "UPDATE domains
            SET deleted_at = $2, updated_at = $2, check_at = NULL, order_url = NULL, order_key = NULL,
                unpublished = published_at IS NOT NULL OR verified_at IS NOT NULL
          WHERE id = $1",
    )
    .bind(id)
    .bind(now)
    .execute(conn)
    .await
    .map(drop)
}

/// What was seen of a claim that is not proven: when to look again, and what is wrong.
pub(super) async fn save_look(
    conn: &mut PgConnection,
    id: DomainId,
    status: Status,
    problem: Option<&Problem>,
    next: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "UPDATE domains
            SET status = $2, problem = $3, fix = $4, check_at = $5, checked_at = $6, updated_at = $6, leased_until = NULL
          WHERE id = $1 AND verified_at IS NULL AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(status)
    .bind(problem.map(|problem| problem.problem.as_str()))
    .bind(problem.map(|problem| problem.fix.as_str()))
    .bind(next)
    .bind(now)
    .execute(conn)
    .await
    .map(drop)
}

/// The claim is proven: it waits for its certificate, and edges hear of it. An owner by the same host makes this
/// fail with `domains_host_key`.
pub(super) async fn save_proof(conn: &mut PgConnection, id: DomainId, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "UPDATE domains
            SET status = 'issuing', problem = NULL, fix = NULL, verified_at = $2, checked_at = $2, check_at = $2,
                waiting_since = NULL, attempts = 0, updated_at = $2, leased_until = NULL, unpublished = TRUE
          WHERE id = $1 AND verified_at IS NULL AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(now)
    .execute(conn)
    .await
    .map(drop)
}

/// Its owner asks again: what is owed to earlier failures is forgotten.
pub(super) async fn save_hurry(conn: &mut PgConnection, id: DomainId, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "UPDATE domains
            SET check_at = $2, attempts = 0, updated_at = $2,
                waiting_since = CASE WHEN verified_at IS NULL THEN $2 END
          WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(now)
    .execute(conn)
    .await
    .map(drop)
}
