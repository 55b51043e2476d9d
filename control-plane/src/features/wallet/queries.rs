//! SQL of wallets.

use super::model::{Provider, Settings, Topup};
use crate::error::{Error, Result};
use crate::features::ledger::model::CURRENCY;
use crate::money::Micros;
use chrono::{DateTime, Utc};
use shared::id::{AgentId, TopupId};
use sqlx::PgConnection;

/// What starting a payment stores.
pub(crate) struct NewTopup<'a> {
    pub(crate) agent: AgentId,
    pub(crate) provider: Provider,
    pub(crate) amount: Micros,
    pub(crate) status: &'static str,
    pub(crate) automatic: bool,
    /// Names the request, so that it finds this row when it is sent again.
    pub(crate) request: Option<&'a str>,
    /// The payment's name at the provider, when it has one from the start.
    pub(crate) provider_ref: Option<&'a str>,
}

macro_rules! topups {
    ($head:literal, $tail:literal) => {
        concat!(
            $head,
            " id, agent_id, provider, amount_micros, refunded_micros, status, provider_ref, checkout_url,
              automatic, adjustments, created_at, updated_at ",
            $tail
        )
    };
}

/// Starts a payment; `None` when one of this request or this name at the provider exists.
pub(crate) async fn insert_topup(
    conn: &mut PgConnection,
    new: &NewTopup<'_>,
    now: DateTime<Utc>,
) -> Result<Option<Topup>> {
    Ok(sqlx::query_as(topups!(
        "INSERT INTO topups (id, agent_id, provider, amount_micros, currency, status, automatic, request_key,
                             provider_ref, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
         ON CONFLICT DO NOTHING
         RETURNING",
        ""
    ))
    .bind(TopupId::generate())
    .bind(new.agent)
    .bind(new.provider.as_str())
    .bind(new.amount)
    .bind(CURRENCY)
    .bind(new.status)
    .bind(new.automatic)
    .bind(new.request)
    .bind(new.provider_ref)
    .bind(now)
    .fetch_optional(conn)
    .await?)
}

pub(crate) async fn find_topup(
    conn: &mut PgConnection,
    agent: AgentId,
    id: TopupId,
) -> Result<Option<Topup>> {
    Ok(sqlx::query_as(topups!(
        "SELECT",
        "FROM topups
        WHERE id = $1 AND agent_id = $2"
    ))
    .bind(id)
    .bind(agent)
    .fetch_optional(conn)
    .await?)
}

/// The payment a request started.
pub(crate) async fn find_topup_of_request(
    conn: &mut PgConnection,
    agent: AgentId,
    request: &str,
) -> Result<Option<Topup>> {
    Ok(sqlx::query_as(topups!(
        "SELECT",
        "FROM topups
        WHERE agent_id = $1 AND request_key = $2"
    ))
    .bind(agent)
    .bind(request)
    .fetch_optional(conn)
    .await?)
}

/// Lets a request's name go that nobody can mean any more.
pub(crate) async fn release_request(
    conn: &mut PgConnection,
    agent: AgentId,
    request: &str,
    before: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "UPDATE topups
            SET request_key = NULL
          WHERE agent_id = $1 AND request_key = $2 AND created_at <= $3",
    )
    .bind(agent)
    .bind(request)
    .bind(before)
    .execute(conn)
    .await?;
    Ok(())
}

/// A payment, locked, whoever it belongs to: for what its provider says of it.
pub(crate) async fn lock_topup(conn: &mut PgConnection, id: TopupId) -> Result<Option<Topup>> {
    Ok(sqlx::query_as(topups!(
        "SELECT",
        "FROM topups
        WHERE id = $1
          FOR NO KEY UPDATE"
    ))
    .bind(id)
    .fetch_optional(conn)
    .await?)
}

