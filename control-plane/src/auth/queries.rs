//! SQL of keys.

use super::api_keys::{Digest, Kind, NewKey};
use super::extract::Agent;
use crate::error::Result;
use chrono::{DateTime, Utc};
use shared::id::{AgentId, ApiKeyId};
use sqlx::PgConnection;

#[derive(sqlx::FromRow)]
pub(crate) struct KeyRow {
    pub(crate) id: ApiKeyId,
    pub(crate) agent_id: AgentId,
    pub(crate) agent_number: i32,
    pub(crate) digest: Vec<u8>,
    pub(crate) last_used_at: Option<DateTime<Utc>>,
}

pub(crate) async fn find_live_key(
    conn: &mut PgConnection,
    digest: &Digest,
    kind: Kind,
) -> Result<Option<KeyRow>> {
    Ok(sqlx::query_as(
        "SELECT api_keys.id, agent_id, agents.number AS agent_number, digest, last_used_at
           FROM api_keys
           JOIN agents ON agents.id = api_keys.agent_id
          WHERE digest = $1 AND kind = $2 AND revoked_at IS NULL AND agents.deleted_at IS NULL",
    )
    .bind(digest.as_bytes())
    .bind(kind.as_str())
    .fetch_optional(conn)
    .await?)
}

pub(crate) async fn touch_key(conn: &mut PgConnection, id: ApiKeyId, now: DateTime<Utc>) -> Result<()> {
    sqlx::query("UPDATE api_keys SET last_used_at = $2 WHERE id = $1")
        .bind(id)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) async fn insert_key(
    conn: &mut PgConnection,
    agent: AgentId,
    kind: Kind,
    key: &NewKey,
    now: DateTime<Utc>,
) -> Result<ApiKeyId> {
    let id = ApiKeyId::generate();
    sqlx::query(
        "INSERT INTO api_keys (id, agent_id, kind, digest, last_four, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(id)
    .bind(agent)
    .bind(kind.as_str())
    .bind(key.digest().as_bytes())
    .bind(key.last_four())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(id)
}

/// A key as its owner sees it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct KeySummary {
    /// Its id.
    pub id: ApiKeyId,
    /// `agent`, `publisher` or `merchant`.
    pub kind: String,
    /// Its last four characters.
    pub last_four: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// The keys of an agent that are not revoked, the newest first.
pub(crate) async fn list_live_keys(conn: &mut PgConnection, agent: AgentId) -> Result<Vec<KeySummary>> {
    Ok(sqlx::query_as(
        "SELECT id, kind, last_four, created_at, last_used_at
           FROM api_keys
          WHERE agent_id = $1 AND revoked_at IS NULL
          ORDER BY created_at DESC, id DESC",
    )
    .bind(agent)
    .fetch_all(conn)
    .await?)
}

/// Makes changes to one agent's keys wait for each other.
pub(crate) async fn lock_keys(conn: &mut PgConnection, agent: AgentId) -> Result<()> {
    sqlx::query("SELECT FROM agents WHERE id = $1 FOR NO KEY UPDATE").bind(agent).execute(conn).await?;
    Ok(())
}

/// Revokes one key; `false` when it was revoked before.
pub(crate) async fn revoke_key(conn: &mut PgConnection, id: ApiKeyId, now: DateTime<Utc>) -> Result<bool> {
    let revoked = sqlx::query("UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
        .bind(id)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(revoked.rows_affected() == 1)
}

/// Revokes every key of an agent.
pub(crate) async fn revoke_keys(conn: &mut PgConnection, agent: AgentId, now: DateTime<Utc>) -> Result<()> {
    sqlx::query("UPDATE api_keys SET revoked_at = $2 WHERE agent_id = $1 AND revoked_at IS NULL")
        .bind(agent)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// The agent of a session that has not ended.
pub(crate) async fn find_session(
    conn: &mut PgConnection,
    digest: &Digest,
    now: DateTime<Utc>,
) -> Result<Option<Agent>> {
    let found: Option<(AgentId, i32, ApiKeyId)> = sqlx::query_as(
        "SELECT api_keys.agent_id, agents.number, api_keys.id
           FROM dashboard_sessions
           JOIN api_keys ON api_keys.id = dashboard_sessions.key_id
           JOIN agents ON agents.id = api_keys.agent_id
          WHERE dashboard_sessions.digest = $1 AND dashboard_sessions.expires_at > $2
            AND api_keys.revoked_at IS NULL AND agents.deleted_at IS NULL",
    )
    .bind(digest.as_bytes())
    .bind(now)
    .fetch_optional(conn)
    .await?;
    Ok(found.map(|(id, number, key_id)| Agent { id, number, key_id }))
}

pub(crate) async fn insert_session(
    conn: &mut PgConnection,
    digest: &Digest,
    key: ApiKeyId,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO dashboard_sessions (digest, key_id, created_at, expires_at) VALUES ($1, $2, $3, $4)",
    )
    .bind(digest.as_bytes())
    .bind(key)
    .bind(now)
    .bind(expires_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a key's expired sessions, and all others but the youngest so many.
pub(crate) async fn delete_surplus_sessions(
    conn: &mut PgConnection,
    key: ApiKeyId,
    kept: i64,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "DELETE FROM dashboard_sessions
          WHERE key_id = $1
            AND (expires_at <= $3
                 OR digest NOT IN (SELECT digest FROM dashboard_sessions
                                    WHERE key_id = $1 AND expires_at > $3
                                    ORDER BY created_at DESC, digest
                                    LIMIT $2))",
    )
    .bind(key)
    .bind(kept)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn delete_session(conn: &mut PgConnection, digest: &Digest) -> Result<()> {
    sqlx::query("DELETE FROM dashboard_sessions WHERE digest = $1")
        .bind(digest.as_bytes())
        .execute(conn)
        .await?;
    Ok(())
}
