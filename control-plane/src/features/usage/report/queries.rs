//! SQL of the report.

use crate::error::Result;
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;

/// Units used by metric in the current month, late ones of closed months included, with the clicks that wait for the fold; one statement, so that a fold
/// in between is seen on one side only. At most 1,000 waiting batches are looked at.
pub(super) async fn load_used(
    conn: &mut PgConnection,
    number: i32,
    month: NaiveDate,
    end: DateTime<Utc>,
) -> Result<Vec<(String, i64)>> {
    Ok(sqlx::query_as(
        "SELECT metric, sum(used)::BIGINT
           FROM (SELECT metric, used
                   FROM usage_months
                  WHERE advertiser = $1 AND month = $2
                  UNION ALL
                 SELECT 'clicks', waiting.clicks
                   FROM (SELECT advertisers, hours, billable, counts
                           FROM click_deltas ORDER BY id LIMIT 1000) AS deltas,
                        unnest(deltas.advertisers, deltas.hours, deltas.billable, deltas.counts)
                            AS waiting (advertiser, hour, billable, clicks)
                  WHERE waiting.advertiser = $1 AND waiting.billable
                    AND (waiting.hour >= extract(EPOCH FROM $2::TIMESTAMP)::BIGINT / 3600
                         OR waiting.hour < (SELECT extract(EPOCH FROM through + INTERVAL '1 month')::BIGINT / 3600
                                              FROM usage_closed))
                    AND waiting.hour < extract(EPOCH FROM $3)::BIGINT / 3600) AS all_used
          GROUP BY metric",
    )
    .bind(number)
    .bind(month)
    .bind(end)
    .fetch_all(conn)
    .await?)
}

pub(super) async fn find_tier(conn: &mut PgConnection, number: i32) -> Result<Option<String>> {
    Ok(sqlx::query_scalar("SELECT tier FROM agents WHERE number = $1")
        .bind(number)
        .fetch_optional(conn)
        .await?)
}
