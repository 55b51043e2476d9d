//! SQL of the jobs that look after domains: taking those that are due, certificates, plans.

use crate::features::domains::acme::Begun;
use crate::features::domains::model::{Domain, Problem, Status};
use crate::features::domains::queries::DomainRow;
use chrono::{DateTime, TimeDelta, Utc};
use shared::id::DomainId;
use sqlx::{PgConnection, Result};

/// Whose domains a worker takes, and whether they are proven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// To look whether they are proven.
    Claims,
    /// To have a certificate issued or renewed.
    Certificates,
}

/// Takes domains that are due, for so long.
pub(super) async fn lease(
    conn: &mut PgConnection,
    due: Due,
    limit: i64,
    lease_for: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Vec<Domain>> {
    let rows: Vec<DomainRow> = sqlx::query_as(
        "UPDATE domains
            SET leased_until = $4
          WHERE id IN (
                SELECT id FROM domains
                 WHERE check_at <= $1 AND deleted_at IS NULL AND suspended_at IS NULL
                   AND (leased_until IS NULL OR leased_until <= $1)
                   AND (verified_at IS NOT NULL) = $2
                 ORDER BY check_at
                 LIMIT $3
                   FOR UPDATE SKIP LOCKED)
         RETURNING id, agent_id, host, status, problem, fix, verified_at, checked_at, check_at, waiting_since, attempts,
                   issued_at, renew_at, expires_at, lapsed_at, created_at, updated_at",
    )
    .bind(now)
    .bind(due == Due::Certificates)
    .bind(limit)
    .bind(now + lease_for)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Domain::from).collect())
}

/// The order in progress: where it is, and its sealed key.
pub(super) async fn find_order(conn: &mut PgConnection, id: DomainId) -> Result<Option<(String, Vec<u8>)>> {
    sqlx::query_as("SELECT order_url, order_key FROM domains WHERE id = $1 AND order_url IS NOT NULL")
        .bind(id)
        .fetch_optional(conn)
        .await
}

pub(super) async fn save_order(
    conn: &mut PgConnection,
    id: DomainId,
    begun: &Begun,
    sealed_key: &[u8],
) -> Result<()> {
    sqlx::query("UPDATE domains SET order_url = $2, order_key = $3 WHERE id = $1 AND deleted_at IS NULL")
        .bind(id)
        .bind(&begun.url)
        .bind(sealed_key)
        .execute(conn)
        .await
        .map(drop)
}

/// A certificate to keep.
pub(super) struct NewCertificate<'a> {
    pub(super) chain_pem: &'a str,
    pub(super) sealed_key: &'a [u8],
    pub(super) renew_at: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
    /// Looked at next.
    pub(super) check_at: DateTime<Utc>,
}

/// A certificate was issued; `false` when the domain was removed in the meantime.
pub(super) async fn save_certificate(
    conn: &mut PgConnection,
    id: DomainId,
    new: &NewCertificate<'_>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let saved = sqlx::query(
        "UPDATE domains
            SET status = 'active', problem = NULL, fix = NULL, chain_pem = $2, sealed_key = $3, issued_at = $7,
                renew_at = $4, expires_at = $5, check_at = $6, checked_at = $7, attempts = 0, updated_at = $7,
                order_url = NULL, order_key = NULL, leased_until = NULL, proof_lost_at = NULL, unpublished = TRUE
          WHERE id = $1 AND verified_at IS NOT NULL AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(new.chain_pem)
    .bind(new.sealed_key)
    .bind(new.renew_at)
    .bind(new.expires_at)
    .bind(new.check_at)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(saved.rows_affected() == 1)
}

/// The certificate holds; when it is renewed and looked at next.
pub(super) async fn save_renewal(
    conn: &mut PgConnection,
    id: DomainId,
    renew_at: DateTime<Utc>,
    check_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query("UPDATE domains SET renew_at = $2, check_at = $3, leased_until = NULL WHERE id = $1")
        .bind(id)
        .bind(renew_at)
        .bind(check_at)
        .execute(conn)
        .await
        .map(drop)
}

