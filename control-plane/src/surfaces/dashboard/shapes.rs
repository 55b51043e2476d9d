//! What pages read of the API's replies; members they do not show are left out.

use crate::money::Micros;
use chrono::{DateTime, NaiveDate, Utc};
use serde::Deserialize;
use std::collections::BTreeMap;

/// How long a list is.
#[derive(Deserialize)]
pub(super) struct Total {
    pub(super) pagination: Pagination,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) struct Pagination {
    pub(super) total: i64,
}

/// The account.
#[derive(Deserialize)]
pub(super) struct Me {
    pub(super) name: String,
    pub(super) handle: String,
    pub(super) tier: String,
}

#[derive(Deserialize)]
pub(super) struct Stats {
    pub(super) period: Period,
    pub(super) clicks: Sides<Clicks>,
    pub(super) conversions: Sides<Conversions>,
    pub(super) commissions: Sides<Commissions>,
    pub(super) usage: Usage,
    pub(super) wallet: Balance,
}

#[derive(Deserialize)]
pub(super) struct Period {
    pub(super) days: i64,
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
}

/// Both roles of an account.
#[derive(Deserialize)]
pub(super) struct Sides<T> {
    pub(super) as_affiliate: T,
    pub(super) as_advertiser: T,
}

#[derive(Deserialize)]
pub(super) struct Clicks {
    pub(super) total: i64,
    pub(super) counted: i64,
    pub(super) previous_total: i64,
    pub(super) change_percent: Option<i64>,
    pub(super) by_class: BTreeMap<String, i64>,
    pub(super) by_day: Vec<DayClicks>,
    pub(super) by_link: Vec<LinkClicks>,
    pub(super) by_program: Vec<ProgramClicks>,
    pub(super) by_country: Vec<SourceClicks>,
    pub(super) by_sub_id: Vec<SourceClicks>,
}

#[derive(Deserialize)]
pub(super) struct DayClicks {
    pub(super) date: NaiveDate,
    pub(super) clicks: i64,
    pub(super) counted: i64,
}

#[derive(Deserialize)]
pub(super) struct LinkClicks {
    pub(super) destination_url: String,
    pub(super) clicks: i64,
    pub(super) previous: i64,
}

#[derive(Deserialize)]
pub(super) struct ProgramClicks {
    pub(super) program_name: String,
    pub(super) clicks: i64,
    pub(super) previous: i64,
}

#[derive(Deserialize)]
pub(super) struct SourceClicks {
    pub(super) name: String,
    pub(super) clicks: i64,
    pub(super) previous: i64,
}

#[derive(Deserialize)]
pub(super) struct Conversions {
    pub(super) total: i64,
    pub(super) leads: i64,
    pub(super) sales: i64,
    pub(super) revenue: Micros,
    pub(super) previous_total: i64,
    pub(super) change_percent: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct Commissions {
    pub(super) total: Micros,
    pub(super) pending: Micros,
    pub(super) approved: Micros,
    pub(super) previous_total: Micros,
    pub(super) change_percent: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct Balance {
    pub(super) balance: Micros,
}

#[derive(Deserialize)]
pub(super) struct Usage {
    pub(super) tier: String,
    pub(super) period: String,
    #[serde(rename = "usage")]
    pub(super) meters: Meters,
    pub(super) resets_at: DateTime<Utc>,
}

#[derive(Deserialize)]
pub(super) struct Meters {
    pub(super) clicks: Meter,
    pub(super) conversions: Meter,
    pub(super) matching_requests: Meter,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) struct Meter {
    pub(super) used: i64,
    pub(super) limit: i64,
}

/// A week in words.
#[derive(Deserialize)]
pub(super) struct Digest {
    pub(super) summary: String,
    pub(super) cta: NextAction,
}

#[derive(Deserialize)]
pub(super) struct NextAction {
    pub(super) text: String,
    pub(super) path: String,
}

#[derive(Deserialize)]
pub(super) struct Earnings {
    pub(super) totals: Sums,
}

#[derive(Deserialize)]
pub(super) struct Sums {
    pub(super) payable: Micros,
    pub(super) paid: Micros,
}
