//! What an account has used this month, told as the API tells it. What the drainer stored and the fold has
//! not reached yet is added, so that a click shows at once.

mod queries;

use super::model::{self, Metric, Tier};
use super::wire::{Meter, UsageMeters, UsageResponse};
use crate::error::Result;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// This month's usage of an account, by its number.
pub async fn of(
    conn: &mut PgConnection,
    number: i32,
    tier: Tier,
    now: DateTime<Utc>,
) -> Result<UsageResponse> {
    let month = model::month_of(now);
    let used = queries::load_used(conn, number, month, model::end_of(month)).await?;
    let meter = |metric: Metric| {
        let used = used.iter().find(|(name, _)| name == metric.as_str()).map_or(0, |(_, used)| *used);
        Meter::new(used, metric.allowance(tier))
    };
    Ok(UsageResponse {
        tier: tier.as_str(),
        period: month.format("%Y-%m").to_string(),
        usage: UsageMeters {
            clicks: meter(Metric::Clicks),
            conversions: meter(Metric::Conversions),
            matching_requests: meter(Metric::MatchingRequests),
        },
        resets_at: model::end_of(month).into(),
        upgrade_url: "POST /api/subscription/pro",
    })
}

/// The plan of an account, by its number.
pub async fn tier_of(conn: &mut PgConnection, number: i32) -> Result<Tier> {
    let tier = queries::find_tier(conn, number).await?;
    Ok(tier.as_deref().and_then(Tier::parse).unwrap_or(Tier::Free))
}
