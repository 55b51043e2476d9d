//! SQL of agents.

use super::model::Agent;
use crate::error::Result;
use chrono::{DateTime, Utc};
use shared::id::AgentId;
use sqlx::PgConnection;

/// What a sign-up stores.
#[derive(Clone, Copy)]
pub(crate) struct NewAgent<'a> {
    pub(crate) name: &'a str,
    pub(crate) handle: &'a str,
    pub(crate) description: Option<&'a str>,
    pub(crate) niche: Option<&'a str>,
    pub(crate) audience_type: Option<&'a str>,
    pub(crate) website_url: Option<&'a str>,
}

/// Inserts an agent; `None` when the handle is taken, with the transaction still usable.
pub(crate) async fn insert_agent(
    conn: &mut PgConnection,
    new: &NewAgent<'_>,
    now: DateTime<Utc>,
) -> Result<Option<Agent>> {
    Ok(sqlx::query_as(
        "INSERT INTO agents (id, name, handle, description, niche, audience_type, website_url, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
         ON CONFLICT (handle) WHERE deleted_at IS NULL DO NOTHING
         RETURNING id, number, name, handle, description, niche, audience_type, website_url, tier, created_at",
    )
    .bind(AgentId::generate())
    .bind(new.name)
    .bind(new.handle)
    .bind(new.description)
    .bind(new.niche)
    .bind(new.audience_type)
    .bind(new.website_url)
    .bind(now)
    .fetch_optional(conn)
    .await?)
}

/// The live handles that are `base` or `base-NUMBER`.
pub(crate) async fn list_handles_like(conn: &mut PgConnection, base: &str) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(
        "SELECT handle
           FROM agents
          WHERE deleted_at IS NULL AND handle ~ ('^' || $1 || '(-[0-9]{1,6})?$')",
    )
    .bind(base)
    .fetch_all(conn)
    .await?)
}

pub(crate) async fn find_agent(conn: &mut PgConnection, id: AgentId) -> Result<Option<Agent>> {
    Ok(sqlx::query_as(
        "SELECT id, number, name, handle, description, niche, audience_type, website_url, tier, created_at
           FROM agents
          WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?)
}
