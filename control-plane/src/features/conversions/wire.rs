//! JSON shapes of conversions.

use super::model::{Conversion, Decision, EventType, Status};
use super::ops::CURRENCY;
use super::refunds::Refund;
use crate::error::Result;
use crate::features::commissions::ops::{Summed, Sums};
use crate::money::Micros;
use crate::page::{List, PER_PAGE_MAX, Page, PageQuery, Pagination};
use crate::time::At;
use serde::{Deserialize, Serialize};
use shared::id::{AgentId, ProgramId};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrackedEvent {
    /// A click that could not go through the redirect; metered as a click.
    Click,
    /// A sign-up, a request, a subscription: no amount.
    Lead,
    /// A sale; needs `revenue_amount`.
    Sale,
}

/// A report of something that came through a tracking link.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TrackConversionRequest, example = json!({"tracking_token": "0ECBc2xYuhVeaNv0", "event_type": "sale", "revenue_amount": 99.00, "external_id": "order-456"}))]
pub struct TrackRequest {
    /// The token in the tracking URL.
    #[schema(min_length = 16, max_length = 16)]
    pub tracking_token: String,
    /// What happened.
    pub event_type: TrackedEvent,
    /// The sale's amount in dollars, more than 0 and at most 10,000,000, with at most two decimals.
    /// Required for a sale; a lead and a click have none.
    #[schema(value_type = Option<f64>, minimum = 0.01, maximum = 10_000_000)]
    pub revenue_amount: Option<Micros>,
    /// Your own name for it, such as the order's number, at most 255 characters. A second report of the
    /// same program, event type and external_id is refused.
    #[schema(max_length = 255)]
    pub external_id: Option<String>,
    /// The id of the click that led to it, as your site received it. The click must belong to the link
    /// and be no older than the program's attribution_days.
    #[schema(max_length = 43)]
    pub click_id: Option<String>,
    /// Only `usd` so far, which is also the default.
    #[schema(pattern = "^usd$", example = "usd")]
    pub currency: Option<String>,
}

/// A click that could not go through the redirect.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"tracking_token": "0ECBc2xYuhVeaNv0"}))]
pub struct TrackClickRequest {
    /// The token in the tracking URL.
    #[schema(min_length = 16, max_length = 16)]
    pub tracking_token: String,
}

/// A decision about a conversion.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"status": "approved"}))]
pub struct DecideRequest {
    /// `approved` or `rejected`.
    pub status: Decision,
    /// Why, for the affiliate to read; at most 500 characters.
    #[schema(max_length = 500)]
    pub reason: Option<String>,
}

/// A server-side click.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClickResponse {
    /// The click's id: send it with a conversion that it leads to.
    pub click_id: String,
    /// Always `click`.
    pub event_type: &'static str,
    /// Its class: who calls an API is an agent.
    #[schema(example = "agent")]
    pub class: &'static str,
    /// Whether the program counts that class, as its `pay_classes` say; if not, it is kept and not metered.
    pub counted: bool,
    /// The token.
    pub tracking_token: String,
    /// The link.
    pub link_id: Uuid,
    /// The program.
    pub program_id: Uuid,
    /// The partnership.
    pub partnership_id: Uuid,
    /// Who promotes.
    pub affiliate_id: Uuid,
    /// When it was reported.
    pub created_at: At,
}

/// What was reported: a lead or sale, or with `"event_type": "click"` a click.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum TrackedResponse {
    /// A lead or sale.
    Conversion(ConversionResponse),
    /// A click.
    Click(ClickResponse),
}

/// A conversion and what it earns.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversionResponse {
    /// Its id.
    pub id: Uuid,
    /// The program.
    pub program_id: Uuid,
    /// The partnership.
    pub partnership_id: Uuid,
    /// Who pays.
    pub advertiser_id: Uuid,
    /// Who earns.
    pub affiliate_id: Uuid,
    /// The link.
    pub link_id: Uuid,
    /// The link's token.
    pub tracking_token: String,
    /// `lead` or `sale`.
    pub event_type: EventType,
    /// Where it stands.
    pub status: Status,
    /// Why it was decided so, in the advertiser's words.
    pub reason: Option<String>,
    /// The sale's amount.
    pub revenue_amount: Option<Micros>,
    /// How much of it was refunded.
    pub refunded_amount: Micros,
    /// What the affiliate earns, refunds before its payout taken off.
    pub commission_amount: Micros,
    /// `usd`.
    pub currency: String,
    /// How that came about.
    pub commission: CommissionResponse,
    /// The advertiser's own name for it.
    pub external_id: Option<String>,
    /// The click that led to it.
    pub click_id: Option<String>,
    /// When that click happened.
    pub clicked_at: Option<At>,
    /// When it is approved by itself unless decided before.
    pub auto_approve_at: At,
    /// When it was approved or rejected.
    pub decided_at: Option<At>,
    /// When it was reported.
    pub created_at: At,
    /// When it last changed.
    pub updated_at: At,
}

