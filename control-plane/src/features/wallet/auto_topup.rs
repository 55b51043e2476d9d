//! Wallets that top themselves up once they fall below their threshold.

use super::model::{Provider, TOPUP_MAX};
use super::queries::{self, NewTopup};
use super::{model, ops};
use crate::app::App;
use crate::error::Result;
use crate::workers::jobs::Turn;
use shared::Clock;
use shared::id::AgentId;
use sqlx::PgConnection;

/// Tops one wallet up that is due, through the sandbox; `None` when none is. The caller owns the transaction.
pub async fn topup_next(conn: &mut PgConnection, clock: &dyn Clock) -> Result<Option<AgentId>> {
    let Some(due) = queries::lock_below_threshold(conn).await? else { return Ok(None) };
    let amount = model::topup_amount("auto_topup.amount", due.amount.min(TOPUP_MAX))?;
    let new = NewTopup {
        agent: due.agent_id,
        provider: Provider::Sandbox,
        amount,
        status: "paid",
        automatic: true,
    };
    let topup = queries::insert_topup(conn, &new, clock.now()).await?;
    ops::credit(conn, clock, &topup, Provider::Sandbox).await?;
    Ok(Some(due.agent_id))
}

/// The job: one wallet a turn.
pub async fn job(app: App) -> Result<Turn> {
    let mut tx = app.db_worker().begin().await?;
    let topped_up = topup_next(&mut tx, app.clock()).await?;
    tx.commit().await?;
    Ok(if topped_up.is_some() { Turn::Again } else { Turn::Idle })
}
