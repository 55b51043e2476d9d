//! Renewals: what happens when a paid month is over. For subscriptions we charge ourselves; those paid
//! by card are renewed by the provider, whose word is taken.

use super::model::{Due, RETRY};
use super::{ops, queries};
use crate::app::App;
use crate::error::Result;
use crate::workers::jobs::Turn;
use shared::Clock;
use shared::id::SubscriptionId;
use sqlx::PgConnection;

/// Renews or ends one subscription that is due; `None` when none is. The caller owns the transaction.
pub async fn renew_next(conn: &mut PgConnection, clock: &dyn Clock) -> Result<Option<SubscriptionId>> {
    let now = clock.now();
    let Some(subscription) = queries::lock_due(conn, now).await? else { return Ok(None) };
    let owner_is_gone = queries::is_deleted(conn, subscription.agent_id).await?;
    match subscription.due(now, owner_is_gone) {
        Due::Wait => {}
        Due::End => ops::end(conn, &subscription, now).await?,
        Due::Charge(period) => {
            if ops::pay(conn, &subscription, period, now).await? {
                let anchor = subscription.anchor_at.unwrap_or(now);
                ops::begin(conn, &subscription, anchor, period, now).await?;
            } else if let Some(grace_until) = subscription.grace(now) {
                let retry_at = (now + RETRY).min(grace_until);
                queries::save_past_due(conn, subscription.id, grace_until, retry_at, now).await?;
            } else {
                ops::end(conn, &subscription, now).await?;
            }
        }
    }
    Ok(Some(subscription.id))
}

/// The job: one subscription a turn, in a transaction of its own.
pub async fn job(app: App) -> Result<Turn> {
    let mut tx = app.db_worker().begin().await?;
    let renewed = renew_next(&mut tx, app.clock()).await?;
    tx.commit().await?;
    Ok(if renewed.is_some() { Turn::Again } else { Turn::Idle })
}
