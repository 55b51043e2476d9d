//! SQL of wallets.

use super::model::{Provider, Settings, Topup};
use crate::error::Result;
use crate::features::ledger::model::CURRENCY;
use crate::money::Micros;
use chrono::{DateTime, Utc};
use shared::id::{AgentId, TopupId};
use sqlx::PgConnection;

/// What starting a payment stores.
pub(crate) struct NewTopup {
    pub(crate) agent: AgentId,
    pub(crate) provider: Provider,
    pub(crate) amount: Micros,
    pub(crate) status: &'static str,
    pub(crate) automatic: bool,
}

pub(crate) async fn insert_topup(
    conn: &mut PgConnection,
    new: &NewTopup,
    now: DateTime<Utc>,
) -> Result<Topup> {
    Ok(sqlx::query_as(
        "INSERT INTO topups (id, agent_id, provider, amount_micros, currency, status, automatic, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
         RETURNING id, agent_id, provider, amount_micros, refunded_micros, status, provider_ref, checkout_url,
                   automatic, created_at, updated_at",
    )
    .bind(TopupId::generate())
    .bind(new.agent)
    .bind(new.provider.as_str())
    .bind(new.amount)
    .bind(CURRENCY)
    .bind(new.status)
    .bind(new.automatic)
    .bind(now)
    .fetch_one(conn)
    .await?)
}

pub(crate) async fn find_topup(
    conn: &mut PgConnection,
    agent: AgentId,
    id: TopupId,
) -> Result<Option<Topup>> {
    Ok(sqlx::query_as(
        "SELECT id, agent_id, provider, amount_micros, refunded_micros, status, provider_ref, checkout_url,
                automatic, created_at, updated_at
           FROM topups
          WHERE id = $1 AND agent_id = $2",
    )
    .bind(id)
    .bind(agent)
    .fetch_optional(conn)
    .await?)
}

pub(crate) async fn find_settings(conn: &mut PgConnection, agent: AgentId) -> Result<Option<Settings>> {
    Ok(sqlx::query_as(
        "SELECT auto_topup_threshold_micros, auto_topup_amount_micros
           FROM wallets
          WHERE agent_id = $1",
    )
    .bind(agent)
    .fetch_optional(conn)
    .await?)
}

pub(crate) async fn save_settings(
    conn: &mut PgConnection,
    agent: AgentId,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO wallets (agent_id, auto_topup_threshold_micros, auto_topup_amount_micros, updated_at)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (agent_id) DO UPDATE
            SET auto_topup_threshold_micros = EXCLUDED.auto_topup_threshold_micros,
                auto_topup_amount_micros = EXCLUDED.auto_topup_amount_micros,
                updated_at = EXCLUDED.updated_at",
    )
    .bind(agent)
    .bind(settings.auto_topup_threshold_micros)
    .bind(settings.auto_topup_amount_micros)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// A wallet to be topped up by itself.
#[derive(sqlx::FromRow)]
pub(crate) struct Due {
    pub(crate) agent_id: AgentId,
    #[sqlx(rename = "auto_topup_amount_micros")]
    pub(crate) amount: Micros,
}

/// One wallet below its threshold, its settings locked; those another worker has are passed over.
pub(crate) async fn lock_below_threshold(conn: &mut PgConnection) -> Result<Option<Due>> {
    Ok(sqlx::query_as(
        "SELECT wallets.agent_id, wallets.auto_topup_amount_micros
           FROM wallets
           JOIN agents ON agents.id = wallets.agent_id
           LEFT JOIN ledger_accounts AS account
             ON account.owner_id = wallets.agent_id AND account.kind = 'wallet' AND account.currency = $1
          WHERE coalesce(account.balance_micros, 0) < wallets.auto_topup_threshold_micros
            AND agents.deleted_at IS NULL
          ORDER BY wallets.agent_id
          LIMIT 1
            FOR UPDATE OF wallets SKIP LOCKED",
    )
    .bind(CURRENCY)
    .fetch_optional(conn)
    .await?)
}
