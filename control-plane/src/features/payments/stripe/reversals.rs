//! Money that goes back: refunds and disputes of top-ups and of Pro's months.
//!
//! Each is taken down first and carried out when it is known whose payment it was, which may be later.

use super::apply::Outcome;
use super::model::Kind;
use super::queries;
use crate::error::{Error, Result};
use crate::features::subscriptions::months as subscriptions;
use crate::features::wallet::payments as wallet;
use crate::money::Micros;
use crate::stripe::event::{Charge, Reversal};
use shared::Clock;
use shared::id::TopupId;
use sqlx::PgConnection;

/// A charge says how much of it was refunded.
pub(super) async fn charge(conn: &mut PgConnection, clock: &dyn Clock, charge: &Charge) -> Result<Outcome> {
    let topup = ours(conn, charge.ours.as_deref()).await?;
    queries::save_payment(conn, &charge.payment, topup, charge.refunded, clock.now()).await?;
    settle(conn, clock, &charge.payment).await
}

/// A refund or a dispute says how it stands.
pub(super) async fn reversal(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    kind: Kind,
    reversal: &Reversal,
) -> Result<Outcome> {
    let now = clock.now();
    let topup = ours(conn, reversal.ours.as_deref()).await?;
    queries::save_payment(conn, &reversal.payment, topup, Micros::ZERO, now).await?;
    queries::save_reversal(conn, kind, reversal, now).await?;
    settle(conn, clock, &reversal.payment).await
}

/// Ours, if the id that came along is one of a top-up.
async fn ours(conn: &mut PgConnection, id: Option<&str>) -> Result<Option<TopupId>> {
    let Some(id) = id.and_then(|id| id.parse::<TopupId>().ok()) else { return Ok(None) };
    Ok(queries::topup_exists(conn, id).await?.then_some(id))
}

/// Makes the ledger show what is known of a payment. The caller holds the payment's row.
pub(super) async fn settle(conn: &mut PgConnection, clock: &dyn Clock, payment: &str) -> Result<Outcome> {
    let Some(id) = queries::save_payment(conn, payment, None, Micros::ZERO, clock.now()).await? else {
        return settle_month(conn, clock, payment).await;
    };
    let Some(topup) = wallet::lock(conn, id).await? else {
        return Err(Error::bug(anyhow::anyhow!("the top-up of a payment is gone")));
    };
    if topup.status != "paid" {
        return Ok(Outcome::Waiting);
    }
    let total = queries::reversed(conn, payment).await?.total().map_err(Error::bug)?;
    if wallet::reverse(conn, clock, &topup, total).await? {
        tracing::info!(topup.id = %topup.id, "money of a top-up moved back");
    }
    Ok(Outcome::Applied)
}

/// The same for a payment of a month of Pro. The money alone moves: the plan is what Stripe says of the subscription,
/// which the operator's rules there end when a charge is disputed.
async fn settle_month(conn: &mut PgConnection, clock: &dyn Clock, payment: &str) -> Result<Outcome> {
    let Some(month) = queries::find_paid_month(conn, payment).await? else { return Ok(Outcome::Waiting) };
    let total = queries::reversed(conn, payment).await?.total().map_err(Error::bug)?;
    let wanted = total.clamp(Micros::ZERO, month.amount_micros);
    let change = wanted.minus(month.back_micros).map_err(Error::bug)?;
    if change == Micros::ZERO {
        return Ok(Outcome::Applied);
    }
    let step = month.adjustments.saturating_add(1);
    let Some(kept) = subscriptions::lock(conn, month.subscription_id).await? else {
        return Err(Error::bug(anyhow::anyhow!("the subscription of a payment is gone")));
    };
    subscriptions::give_back(conn, clock, &kept, &format!("{payment}:{step}"), change).await?;
    queries::save_month_back(conn, payment, wanted, step).await?;
    tracing::info!(subscription.id = %kept.id, "money of a month of Pro moved back");
    Ok(Outcome::Applied)
}
