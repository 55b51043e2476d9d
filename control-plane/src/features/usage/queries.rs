//! SQL of usage.

use crate::error::Result;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// Adds units within the allowance to the month of `now`, in UTC.
pub(crate) async fn add_included(
    conn: &mut PgConnection,
    advertiser_number: i32,
    metric: &str,
    units: i64,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO usage_months AS months (advertiser, month, metric, used, included)
         VALUES ($1, date_trunc('month', $4, 'UTC')::DATE, $2, $3, $3)
         ON CONFLICT (advertiser, month, metric) DO UPDATE
            SET used = months.used + EXCLUDED.used, included = months.included + EXCLUDED.included",
    )
    .bind(advertiser_number)
    .bind(metric)
    .bind(units)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}
