//! SQL of subscriptions.

use super::model::{Period, Source, Subscription, Wish};
use crate::error::{Error, Result};
use crate::features::ledger::model::CURRENCY;
use crate::features::usage::model::Tier;
use crate::money::Micros;
use chrono::{DateTime, Utc};
use shared::id::{AgentId, SubscriptionId};
use sqlx::PgConnection;

macro_rules! subscriptions {
    ($head:literal, $tail:literal) => {
        concat!(
            $head,
            " id, agent_id, source, status, price_micros, anchor_at, periods, current_period_start,
              current_period_end, cancel_at_period_end, grace_until, retry_at, provider_ref, checkout_ref,
              checkout_url, checkout_at, provider_wish, provider_wish_at, created_at, ended_at ",
            $tail
        )
    };
}

/// Starts a subscription; `None` when the agent has one.
pub(crate) async fn insert_subscription(
    conn: &mut PgConnection,
    agent: AgentId,
    source: Source,
    price: Micros,
    now: DateTime<Utc>,
) -> Result<Option<Subscription>> {
    Ok(sqlx::query_as(subscriptions!(
        "INSERT INTO subscriptions (id, agent_id, source, status, price_micros, currency, created_at, updated_at)
         VALUES ($1, $2, $3, 'pending', $4, $5, $6, $6)
         ON CONFLICT (agent_id) WHERE status <> 'canceled' DO NOTHING
         RETURNING",
        ""
    ))
    .bind(SubscriptionId::generate())
    .bind(agent)
    .bind(source.as_str())
    .bind(price)
    .bind(CURRENCY)
    .bind(now)
    .fetch_optional(conn)
    .await?)
}

/// The agent's subscription, or its last one.
pub(crate) async fn find_latest(conn: &mut PgConnection, agent: AgentId) -> Result<Option<Subscription>> {
    Ok(sqlx::query_as(subscriptions!(
        "SELECT",
        "FROM subscriptions
        WHERE agent_id = $1
        ORDER BY status = 'canceled', created_at DESC, id DESC
        LIMIT 1"
    ))
    .bind(agent)
    .fetch_optional(conn)
    .await?)
}

/// The agent's live subscription, locked.
pub(crate) async fn lock_live(conn: &mut PgConnection, agent: AgentId) -> Result<Option<Subscription>> {
    Ok(sqlx::query_as(subscriptions!(
        "SELECT",
        "FROM subscriptions
        WHERE agent_id = $1 AND status <> 'canceled'
          FOR UPDATE"
    ))
    .bind(agent)
    .fetch_optional(conn)
    .await?)
}

/// A subscription, locked.
pub(crate) async fn lock_subscription(
    conn: &mut PgConnection,
    id: SubscriptionId,
) -> Result<Option<Subscription>> {
    Ok(sqlx::query_as(subscriptions!(
        "SELECT",
        "FROM subscriptions
        WHERE id = $1
          FOR NO KEY UPDATE"
    ))
    .bind(id)
    .fetch_optional(conn)
    .await?)
}

/// Whether there is such a subscription and a provider charges for it.
pub(crate) async fn is_by_card(conn: &mut PgConnection, id: SubscriptionId) -> Result<bool> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT FROM subscriptions WHERE id = $1 AND source = 'stripe')")
        .bind(id)
        .fetch_one(conn)
        .await?)
}

