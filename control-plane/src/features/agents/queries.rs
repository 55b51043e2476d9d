//! SQL of agents.

use super::model::Agent;
use crate::db;
use crate::error::Result;
use crate::page::{Page, REACH_MAX};
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
    pub(crate) referred_by: Option<AgentId>,
}

/// The agent whose code this is.
pub(crate) async fn find_by_referral_code(conn: &mut PgConnection, code: &str) -> Result<Option<AgentId>> {
    Ok(sqlx::query_scalar("SELECT id FROM agents WHERE referral_code = $1 AND deleted_at IS NULL")
        .bind(code)
        .fetch_optional(conn)
        .await?)
}

/// Inserts an agent; `None` when the handle is taken, with the transaction still usable.
pub(crate) async fn insert_agent(
    conn: &mut PgConnection,
    new: &NewAgent<'_>,
    now: DateTime<Utc>,
) -> Result<Option<Agent>> {
    Ok(sqlx::query_as(
        "INSERT INTO agents (id, name, handle, description, niche, audience_type, website_url, created_at, updated_at,
                             referred_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9)
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
    .bind(new.referred_by)
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

/// The same, locked.
pub(crate) async fn lock_agent(conn: &mut PgConnection, id: AgentId) -> Result<Option<Agent>> {
    Ok(sqlx::query_as(
        "SELECT id, number, name, handle, description, niche, audience_type, website_url, tier, created_at
           FROM agents
          WHERE id = $1 AND deleted_at IS NULL
            FOR NO KEY UPDATE",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?)
}

/// Stores a profile; `false` when the handle is taken, and then the transaction is lost.
pub(crate) async fn update_agent(conn: &mut PgConnection, agent: &Agent, now: DateTime<Utc>) -> Result<bool> {
    let updated = sqlx::query(
        "UPDATE agents
            SET name = $2, handle = $3, description = $4, niche = $5, audience_type = $6, website_url = $7,
                updated_at = $8
          WHERE id = $1",
    )
    .bind(agent.id)
    .bind(&agent.name)
    .bind(&agent.handle)
    .bind(agent.description.as_deref())
    .bind(agent.niche.as_deref())
    .bind(agent.audience_type.as_deref())
    .bind(agent.website_url.as_deref())
    .bind(now)
    .execute(conn)
    .await;
    match updated {
        Ok(_) => Ok(true),
        Err(error) if db::violated(&error) == Some("agents_handle_key") => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Which agents a list shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filter<'a> {
    pub(crate) niche: Option<&'a str>,
    pub(crate) audience_type: Option<&'a str>,
}

/// A page of agents, the newest first.
pub(crate) async fn list_agents(
    conn: &mut PgConnection,
    filter: &Filter<'_>,
    page: Page,
) -> Result<Vec<Agent>> {
    Ok(sqlx::query_as(
        "SELECT id, number, name, handle, description, niche, audience_type, website_url, tier, created_at
           FROM agents
          WHERE deleted_at IS NULL
            AND ($1::TEXT IS NULL OR niche = $1)
            AND ($2::TEXT IS NULL OR audience_type = $2)
            AND (created_at, id) < ($5, $6)
          ORDER BY created_at DESC, id DESC
          LIMIT $3 OFFSET $4",
    )
    .bind(filter.niche)
    .bind(filter.audience_type)
    .bind(page.limit_and_one())
    .bind(page.offset())
    .bind(page.below_instant().0)
    .bind(page.below_instant().1)
    .fetch_all(conn)
    .await?)
}

/// How many agents a filter lets through, counted as far as pages reach.
pub(crate) async fn count_agents(conn: &mut PgConnection, filter: &Filter<'_>) -> Result<i64> {
    Ok(sqlx::query_scalar(
        "SELECT count(*)
           FROM (SELECT
                   FROM agents
                  WHERE deleted_at IS NULL
                    AND ($1::TEXT IS NULL OR niche = $1)
                    AND ($2::TEXT IS NULL OR audience_type = $2)
                  LIMIT $3) AS counted",
    )
    .bind(filter.niche)
    .bind(filter.audience_type)
    .bind(REACH_MAX)
    .fetch_one(conn)
    .await?)
}

/// Marks an agent deleted and forgets what it said of itself; its row stays for what refers to it.
pub(crate) async fn delete_agent(conn: &mut PgConnection, id: AgentId, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "UPDATE agents
            SET name = 'Deleted agent', handle = 'deleted-' || id, description = NULL, niche = NULL,
                audience_type = NULL, website_url = NULL, deleted_at = $2, updated_at = $2
          WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}
