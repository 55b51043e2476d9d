//! Subscriptions that a provider charges: what its word makes of them, and what it has to be told.
//! The caller owns the transaction.
//!
//! What we want of the provider is a wish on the row, written with our own change: it is carried out
//! after the commit and until it has worked, so a provider that is away delays nothing of ours.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, clippy::as_conversions)]

use super::model::{CardMonths, CardState, PRICE, Source, Status, Subscription, Wish};
use super::ops::{self, Started};
use super::queries;
use crate::app::App;
use crate::error::{Error, Result};
use crate::features::ledger::model::{Account, AccountKind, Posted, Posting, TransferKind};
use crate::features::ledger::ops as ledger;
use crate::money::Micros;
use crate::workers::jobs::Turn;
use chrono::{DateTime, TimeDelta, Utc};
use shared::Clock;
use shared::id::{AgentId, SubscriptionId};
use sqlx::PgConnection;

/// A page to pay on is replaced after this; the provider's lives for a day.
const CHECKOUT_FOR: TimeDelta = TimeDelta::hours(23);

/// The subscription behind an id that a provider sent back, locked.
pub async fn lock(conn: &mut PgConnection, id: SubscriptionId) -> Result<Option<Subscription>> {
    queries::lock_subscription(conn, id).await
}

/// Whether a provider charges for it.
pub async fn is_by_card(conn: &mut PgConnection, id: SubscriptionId) -> Result<bool> {
    queries::is_by_card(conn, id).await
}

/// Starts Pro by card, finds the start that still waits for its payment, or lets a cancelled one go on. A
/// subscription that comes back without `checkout_url` needs a page to pay on, named by its `checkout_at`.
pub async fn open(conn: &mut PgConnection, clock: &dyn Clock, agent: AgentId) -> Result<Started> {
    let now = clock.now();
    if let Some(live) = queries::lock_live(conn, agent).await? {
        if live.status != Status::Pending || live.source != Source::Stripe {
            return ops::resume(conn, &live, now).await.map(Started::Resumed);
        }
        let stale = live.checkout_at.is_none_or(|at| now.signed_duration_since(at) > CHECKOUT_FOR);
        if stale {
            queries::save_checkout_at(conn, live.id, now).await?;
        }
        return Ok(Started::New(ops::load(conn, agent).await?));
    }
    let new = queries::insert_subscription(conn, agent, Source::Stripe, PRICE, now).await?;
    let new = new.ok_or_else(ops::already_active)?;
    queries::save_checkout_at(conn, new.id, now).await?;
    Ok(Started::New(ops::load(conn, agent).await?))
}

/// Remembers where it is paid.
pub async fn bind_checkout(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    subscription: &Subscription,
    checkout_ref: &str,
    checkout_url: Option<&str>,
) -> Result<Subscription> {
    queries::save_checkout(conn, subscription.id, checkout_ref, checkout_url, clock.now()).await?;
    ops::load(conn, subscription.agent_id).await
}

/// Its page to pay on came to nothing: it is over unless it was paid.
pub async fn never_paid(conn: &mut PgConnection, clock: &dyn Clock, kept: &Subscription) -> Result<()> {
    if kept.status == Status::Pending { ops::end(conn, kept, clock.now()).await } else { Ok(()) }
}

/// Makes room for another way to pay: ends a start by card that waits for its payment. Says whether it did.
pub(super) async fn put_aside(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    live: &Subscription,
) -> Result<bool> {
    if live.status != Status::Pending {
        return Ok(false);
    }
    ops::end(conn, live, clock.now()).await?;
    if live.source == Source::Stripe {
        queries::save_wish(conn, live.id, Wish::ExpireCheckout, clock.now()).await?;
    }
    Ok(true)
}

/// A month's payment came in: the ledger has it, once for each invoice.
pub async fn book(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    subscription: &Subscription,
    invoice: &str,
    amount: Micros,
) -> Result<()> {
    let posting = Posting {
        debit: Account::of(subscription.agent_id, subscription.source.account()),
        credit: Account::of(subscription.agent_id, AccountKind::Pro),
        amount,
        kind: TransferKind::Pro,
        reference: format!("{}:{invoice}", subscription.id),
        metered: None,
    };
    ledger::post(conn, clock.now(), &posting).await.map(drop)
}