/// A try failed. With `forget_order` the next one begins anew.
pub(super) async fn save_failure(
    conn: &mut PgConnection,
    id: DomainId,
    (status, problem): (Status, &Problem),
    next: DateTime<Utc>,
    forget_order: bool,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "UPDATE domains
            SET status = $2, problem = $3, fix = $4, check_at = $5, checked_at = $7, updated_at = $7,
                attempts = attempts + 1, leased_until = NULL,
                proof_lost_at = NULL,
                order_url = CASE WHEN $6 THEN NULL ELSE order_url END,
                order_key = CASE WHEN $6 THEN NULL ELSE order_key END
          WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(status)
    .bind(&problem.problem)
    .bind(&problem.fix)
    .bind(next)
    .bind(forget_order)
    .bind(now)
    .execute(conn)
    .await
    .map(drop)
}

/// The proof was not found when a renewal was due: the domain is served until its certificate expires.
pub(super) async fn save_doubt(
    conn: &mut PgConnection,
    id: DomainId,
    problem: &Problem,
    next: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "UPDATE domains
            SET problem = $2, fix = $3, check_at = $4, checked_at = $5, updated_at = $5, attempts = attempts + 1,
                leased_until = NULL, proof_lost_at = coalesce(proof_lost_at, $5)
          WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(&problem.problem)
    .bind(&problem.fix)
    .bind(next)
    .bind(now)
    .execute(conn)
    .await
    .map(drop)
}

/// Nobody's any more: its proof is gone and its certificate with it. Whoever proves it next has it.
pub(super) async fn save_loss(
    conn: &mut PgConnection,
    id: DomainId,
    problem: &Problem,
    next: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "UPDATE domains
            SET status = 'failed', problem = $2, fix = $3, verified_at = NULL, checked_at = $5, check_at = $4,
                waiting_since = $5, attempts = 0, updated_at = $5, leased_until = NULL, unpublished = TRUE,
                chain_pem = NULL, sealed_key = NULL, issued_at = NULL, renew_at = NULL, expires_at = NULL,
                order_url = NULL, order_key = NULL, proof_lost_at = NULL
          WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(&problem.problem)
    .bind(&problem.fix)
    .bind(next)
    .bind(now)
    .execute(conn)
    .await
    .map(drop)
}

/// The certificate in force, as PEM.
pub(super) async fn find_chain(conn: &mut PgConnection, id: DomainId) -> Result<Option<String>> {
    sqlx::query_scalar("SELECT chain_pem FROM domains WHERE id = $1 AND chain_pem IS NOT NULL")
        .bind(id)
        .fetch_optional(conn)
        .await
}

pub(super) async fn find_account(conn: &mut PgConnection, directory: &str) -> Result<Option<Vec<u8>>> {
    sqlx::query_scalar("SELECT sealed FROM acme_accounts WHERE directory = $1")
        .bind(directory)
        .fetch_optional(conn)
        .await
}

/// Of two accounts made at once, the first stays.
pub(super) async fn insert_account(
    conn: &mut PgConnection,
    directory: &str,
    sealed: &[u8],
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO acme_accounts (directory, sealed, created_at) VALUES ($1, $2, $3)
         ON CONFLICT ON CONSTRAINT acme_accounts_pkey DO NOTHING",
    )
    .bind(directory)
    .bind(sealed)
    .bind(now)
    .execute(conn)
    .await
    .map(drop)
}

pub(super) async fn delete_account(conn: &mut PgConnection, directory: &str) -> Result<()> {
    sqlx::query("DELETE FROM acme_accounts WHERE directory = $1")
        .bind(directory)
        .execute(conn)
        .await
        .map(drop)
}

