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

/// Drops the days that are older than the setting says; their sums stay. A day at a time: it holds a lock that
/// stops the drainer for as long as it takes to count the day's rows.
pub async fn drop_old(app: App) -> Result<Turn> {
    let days = i64::from(app.config().click_days);
    if days == 0 {
        return Ok(Turn::Idle);
    }
    let now = app.clock().now();
    // Clicks are stored up to a week late: their days must still be there.
    let keep_from = now.date_naive() - TimeDelta::days(days.max(DAYS_BACK + 1));
    let mut conn = app.db_worker().acquire().await?;
    let Some(day) = queries::oldest_partition(&mut conn).await?.filter(|day| *day < keep_from) else {
        return Ok(Turn::Idle);
    };
    if queries::drop_partition(&mut conn, day, now).await? {
        tracing::info!(%day, "a day of clicks was dropped");
    }
    Ok(Turn::Again)
}