/// The payment of this name at its provider, locked.
pub(crate) async fn lock_topup_by_ref(
    conn: &mut PgConnection,
    provider: Provider,
    provider_ref: &str,
) -> Result<Option<Topup>> {
    Ok(sqlx::query_as(topups!(
        "SELECT",
        "FROM topups
        WHERE provider = $1 AND provider_ref = $2
          FOR NO KEY UPDATE"
    ))
    .bind(provider.as_str())
    .bind(provider_ref)
    .fetch_optional(conn)
    .await?)
}

/// Payments of a provider that have been pending since before `before`, oldest first.
pub(crate) async fn list_pending(
    conn: &mut PgConnection,
    provider: Provider,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Topup>> {
    Ok(sqlx::query_as(topups!(
        "SELECT",
        "FROM topups
        WHERE status = 'pending' AND provider = $1 AND updated_at <= $2
        ORDER BY updated_at
        LIMIT $3"
    ))
    .bind(provider.as_str())
    .bind(before)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

/// What the provider calls it and where to pay.
pub(crate) async fn save_checkout(
    conn: &mut PgConnection,
    id: TopupId,
    provider_ref: &str,
    checkout_url: Option<&str>,
    now: DateTime<Utc>,
) -> Result<()> {
    let updated = sqlx::query(
        "UPDATE topups
            SET provider_ref = $2, checkout_url = coalesce($3, checkout_url), updated_at = $4
          WHERE id = $1",
    )
    .bind(id)
    .bind(provider_ref)
    .bind(checkout_url)
    .bind(now)
    .execute(conn)
    .await?;
    one(updated.rows_affected())
}

/// How it stands now.
pub(crate) async fn save_topup_status(
    conn: &mut PgConnection,
    id: TopupId,
    status: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let updated = sqlx::query("UPDATE topups SET status = $2, updated_at = $3 WHERE id = $1")
        .bind(id)
        .bind(status)
        .bind(now)
        .execute(conn)
        .await?;
    one(updated.rows_affected())
}

/// How much of it is back with the payer; one adjustment more.
pub(crate) async fn save_refunded(
    conn: &mut PgConnection,
    id: TopupId,
    refunded: Micros,
    now: DateTime<Utc>,
) -> Result<()> {
    let updated = sqlx::query(
        "UPDATE topups
            SET refunded_micros = $2, adjustments = adjustments + 1, updated_at = $3
          WHERE id = $1",
    )
    .bind(id)
    .bind(refunded)
    .bind(now)
    .execute(conn)
    .await?;
    one(updated.rows_affected())
}

/// Locks what an agent owes: whoever changes it holds this. Taken before any account of the ledger.
pub(crate) async fn lock_debts(conn: &mut PgConnection, agent: AgentId, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "INSERT INTO wallets (agent_id, updated_at)
         VALUES ($1, $2)
         ON CONFLICT (agent_id) DO UPDATE SET updated_at = wallets.updated_at",
    )
    .bind(agent)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// An agent that owes and has money, its debts locked; those another worker has are passed over.
pub(crate) async fn lock_debtor(conn: &mut PgConnection) -> Result<Option<AgentId>> {
    Ok(sqlx::query_scalar(
        "SELECT wallets.agent_id
           FROM ledger_accounts AS arrears
           JOIN ledger_accounts AS wallet
             ON wallet.owner_id = arrears.owner_id AND wallet.kind = 'wallet' AND wallet.currency = arrears.currency
           JOIN wallets ON wallets.agent_id = arrears.owner_id
          WHERE arrears.kind = 'arrears' AND arrears.currency = $1 AND arrears.balance_micros < 0
            AND wallet.balance_micros > 0
          ORDER BY wallets.agent_id
          LIMIT 1
            FOR UPDATE OF wallets SKIP LOCKED",
    )
    .bind(CURRENCY)
    .fetch_optional(conn)
    .await?)
}

fn one(rows: u64) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(Error::bug(anyhow::anyhow!("{rows} top-ups updated"))) }
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