/// Money of a month went back, or came again where the change is negative: the ledger has it, once for each name.
pub async fn give_back(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    subscription: &Subscription,
    name: &str,
    change: Micros,
) -> Result<()> {
    let source = Account::of(subscription.agent_id, subscription.source.account());
    let pro = Account::of(subscription.agent_id, AccountKind::Pro);
    let (debit, credit, amount, kind) = if change > Micros::ZERO {
        (pro, source, change, TransferKind::ProRefund)
    } else {
        (source, pro, Micros::ZERO.minus(change).map_err(Error::bug)?, TransferKind::ProReinstated)
    };
    let reference = format!("{}:{name}", subscription.id);
    let posting = Posting { debit, credit, amount, kind, reference, metered: None };
    match ledger::post(conn, clock.now(), &posting).await? {
        Posted::Done(_) => Ok(()),
        other => Err(Error::bug(anyhow::anyhow!("a month was not given back as computed: {other:?}"))),
    }
}

/// Makes a subscription what its months by card have come to. The caller holds it.
pub async fn arrange(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    kept: &Subscription,
    card: &CardMonths,
    provider_ref: Option<&str>,
) -> Result<()> {
    let now = clock.now();
    if let Some(provider_ref) = provider_ref.filter(|name| kept.provider_ref.as_deref() != Some(name)) {
        queries::save_provider_ref(conn, kept.id, provider_ref, now).await?;
    }
    let state = card.state(now);
    if kept.status == Status::Canceled {
        return after_the_end(conn, kept, state, now).await;
    }
    match state {
        CardState::Unpaid => return Ok(()),
        CardState::Over { by_us } => {
            if by_us {
                queries::save_wish(conn, kept.id, Wish::Cancel, now).await?;
            }
            return ops::end(conn, kept, now).await;
        }
        CardState::Paid(anchor, period) => ops::begin(conn, kept, anchor, period, now).await?,
        CardState::Owing(anchor, period, until) => {
            ops::begin(conn, kept, anchor, period, now).await?;
            queries::save_past_due(conn, kept.id, until, until, now).await?;
        }
    }
    // What we want is newer than what we hear, until it has been said.
    if kept.provider_wish.is_none() && kept.cancel_at_period_end != card.cancel_at_period_end {
        queries::save_cancel_at_period_end(conn, kept.id, card.cancel_at_period_end, now).await?;
    }
    Ok(())
}

/// What is over stays over: a subscription that is paid all the same is ended at the provider, and
/// somebody is told, since there is money to give back.
async fn after_the_end(
    conn: &mut PgConnection,
    kept: &Subscription,
    state: CardState,
    now: DateTime<Utc>,
) -> Result<()> {
    let (CardState::Paid(_, period) | CardState::Owing(_, period, _)) = state else { return Ok(()) };
    // A page that is to be closed may have been paid before.
    let told = kept.provider_wish.as_deref() == Some(Wish::Cancel.as_str());
    if kept.ended_at.is_some_and(|ended| period.end > ended) && !told {
        if kept.periods < period.number {
            tracing::error!(subscription.id = %kept.id, "a month was paid of a subscription that is over");
            metrics::counter!("cp_payment_surprises_total").increment(1);
        }
        queries::save_wish(conn, kept.id, Wish::Cancel, now).await?;
    }
    Ok(())
}

/// Ends one subscription by card whose grace is over or whose owner is gone; `None` when there is none.
pub async fn lapse_next(conn: &mut PgConnection, clock: &dyn Clock) -> Result<Option<SubscriptionId>> {
    let now = clock.now();
    let Some(lapsed) = queries::lock_lapsed(conn, now).await? else { return Ok(None) };
    let wish = if lapsed.status == Status::Pending { Wish::ExpireCheckout } else { Wish::Cancel };
    ops::end(conn, &lapsed, now).await?;
    queries::save_wish(conn, lapsed.id, wish, now).await?;
    Ok(Some(lapsed.id))
}

/// The job: one subscription a turn.
pub async fn lapse_job(app: App) -> Result<Turn> {
    let mut tx = app.db_worker().begin().await?;
    let lapsed = lapse_next(&mut tx, app.clock()).await?;
    tx.commit().await?;
    Ok(if lapsed.is_some() { Turn::Again } else { Turn::Idle })
}

/// Takes a subscription of which the provider has to be told something, for as long as `lease`.
pub async fn take_wish(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    lease: TimeDelta,
) -> Result<Option<(Subscription, Wish)>> {
    let now = clock.now();
    let until = now.checked_add_signed(lease).unwrap_or(now);
    let Some(taken) = queries::take_wish(conn, now, until).await? else { return Ok(None) };
    let wish = taken.provider_wish.as_deref().and_then(Wish::parse);
    let wish = wish.ok_or_else(|| Error::bug(anyhow::anyhow!("unknown wish of {}", taken.id)))?;
    Ok(Some((taken, wish)))
}

/// The provider was told.
pub async fn wish_done(conn: &mut PgConnection, told: &Subscription) -> Result<()> {
    queries::clear_wish(conn, told.id, told.provider_wish_at).await
}