/// Follows the plans of the owners: notes since when they are not on Pro, stops serving after the grace, takes it up
/// again, and removes the domains of accounts that were closed.
pub(super) async fn follow_plans(
    conn: &mut PgConnection,
    problem: &Problem,
    stop_before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "UPDATE domains
            SET deleted_at = $1, updated_at = $1, check_at = NULL, order_url = NULL, order_key = NULL,
                unpublished = published_at IS NOT NULL OR verified_at IS NOT NULL
           FROM agents
          WHERE agents.id = domains.agent_id AND agents.deleted_at IS NOT NULL AND domains.deleted_at IS NULL",
    )
    .bind(now)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "UPDATE domains
            SET lapsed_at = $1, updated_at = $1
           FROM agents
          WHERE agents.id = domains.agent_id AND agents.tier <> 'pro'
            AND domains.lapsed_at IS NULL AND domains.deleted_at IS NULL",
    )
    .bind(now)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "UPDATE domains
            SET status = CASE WHEN suspended_at IS NULL THEN domains.status
                              WHEN verified_at IS NULL THEN 'pending_dns'
                              WHEN expires_at > $1 THEN 'active'
                              ELSE 'issuing' END,
                problem = CASE WHEN suspended_at IS NULL THEN domains.problem END,
                fix = CASE WHEN suspended_at IS NULL THEN domains.fix END,
                check_at = CASE WHEN suspended_at IS NULL THEN check_at ELSE $1 END,
                waiting_since = CASE WHEN verified_at IS NULL AND suspended_at IS NOT NULL THEN $1 ELSE waiting_since END,
                unpublished = unpublished OR suspended_at IS NOT NULL,
                lapsed_at = NULL, suspended_at = NULL, updated_at = $1
           FROM agents
          WHERE agents.id = domains.agent_id AND agents.tier = 'pro'
            AND domains.lapsed_at IS NOT NULL AND domains.deleted_at IS NULL",
    )
    .bind(now)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "UPDATE domains
            SET status = 'failed', problem = $2, fix = $3, suspended_at = $4, updated_at = $4, check_at = NULL,
                unpublished = TRUE
          WHERE lapsed_at <= $1 AND suspended_at IS NULL AND deleted_at IS NULL",
    )
    .bind(stop_before)
    .bind(&problem.problem)
    .bind(&problem.fix)
    .bind(now)
    .execute(conn)
    .await
    .map(drop)
}

/// Figures of all domains.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Figures {
    pub(super) pending_dns: i64,
    pub(super) issuing: i64,
    pub(super) active: i64,
    pub(super) failed: i64,
    pub(super) expiring_7d: i64,
    pub(super) expiring_14d: i64,
    /// Served, and the proof was gone when it was looked for last.
    pub(super) unproven: i64,
    /// Still proven, but the renewal has been due for longer than a day.
    pub(super) overdue: i64,
}

pub(super) async fn count_all(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Figures> {
    sqlx::query_as(
        "SELECT count(*) FILTER (WHERE status = 'pending_dns') AS pending_dns,
                count(*) FILTER (WHERE status = 'issuing') AS issuing,
                count(*) FILTER (WHERE status = 'active') AS active,
                count(*) FILTER (WHERE status = 'failed') AS failed,
                count(*) FILTER (WHERE expires_at < $1 + INTERVAL '7 days' AND suspended_at IS NULL) AS expiring_7d,
                count(*) FILTER (WHERE expires_at < $1 + INTERVAL '14 days' AND suspended_at IS NULL) AS expiring_14d,
                count(*) FILTER (WHERE proof_lost_at IS NOT NULL AND suspended_at IS NULL) AS unproven,
                count(*) FILTER (WHERE renew_at < $1 - INTERVAL '1 day' AND proof_lost_at IS NULL
                                   AND suspended_at IS NULL) AS overdue
           FROM domains
          WHERE deleted_at IS NULL",
    )
    .bind(now)
    .fetch_one(conn)
    .await
}
