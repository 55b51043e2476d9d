//! Day partitions of clicks: made ahead, so that a row always finds its day.
//!
//! A click's time is kept within a week back and five minutes ahead when it is stored; partitions reach a day
//! further back and [`DAYS_AHEAD`] forward, so that a job that fails for days does no harm.

use super::queries;
use crate::app::App;
use crate::error::Result;
use crate::workers::jobs::Turn;
use chrono::TimeDelta;

const DAYS_BACK: i64 = 8;
const DAYS_AHEAD: i64 = 7;

/// Makes the partitions that are missing.
pub async fn ensure(app: &App) -> Result<()> {
    let today = app.clock().now().date_naive();
    let mut conn = app.db_worker().acquire().await?;
    let made = queries::ensure_partitions(
        &mut conn,
        today - TimeDelta::days(DAYS_BACK),
        today + TimeDelta::days(DAYS_AHEAD),
    )
    .await?;
    if made > 0 {
        tracing::info!(made, "click partitions made");
    }
    Ok(())
}

/// The job.
pub async fn job(app: App) -> Result<Turn> {
    ensure(&app).await?;
    Ok(Turn::Idle)
}