/// The commission of a conversion.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommissionResponse {
    /// Its id.
    pub id: Uuid,
    /// What is owed.
    pub amount: Micros,
    /// Where it stands.
    pub status: Status,
    /// `percentage` or `fixed`, as the program had it at the conversion.
    pub commission_type: &'static str,
    /// Percent, or dollars for each, as the program had it at the conversion.
    pub commission_value: Micros,
    /// Not paid out before: the end of the program's hold.
    pub payable_at: At,
    /// The payout that took it.
    pub payout_id: Option<Uuid>,
}

impl From<Conversion> for ConversionResponse {
    fn from(conversion: Conversion) -> Self {
        let commission = conversion.commission;
        Self {
            id: conversion.id.uuid(),
            program_id: conversion.program_id.uuid(),
            partnership_id: conversion.partnership_id.uuid(),
            advertiser_id: conversion.advertiser_id.uuid(),
            affiliate_id: conversion.affiliate_id.uuid(),
            link_id: conversion.link_id.uuid(),
            tracking_token: conversion.tracking_token,
            event_type: conversion.event_type,
            status: conversion.status,
            reason: conversion.reason,
            revenue_amount: conversion.revenue,
            refunded_amount: conversion.refunded,
            commission_amount: commission.amount,
            currency: conversion.currency,
            commission: CommissionResponse {
                id: commission.id.uuid(),
                amount: commission.amount,
                status: commission.status,
                commission_type: commission.terms.name(),
                commission_value: commission.terms.value(),
                payable_at: commission.payable_at.into(),
                payout_id: commission.payout_id.map(shared::id::PayoutId::uuid),
            },
            external_id: conversion.external_id,
            click_id: conversion.click_id,
            clicked_at: conversion.clicked_at.map(At),
            auto_approve_at: conversion.auto_approve_at.into(),
            decided_at: conversion.decided_at.map(At),
            created_at: conversion.created_at.into(),
            updated_at: conversion.updated_at.into(),
        }
    }
}

/// Which conversions a list shows.
#[derive(Debug, Default, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ConversionsQuery {
    /// Only those in this state.
    #[param(inline)]
    pub status: Option<Status>,
    /// Only leads or only sales.
    #[param(inline)]
    pub event_type: Option<EventType>,
    /// Only this affiliate's; in an affiliate's own list none but itself.
    pub affiliate_id: Option<Uuid>,
    /// Only this program's; in a program's list none but itself.
    pub program_id: Option<Uuid>,
    /// Only those you reported under this name.
    pub external_id: Option<String>,
    /// Only those reported then or later: RFC 3339, or a day such as 2026-04-01 (UTC).
    #[serde(alias = "start_date")]
    #[param(schema_with = crate::time::moment, example = "2026-04-01")]
    pub from: Option<String>,
    /// Only those reported before: RFC 3339, or a day, which is then included.
    #[serde(alias = "end_date")]
    #[param(schema_with = crate::time::moment, example = "2026-04-30")]
    pub to: Option<String>,
    /// Page, from 1: `page` times `per_page` is 10,000 at most, go on by cursor.
    #[param(minimum = 1, maximum = 10000, default = 1)]
    pub page: Option<i64>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub per_page: Option<i64>,
    /// `pagination.next_cursor` of the page before, instead of `page`.
    #[param(pattern = "^[A-Za-z0-9_-]{44}$")]
    pub cursor: Option<String>,
}

impl ConversionsQuery {
    /// The page asked for.
    pub fn page(&self) -> Result<Page> {
        PageQuery { page: self.page, per_page: self.per_page }
            .checked_from(self.cursor.as_deref(), List::Conversions.order())
    }
}

/// Which page of sums; the total is of all of them on every page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SumsQuery {
    /// Page, from 1: `page` times `per_page` is 10,000 at most, go on by cursor.
    #[param(minimum = 1, maximum = 10000, default = 1)]
    pub page: Option<i64>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 100, default = 100)]
    pub per_page: Option<i64>,
    /// `pagination.next_cursor` of the page before, instead of `page`.
    #[param(pattern = "^[A-Za-z0-9_-]{44}$")]
    pub cursor: Option<String>,
}

impl SumsQuery {
    /// The page asked for.
    pub fn page(&self) -> Result<Page> {
        PageQuery { page: self.page, per_page: self.per_page.or(Some(PER_PAGE_MAX)) }
            .checked_from(self.cursor.as_deref(), List::Sums.order())
    }
}

