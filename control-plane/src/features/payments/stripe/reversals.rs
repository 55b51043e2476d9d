//! Money that goes back: refunds and disputes of top-ups.
//!
//! Each is taken down first and carried out when it is known whose payment it was, which may be later.

use super::apply::Outcome;
use super::model::Kind;
use super::queries;
use crate::error::{Error, Result};
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

/// Makes the wallet show what is known of a payment. The caller holds the payment's row.
pub(super) async fn settle(conn: &mut PgConnection, clock: &dyn Clock, payment: &str) -> Result<Outcome> {
    let Some(id) = queries::save_payment(conn, payment, None, Micros::ZERO, clock.now()).await? else {
        return Ok(Outcome::Waiting);
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
