//! SQL of the publisher of domains.

use chrono::{DateTime, Utc};
use shared::id::DomainId;
use sqlx::{PgConnection, Result};

/// Domains that edges have not heard of, locked: nobody changes them before what is read of them is written.
pub(super) async fn lock_unpublished(conn: &mut PgConnection, limit: i64) -> Result<Vec<(DomainId, String)>> {
    sqlx::query_as(
        "SELECT id, host FROM domains WHERE unpublished ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED",
    )
    .bind(limit)
    .fetch_all(conn)
    .await
}

/// A host as it is now, and the version of the record that says so.
#[derive(sqlx::FromRow)]
pub(super) struct HostRow {
    pub(super) host: String,
    pub(super) owner: i32,
    pub(super) version: i64,
    pub(super) served: bool,
    pub(super) chain_pem: Option<String>,
    pub(super) sealed_key: Option<Vec<u8>>,
    pub(super) expires_at: Option<DateTime<Utc>>,
}

/// What is to be said of these hosts: their owner's row, or that there is none.
pub(super) async fn load_hosts(conn: &mut PgConnection, hosts: &[&str]) -> Result<Vec<HostRow>> {
    sqlx::query_as(
        "SELECT found.host, agents.number AS owner, nextval('domain_record_version') AS version, found.served,
                found.chain_pem, found.sealed_key, found.expires_at
           FROM (SELECT DISTINCT ON (host) host, agent_id, chain_pem, sealed_key, expires_at,
                        verified_at IS NOT NULL AND deleted_at IS NULL AND suspended_at IS NULL AS served
                   FROM domains
                  WHERE host = ANY ($1)
                  ORDER BY host, verified_at IS NOT NULL AND deleted_at IS NULL DESC, published_at DESC NULLS LAST
                ) AS found
           JOIN agents ON agents.id = found.agent_id",
    )
    .bind(hosts)
    .fetch_all(conn)
    .await
}

pub(super) async fn save_published(
    conn: &mut PgConnection,
    ids: &[DomainId],
    versions: &[i64],
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "UPDATE domains
            SET unpublished = FALSE, published_at = coalesce(published_at, $3), published_version = told.version
           FROM unnest($1::UUID[], $2::BIGINT[]) AS told (id, version)
          WHERE domains.id = told.id",
    )
    .bind(ids)
    .bind(versions)
    .bind(now)
    .execute(conn)
    .await
    .map(drop)
}

/// Hosts that edges were told of or are to be, a page in their order.
pub(super) async fn list_hosts(conn: &mut PgConnection, after: &str, limit: i64) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT DISTINCT host FROM domains
          WHERE host > $1 AND (published_at IS NOT NULL OR verified_at IS NOT NULL)
          ORDER BY host
          LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await
}

/// Owned hosts and the version Redis should have of each, a page in their order.
pub(super) async fn list_versions(
    conn: &mut PgConnection,
    after: &str,
    limit: i64,
) -> Result<Vec<(String, i64)>> {
    sqlx::query_as(
        "SELECT host, published_version FROM domains
          WHERE host > $1 AND published_version IS NOT NULL AND NOT unpublished
            AND verified_at IS NOT NULL AND deleted_at IS NULL
          ORDER BY host
          LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await
}

/// These are to be published again.
pub(super) async fn mark_unpublished(conn: &mut PgConnection, hosts: &[String]) -> Result<()> {
    sqlx::query(
        "UPDATE domains SET unpublished = TRUE
          WHERE host = ANY ($1) AND verified_at IS NOT NULL AND deleted_at IS NULL",
    )
    .bind(hosts)
    .execute(conn)
    .await
    .map(drop)
}

/// Removed domains that every edge has had the time to hear of.
pub(super) async fn list_forgettable(
    conn: &mut PgConnection,
    deleted_before: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<(DomainId, String)>> {
    sqlx::query_as(
        "SELECT id, host FROM domains WHERE deleted_at <= $1 AND NOT unpublished ORDER BY deleted_at LIMIT $2",
    )
    .bind(deleted_before)
    .bind(limit)
    .fetch_all(conn)
    .await
}

pub(super) async fn delete_domains(conn: &mut PgConnection, ids: &[DomainId]) -> Result<()> {
    sqlx::query("DELETE FROM domains WHERE id = ANY ($1) AND deleted_at IS NOT NULL")
        .bind(ids)
        .execute(conn)
        .await
        .map(drop)
}