/// What commissions come to, by state, in dollars.
#[derive(Debug, Serialize, ToSchema)]
pub struct SumsResponse {
    /// Leads and sales.
    pub conversions: i64,
    /// Reported, not decided.
    pub pending: Micros,
    /// Approved, in no payout yet, taken-back ones subtracted.
    pub approved: Micros,
    /// The part of `approved` that is past its hold: the next payout takes it.
    pub payable: Micros,
    /// In a payout that is on its way.
    pub processing: Micros,
    /// Paid out, net of what was taken back.
    pub paid: Micros,
    /// What rejected conversions would have earned.
    pub rejected: Micros,
    /// Taken back by refunds after it was paid.
    pub reversed: Micros,
}

impl From<Sums> for SumsResponse {
    fn from(sums: Sums) -> Self {
        Self {
            conversions: sums.conversions,
            pending: sums.pending,
            approved: sums.approved,
            payable: sums.payable,
            processing: sums.processing,
            paid: sums.paid,
            rejected: sums.rejected,
            reversed: sums.reversed,
        }
    }
}

/// What an affiliate earned.
#[derive(Debug, Serialize, ToSchema)]
pub struct EarningsResponse {
    /// The affiliate.
    pub agent_id: Uuid,
    /// `usd`.
    pub currency: &'static str,
    /// Over all programs.
    pub totals: SumsResponse,
    /// Program by program, the newest program first: a page of them.
    pub programs: Vec<ProgramEarnings>,
    /// Where the page stands among all programs.
    pub pagination: Pagination,
}

/// What an affiliate earned in one program.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProgramEarnings {
    /// The program.
    pub program_id: Uuid,
    /// Its name.
    pub program_name: String,
    /// What it comes to.
    #[serde(flatten)]
    pub sums: SumsResponse,
}

/// What a program owes and paid.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProgramPayoutsResponse {
    /// The program.
    pub program_id: Uuid,
    /// `usd`.
    pub currency: &'static str,
    /// Over all affiliates.
    pub totals: SumsResponse,
    /// Affiliate by affiliate, the newest first: a page of them.
    pub affiliates: Vec<AffiliateEarnings>,
    /// Where the page stands among all affiliates.
    pub pagination: Pagination,
}

/// What a program owes and paid one affiliate.
#[derive(Debug, Serialize, ToSchema)]
pub struct AffiliateEarnings {
    /// The affiliate.
    pub affiliate_id: Uuid,
    /// Its name.
    pub affiliate_name: String,
    /// Its handle.
    pub affiliate_handle: Option<String>,
    /// What it comes to.
    #[serde(flatten)]
    pub sums: SumsResponse,
}

impl EarningsResponse {
    /// From the sums by program.
    pub fn new(agent: AgentId, summed: Summed) -> Self {
        let programs = summed.groups.data.into_iter().map(|group| ProgramEarnings {
            program_id: group.id,
            program_name: group.name,
            sums: group.sums.into(),
        });
        Self {
            agent_id: agent.uuid(),
            currency: CURRENCY,
            totals: summed.total.into(),
            programs: programs.collect(),
            pagination: summed.groups.pagination,
        }
    }
}

impl ProgramPayoutsResponse {
    /// From the sums by affiliate.
    pub fn new(program: ProgramId, summed: Summed) -> Self {
        let affiliates = summed.groups.data.into_iter().map(|group| AffiliateEarnings {
            affiliate_id: group.id,
            affiliate_name: group.name,
            affiliate_handle: group.handle,
            sums: group.sums.into(),
        });
        Self {
            program_id: program.uuid(),
            currency: CURRENCY,
            totals: summed.total.into(),
            affiliates: affiliates.collect(),
            pagination: summed.groups.pagination,
        }
    }
}

/// A refund to report.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"amount": 49.50, "reason": "Returned one of two", "external_refund_id": "refund-7"}))]
pub struct RefundRequest {
    /// How much of the sale went back, in dollars; all that is left of it when left out. A lead has none.
    #[schema(value_type = Option<f64>, minimum = 0.01, maximum = 10_000_000)]
    pub amount: Option<Micros>,
    /// Why, for the affiliate to read; at most 500 characters.
    #[schema(max_length = 500)]
    pub reason: Option<String>,
    /// Your own name for the refund, at most 255 characters; a second report of it is refused.
    #[schema(max_length = 255)]
    pub external_refund_id: Option<String>,
}

/// A refund and what it did.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefundResponse {
    /// Its id.
    pub id: Uuid,
    /// How much went back to the customer.
    pub amount: Micros,
    /// How much commission it took back.
    pub commission_amount: Micros,
    /// `usd`.
    pub currency: &'static str,
    /// The conversion as it is now.
    pub conversion: ConversionResponse,
}

impl From<Refund> for RefundResponse {
    fn from(refund: Refund) -> Self {
        Self {
            id: refund.id.uuid(),
            amount: refund.amount,
            commission_amount: refund.commission,
            currency: CURRENCY,
            conversion: refund.conversion.into(),
        }
    }
}
