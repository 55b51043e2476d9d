//! JSON shapes of usage.

use crate::time::At;
use serde::Serialize;
use utoipa::ToSchema;

/// What the caller used in the current UTC month.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageResponse {
    /// `free` or `pro`.
    #[schema(example = "free")]
    pub tier: &'static str,
    /// The month, `YYYY-MM`.
    #[schema(example = "2026-04")]
    pub period: String,
    /// By metric.
    pub usage: UsageMeters,
    /// When everything counts from zero again.
    pub resets_at: At,
    /// How to get more.
    #[schema(example = "POST /api/subscription/pro")]
    pub upgrade_url: &'static str,
}

/// The same in short, as part of the account.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageSummary {
    /// The month, `YYYY-MM`.
    #[schema(example = "2026-04")]
    pub period: String,
    /// By metric.
    #[serde(flatten)]
    pub usage: UsageMeters,
    /// When everything counts from zero again.
    pub resets_at: At,
}

impl From<UsageResponse> for UsageSummary {
    fn from(usage: UsageResponse) -> Self {
        Self { period: usage.period, usage: usage.usage, resets_at: usage.resets_at }
    }
}

/// Usage by metric.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageMeters {
    /// Metered clicks on links of the caller's programs.
    pub clicks: Meter,
    /// Leads and sales the caller reported.
    pub conversions: Meter,
    /// Recommendations the caller asked for.
    pub matching_requests: Meter,
}

/// One metric.
#[derive(Debug, Serialize, ToSchema)]
pub struct Meter {
    /// Units used, billed ones included.
    #[schema(example = 312)]
    pub used: i64,
    /// Units included in the plan.
    #[schema(example = 10000)]
    pub limit: i64,
    /// What is left of them; never negative.
    #[schema(example = 9688)]
    pub remaining: i64,
}

impl Meter {
    /// A meter that shows this many of so many.
    pub fn new(used: i64, limit: i64) -> Self {
        Self { used, limit, remaining: limit.saturating_sub(used).max(0) }
    }
}
