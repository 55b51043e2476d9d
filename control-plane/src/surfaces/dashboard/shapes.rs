//! What pages read of the API's replies; members they do not show are left out.

use super::words;
use crate::money::Micros;
use chrono::{DateTime, NaiveDate, Utc};
use serde::Deserialize;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Whatever was answered.
#[derive(Deserialize)]
pub(super) struct Any {}

/// A page of a list.
#[derive(Deserialize)]
pub(super) struct List<T> {
    pub(super) data: Vec<T>,
    pub(super) pagination: Pagination,
}

/// How long a list is.
#[derive(Deserialize)]
pub(super) struct Total {
    pub(super) pagination: Pagination,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) struct Pagination {
    pub(super) page: i64,
    pub(super) total: i64,
    pub(super) total_pages: i64,
    /// Whether there may be more than `total`.
    #[serde(default)]
    pub(super) more_than_total: bool,
}

impl Pagination {
    /// How many rows there are, in words.
    pub(super) fn counted(self, one: &str, many: &str) -> String {
        let counted = words::counted(self.total, one, many);
        if self.more_than_total { format!("{counted} or more") } else { counted }
    }
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

/// A program of one's own.
#[derive(Deserialize)]
pub(super) struct Program {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) commission_type: String,
    pub(super) commission_value: Micros,
    pub(super) approval_mode: String,
    pub(super) attribution_days: i64,
    pub(super) status: String,
    pub(super) affiliates: i64,
    pub(super) epc: Option<Micros>,
}

/// A program to join, and whether it was.
#[derive(Deserialize)]
pub(super) struct Discovered {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) niche: Option<String>,
    pub(super) advertiser: Agent,
    pub(super) commission_type: String,
    pub(super) commission_value: Micros,
    pub(super) approval_mode: String,
    pub(super) affiliates: i64,
    pub(super) epc: Option<Micros>,
    pub(super) partnership_status: Option<String>,
}

/// A program that was suggested.
#[derive(Deserialize)]
pub(super) struct Suggestion {
    pub(super) id: Uuid,
    pub(super) reasons: Vec<String>,
    pub(super) program: SuggestedProgram,
}

#[derive(Deserialize)]
pub(super) struct SuggestedProgram {
    pub(super) name: String,
    pub(super) advertiser: Agent,
    pub(super) commission_type: String,
    pub(super) commission_value: Micros,
}

/// Suggestions that wait for an answer.
#[derive(Deserialize)]
pub(super) struct Pending {
    pub(super) data: Vec<Suggestion>,
}

/// A suggestion that was answered.
#[derive(Deserialize)]
pub(super) struct Answered {
    pub(super) partnership: Option<Joined>,
}

/// Where a partnership stands.
#[derive(Deserialize)]
pub(super) struct Joined {
    pub(super) status: String,
}

#[derive(Deserialize)]
pub(super) struct Agent {
    pub(super) name: String,
    pub(super) handle: String,
}

#[derive(Deserialize)]
pub(super) struct Partnership {
    pub(super) id: Uuid,
    pub(super) status: String,
    pub(super) message: Option<String>,
    pub(super) program: JoinedProgram,
    pub(super) affiliate: Agent,
    pub(super) created_at: DateTime<Utc>,
}

#[derive(Deserialize)]
pub(super) struct JoinedProgram {
    pub(super) name: String,
    pub(super) url: Option<String>,
    pub(super) status: String,
    pub(super) commission_type: String,
    pub(super) commission_value: Micros,
}

#[derive(Deserialize)]
pub(super) struct Link {
    pub(super) tracking_url: String,
    pub(super) destination_url: String,
    pub(super) sub_id: Option<String>,
    pub(super) status: String,
    pub(super) clicks: i64,
    pub(super) clicks_by_class: BTreeMap<String, i64>,
    pub(super) conversions: i64,
    pub(super) created_at: DateTime<Utc>,
}

#[derive(Deserialize)]
pub(super) struct Conversion {
    pub(super) id: Uuid,
    pub(super) program_id: Uuid,
    pub(super) event_type: String,
    pub(super) status: String,
    pub(super) revenue_amount: Option<Micros>,
    pub(super) commission_amount: Micros,
    pub(super) external_id: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) tracking_token: String,
    pub(super) auto_approve_at: DateTime<Utc>,
    pub(super) created_at: DateTime<Utc>,
}