/// One subscription by card that is ours to end, locked: its grace is over or its owner gone.
pub(crate) async fn lock_lapsed(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Option<Subscription>> {
    Ok(sqlx::query_as(subscriptions!(
        "SELECT",
        "FROM subscriptions
        WHERE source = 'stripe' AND status <> 'canceled'
          AND (grace_until <= $1
               OR EXISTS (SELECT FROM agents WHERE agents.id = agent_id AND agents.deleted_at IS NOT NULL))
        ORDER BY subscriptions.id
        LIMIT 1
          FOR NO KEY UPDATE SKIP LOCKED"
    ))
    .bind(now)
    .fetch_optional(conn)
    .await?)
}

/// A page to pay on is being asked for.
pub(crate) async fn save_checkout_at(
    conn: &mut PgConnection,
    id: SubscriptionId,
    now: DateTime<Utc>,
) -> Result<()> {
    let updated = sqlx::query(
        "UPDATE subscriptions
            SET checkout_at = $2, checkout_ref = NULL, checkout_url = NULL, updated_at = $2
          WHERE id = $1",
    )
    .bind(id)
    .bind(now)
    .execute(conn)
    .await?;
    one(updated.rows_affected())
}

/// The page to pay on.
pub(crate) async fn save_checkout(
    conn: &mut PgConnection,
    id: SubscriptionId,
    checkout_ref: &str,
    checkout_url: Option<&str>,
    now: DateTime<Utc>,
) -> Result<()> {
    let updated = sqlx::query(
        "UPDATE subscriptions
            SET checkout_ref = $2, checkout_url = $3, updated_at = $4
          WHERE id = $1",
    )
    .bind(id)
    .bind(checkout_ref)
    .bind(checkout_url)
    .bind(now)
    .execute(conn)
    .await?;
    one(updated.rows_affected())
}

/// The provider's name of it.
pub(crate) async fn save_provider_ref(
    conn: &mut PgConnection,
    id: SubscriptionId,
    provider_ref: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let updated = sqlx::query("UPDATE subscriptions SET provider_ref = $2, updated_at = $3 WHERE id = $1")
        .bind(id)
        .bind(provider_ref)
        .bind(now)
        .execute(conn)
        .await?;
    one(updated.rows_affected())
}

/// What the provider has to be told, in place of whatever it had to be told before.
pub(crate) async fn save_wish(
    conn: &mut PgConnection,
    id: SubscriptionId,
    wish: Wish,
    now: DateTime<Utc>,
) -> Result<()> {
    let updated = sqlx::query(
        "UPDATE subscriptions
            SET provider_wish = $2, provider_wish_at = $3, provider_try_at = $3, updated_at = $3
          WHERE id = $1",
    )
    .bind(id)
    .bind(wish.as_str())
    .bind(now)
    .execute(conn)
    .await?;
    one(updated.rows_affected())
}

/// Takes a subscription of which the provider has to be told something; nobody else takes it until `until`.
pub(crate) async fn take_wish(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Option<Subscription>> {
    Ok(sqlx::query_as(subscriptions!(
        "UPDATE subscriptions
            SET provider_try_at = $2
          WHERE id = (SELECT id
                        FROM subscriptions
                       WHERE provider_wish IS NOT NULL AND provider_try_at <= $1
                       ORDER BY provider_try_at
                       LIMIT 1
                         FOR NO KEY UPDATE SKIP LOCKED)
        RETURNING",
        ""
    ))
    .bind(now)
    .bind(until)
    .fetch_optional(conn)
    .await?)
}

/// The provider was told this; a wish that has come since stays.
pub(crate) async fn clear_wish(
    conn: &mut PgConnection,
    id: SubscriptionId,
    since: Option<DateTime<Utc>>,
) -> Result<()> {
    sqlx::query(
        "UPDATE subscriptions
            SET provider_wish = NULL, provider_wish_at = NULL, provider_try_at = NULL
          WHERE id = $1 AND provider_wish_at IS NOT DISTINCT FROM $2",
    )
    .bind(id)
    .bind(since)
    .execute(conn)
    .await?;
    Ok(())
}

/// One subscription whose month is over, locked; those another worker has are passed over.
pub(crate) async fn lock_due(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Option<Subscription>> {
    Ok(sqlx::query_as(subscriptions!(
        "SELECT",
        "FROM subscriptions
        WHERE status IN ('active', 'past_due') AND source <> 'stripe' AND coalesce(retry_at, current_period_end) <= $1
        ORDER BY coalesce(retry_at, current_period_end)
        LIMIT 1
          FOR UPDATE SKIP LOCKED"
    ))
    .bind(now)
    .fetch_optional(conn)
    .await?)
}

/// Whether the account was deleted.
pub(crate) async fn is_deleted(conn: &mut PgConnection, agent: AgentId) -> Result<bool> {
    Ok(sqlx::query_scalar("SELECT deleted_at IS NOT NULL FROM agents WHERE id = $1")
        .bind(agent)
        .fetch_one(conn)
        .await?)
}

/// A month was paid.
pub(crate) async fn save_period(
    conn: &mut PgConnection,
    id: SubscriptionId,
    anchor: DateTime<Utc>,
    period: Period,
    now: DateTime<Utc>,
) -> Result<()> {
    let updated = sqlx::query(
        "UPDATE subscriptions
            SET status = 'active', anchor_at = $2, periods = $3, current_period_start = $4, current_period_end = $5,
                grace_until = NULL, retry_at = NULL, updated_at = $6
          WHERE id = $1",
    )
    .bind(id)
    .bind(anchor)
    .bind(period.number)
    .bind(period.start)
    .bind(period.end)
    .bind(now)
    .execute(conn)
    .await?;
    one(updated.rows_affected())
}

/// A month could not be paid.
pub(crate) async fn save_past_due(
    conn: &mut PgConnection,
    id: SubscriptionId,
    grace_until: DateTime<Utc>,
    retry_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<()> {
    let updated = sqlx::query(
        "UPDATE subscriptions
            SET status = 'past_due', grace_until = $2, retry_at = $3, updated_at = $4
          WHERE id = $1",
    )
    .bind(id)
    .bind(grace_until)
    .bind(retry_at)
    .bind(now)
    .execute(conn)
    .await?;
    one(updated.rows_affected())
}

pub(crate) async fn save_canceled(
    conn: &mut PgConnection,
    id: SubscriptionId,
    now: DateTime<Utc>,
) -> Result<()> {
    let updated = sqlx::query(
        "UPDATE subscriptions
            SET status = 'canceled', grace_until = NULL, retry_at = NULL, ended_at = $2, updated_at = $2
          WHERE id = $1",
    )
    .bind(id)
    .bind(now)
    .execute(conn)
    .await?;
    one(updated.rows_affected())
}

pub(crate) async fn save_cancel_at_period_end(
    conn: &mut PgConnection,
    id: SubscriptionId,
    cancel: bool,
    now: DateTime<Utc>,
) -> Result<()> {
    let updated =
        sqlx::query("UPDATE subscriptions SET cancel_at_period_end = $2, updated_at = $3 WHERE id = $1")
            .bind(id)
            .bind(cancel)
            .bind(now)
            .execute(conn)
            .await?;
    one(updated.rows_affected())
}

/// Puts an agent on a plan.
pub(crate) async fn save_tier(
    conn: &mut PgConnection,
    agent: AgentId,
    tier: Tier,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query("UPDATE agents SET tier = $2, updated_at = $3 WHERE id = $1 AND tier <> $2")
        .bind(agent)
        .bind(tier.as_str())
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

fn one(rows: u64) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(Error::bug(anyhow::anyhow!("{rows} subscriptions updated"))) }
}
