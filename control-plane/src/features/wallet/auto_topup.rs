//! Wallets that top themselves up once they fall below their threshold.

use super::model::TOPUP_MAX;
use super::{ops, queries};
use crate::app::App;
use crate::error::Result;
use crate::workers::jobs::Turn;
use shared::Clock;
use shared::id::AgentId;
use sqlx::PgConnection;

/// Tops one wallet up that is due, through the sandbox; `None` when none is. The caller owns the transaction.
pub async fn topup_next(conn: &mut PgConnection, clock: &dyn Clock) -> Result<Option<AgentId>> {
    let Some(due) = queries::lock_below_threshold(conn).await? else { return Ok(None) };
    ops::topup_sandbox(conn, clock, due.agent_id, due.amount.min(TOPUP_MAX), true).await?;
    Ok(Some(due.agent_id))
}

/// The job: one wallet a turn. Where money is real, a wallet is filled by its owner alone: the setting is
/// refused there, and one from before does nothing.
pub async fn job(app: App) -> Result<Turn> {
    if app.config().stripe.is_some() {
        return Ok(Turn::Idle);
    }
    let mut tx = app.db_worker().begin().await?;
    let topped_up = topup_next(&mut tx, app.clock()).await?;
    tx.commit().await?;
    Ok(if topped_up.is_some() { Turn::Again } else { Turn::Idle })
}
