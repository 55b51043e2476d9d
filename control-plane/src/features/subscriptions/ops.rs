//! Steps on subscriptions. The caller owns the transaction.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, clippy::as_conversions)]

use super::model::{self, PRICE, Period, Source, Status, Subscription, Wish};
use super::{months, queries};
use crate::error::{Code, Error, Result};
use crate::features::ledger::model::{Account, AccountKind, Posted, Posting, TransferKind};
use crate::features::ledger::ops as ledger;
use crate::features::usage::model::Tier;
use chrono::{DateTime, Utc};
use shared::Clock;
use shared::id::AgentId;
use sqlx::PgConnection;

/// What starting Pro led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started {
    /// A new subscription.
    New(Subscription),
    /// A cancelled one that was still running goes on.
    Resumed(Subscription),
}

/// Starts Pro and pays its first month at once, from the sandbox or the wallet.
pub async fn start(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    agent: AgentId,
    source: Source,
) -> Result<Started> {
    let now = clock.now();
    if let Some(live) = queries::lock_live(conn, agent).await?
        && !months::put_aside(conn, clock, &live).await?
    {
        return resume(conn, &live, now).await.map(Started::Resumed);
    }
    // Another call may have started one since: then it is active, and this one is told so.
    let new =
        queries::insert_subscription(conn, agent, source, PRICE, now).await?.ok_or_else(already_active)?;
    let first = model::period(now, 1);
    if !pay(conn, &new, first, now).await? {
        let balance = ledger::balance(conn, Account::wallet(agent)).await?;
        return Err(not_covered(balance).lacking(PRICE.minus(balance).map_err(Error::bug)?));
    }
    begin(conn, &new, now, first, now).await?;
    Ok(Started::New(load(conn, agent).await?))
}

pub(super) fn already_active() -> Error {
    Error::new(
        Code::AlreadyActive,
        "Pro is already active.",
        "Nothing is left to do: GET /api/subscription shows it.",
    )
}

fn not_covered(balance: crate::money::Micros) -> Error {
    Error::new(
        Code::InsufficientCredits,
        format!("A month of Pro costs ${PRICE}; the wallet holds ${balance}."),
        "Add money with POST /api/wallet/topup, or leave `payment` out and pay through the payment provider.",
    )
    .with("price", PRICE.to_json())
    .with("balance", balance.to_json())
}

/// A subscription that was to end goes on.
pub(super) async fn resume(
    conn: &mut PgConnection,
    live: &Subscription,
    now: DateTime<Utc>,
) -> Result<Subscription> {
    if !live.cancel_at_period_end {
        return Err(already_active());
    }
    queries::save_cancel_at_period_end(conn, live.id, false, now).await?;
    if live.source == Source::Stripe {
        queries::save_wish(conn, live.id, Wish::Resume, now).await?;
    }
    load(conn, live.agent_id).await
}

/// Moves the price of one month, once; `false` when the wallet cannot cover it.
pub(super) async fn pay(
    conn: &mut PgConnection,
    subscription: &Subscription,
    period: Period,
    now: DateTime<Utc>,
) -> Result<bool> {
    let posting = Posting {
        debit: Account::of(subscription.agent_id, subscription.source.account()),
        credit: Account::of(subscription.agent_id, AccountKind::Pro),
        amount: subscription.price_micros,
        kind: TransferKind::Pro,
        reference: format!("{}:{}", subscription.id, period.number),
        metered: None,
    };
    Ok(!matches!(ledger::post(conn, now, &posting).await?, Posted::Short(_)))
}

/// A month was paid: Pro is on.
pub(super) async fn begin(
    conn: &mut PgConnection,
    subscription: &Subscription,
    anchor: DateTime<Utc>,
    period: Period,
    now: DateTime<Utc>,
) -> Result<()> {
    queries::save_period(conn, subscription.id, anchor, period, now).await?;
    queries::save_tier(conn, subscription.agent_id, Tier::Pro, now).await
}

/// The subscription is over: Pro is off.
pub(super) async fn end(
    conn: &mut PgConnection,
    subscription: &Subscription,
    now: DateTime<Utc>,
) -> Result<()> {
    queries::save_canceled(conn, subscription.id, now).await?;
    queries::save_tier(conn, subscription.agent_id, Tier::Free, now).await
}

/// The agent's subscription, or its last one.
pub async fn find(conn: &mut PgConnection, agent: AgentId) -> Result<Option<Subscription>> {
    queries::find_latest(conn, agent).await
}

pub(super) async fn load(conn: &mut PgConnection, agent: AgentId) -> Result<Subscription> {
    find(conn, agent).await?.ok_or_else(not_found)
}

fn not_found() -> Error {
    Error::not_found("subscription", "Start Pro with POST /api/subscription/pro.")
}

/// Cancels: at the end of what was paid, or at once when nothing was. Twice is once.
pub async fn cancel(conn: &mut PgConnection, clock: &dyn Clock, agent: AgentId) -> Result<Subscription> {
    let now = clock.now();
    let live = queries::lock_live(conn, agent).await?.ok_or_else(not_found)?;
    let wish = match live.status {
        Status::Active => {
            queries::save_cancel_at_period_end(conn, live.id, true, now).await?;
            Wish::CancelAtPeriodEnd
        }
        Status::PastDue => {
            end(conn, &live, now).await?;
            Wish::Cancel
        }
        Status::Pending => {
            end(conn, &live, now).await?;
            Wish::ExpireCheckout
        }
        Status::Canceled => return load(conn, agent).await,
    };
    if live.source == Source::Stripe {
        queries::save_wish(conn, live.id, wish, now).await?;
    }
    load(conn, agent).await
}
