//! Trade: sums of conversions and commissions, by agent and hour and by affiliate and program.
//!
//! Owns tables `trade_deltas`, `trade_hours` and `trade_sums`. Must stay true: the sums with the deltas that wait
//! are those of the rows, at every moment (I28, I29): triggers append a delta in the statement that writes rows,
//! whoever writes them, and every reader adds in one statement what is not folded yet. Others may call: `queries`.
//! Limits: dollars only, as all commissions are; [`DELTAS_MAX`] deltas of a turn.

pub(crate) mod queries;

use crate::app::App;
use crate::error::Result;
use crate::workers::jobs::Turn;

/// Deltas folded in one transaction.
pub const DELTAS_MAX: i64 = 10_000;

/// The job: one turn, again at once while there is more.
pub async fn job(app: App) -> Result<Turn> {
    let mut conn = app.db_worker().acquire().await?;
    let folded = queries::fold(&mut conn, DELTAS_MAX).await?;
    metrics::counter!("cp_trade_deltas_folded_total").increment(folded.unsigned_abs());
    Ok(if folded == DELTAS_MAX { Turn::Again } else { Turn::Idle })
}
