//! The network: everybody's active programs, to find and to join.
//!
//! Owns no rows: it reads programs and partnerships and joins through their operations.

pub mod ops;
pub(crate) mod queries;
pub mod routes;
pub mod wire;

use crate::app::App;
use crate::error::Result;
use crate::workers::jobs::Turn;

/// Takes the figures of the last 30 days, in one transaction.
pub async fn job(app: App) -> Result<Turn> {
    let mut tx = app.db_worker().begin().await?;
    ops::refresh(&mut tx, app.clock()).await?;
    tx.commit().await?;
    Ok(Turn::Idle)
}
