//! Payouts that wait for their advertiser's funds: tried again as soon as its wallet covers them.

use super::{freeze, ops};
use crate::app::App;
use crate::error::Result;
use crate::workers::jobs::Turn;

/// The job: every payout that can be funded now, oldest first, each in a transaction of its own.
pub async fn job(app: App) -> Result<Turn> {
    let mut after = None;
    let frozen = freeze::is_frozen(&mut *app.db_worker().acquire().await?).await?;
    metrics::gauge!("cp_payouts_frozen").set(u32::from(frozen));
    if frozen {
        return Ok(Turn::Idle);
    }
    loop {
        let mut tx = app.db_worker().begin().await?;
        let Some(tried) = ops::fund_next(&mut tx, app.clock(), after).await? else { return Ok(Turn::Idle) };
        tx.commit().await?;
        after = Some(tried);
    }
}