#[derive(Deserialize)]
pub(super) struct Earnings {
    pub(super) totals: Sums,
    pub(super) programs: Vec<ProgramEarnings>,
}

#[derive(Deserialize)]
pub(super) struct Sums {
    pub(super) pending: Micros,
    pub(super) approved: Micros,
    pub(super) payable: Micros,
    pub(super) processing: Micros,
    pub(super) paid: Micros,
}

#[derive(Deserialize)]
pub(super) struct ProgramEarnings {
    pub(super) program_name: String,
    pub(super) conversions: i64,
    pub(super) pending: Micros,
    pub(super) approved: Micros,
    pub(super) paid: Micros,
}

/// What a program owes and paid.
#[derive(Deserialize)]
pub(super) struct ProgramOwed {
    pub(super) totals: Sums,
    pub(super) affiliates: Vec<OwedTo>,
}

/// The same for one affiliate.
#[derive(Deserialize)]
pub(super) struct OwedTo {
    pub(super) affiliate_id: Uuid,
    pub(super) affiliate_name: String,
    pub(super) affiliate_handle: Option<String>,
    pub(super) conversions: i64,
    pub(super) pending: Micros,
    pub(super) approved: Micros,
    pub(super) payable: Micros,
    pub(super) paid: Micros,
}

/// What would be paid.
#[derive(Deserialize)]
pub(super) struct Preview {
    pub(super) payouts: Vec<PreviewedPayout>,
    pub(super) left: Vec<Left>,
    pub(super) total: Micros,
    pub(super) wallet_balance: Micros,
    pub(super) missing: Micros,
    #[serde(rename = "preview_token")]
    pub(super) token: String,
}

#[derive(Deserialize)]
pub(super) struct PreviewedPayout {
    pub(super) affiliate_id: Uuid,
    pub(super) amount: Micros,
    pub(super) commissions: i64,
    pub(super) address: Option<String>,
    pub(super) not_before: Option<DateTime<Utc>>,
}

/// Who would get nothing, and why.
#[derive(Deserialize)]
pub(super) struct Left {
    pub(super) affiliate_id: Uuid,
    pub(super) amount: Micros,
    pub(super) reason: String,
}

/// What was paid.
#[derive(Deserialize)]
pub(super) struct Processed {
    pub(super) payouts: Vec<Any>,
}

/// A subscription, or the lack of one.
#[derive(Deserialize)]
pub(super) struct Subscription {
    pub(super) plan: String,
    pub(super) status: String,
    pub(super) price: Micros,
    pub(super) payment: Option<String>,
    pub(super) current_period_end: Option<DateTime<Utc>>,
    pub(super) cancel_at_period_end: bool,
    pub(super) grace_until: Option<DateTime<Utc>>,
    pub(super) checkout_url: Option<String>,
}

/// A page at the payment provider.
#[derive(Deserialize)]
pub(super) struct Portal {
    pub(super) url: String,
}

#[derive(Deserialize)]
pub(super) struct Payout {
    pub(super) id: Uuid,
    pub(super) affiliate_handle: String,
    pub(super) amount: Micros,
    pub(super) method: String,
    pub(super) status: String,
    pub(super) reference: Option<String>,
    pub(super) failure: Option<String>,
    pub(super) commission_count: i64,
    pub(super) created_at: DateTime<Utc>,
}

#[derive(Deserialize)]
pub(super) struct Wallet {
    pub(super) balance: Micros,
    pub(super) held: Micros,
    pub(super) owed: Micros,
    pub(super) monthly_spend_cap: Option<Micros>,
    pub(super) spent_this_month: Micros,
    pub(super) auto_topup: AutoTopup,
    pub(super) provider: String,
}

/// Topping up by itself.
#[derive(Deserialize)]
pub(super) struct AutoTopup {
    pub(super) enabled: bool,
    pub(super) threshold: Option<Micros>,
    pub(super) amount: Option<Micros>,
}

#[derive(Deserialize)]
pub(super) struct Topup {
    pub(super) checkout_url: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Transaction {
    pub(super) r#type: String,
    pub(super) kind: String,
    pub(super) amount: Micros,
    pub(super) quantity: Option<i64>,
    pub(super) balance_after: Micros,
    pub(super) created_at: DateTime<Utc>,
}
