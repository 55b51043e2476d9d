//! JSON shapes of payouts.

use super::model::{Left, LeftReason, Method, Payout, Status};
use crate::error::Result;
use crate::features::commissions::claims::Claimed;
use crate::money::Micros;
use crate::page::{List, Page, PageQuery};
use crate::time::At;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// What to pay, and how.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessRequest {
    /// The program whose affiliates are paid; you own it.
    pub program_id: Uuid,
    /// True shows what would happen and changes nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// `wallet` (default), `external` or `usdc`.
    #[serde(default)]
    pub method: Method,
    /// Pay this affiliate alone.
    pub affiliate_id: Option<Uuid>,
    /// From a dry run: pays exactly what it showed, or answers 409.
    #[schema(max_length = 100)]
    pub preview_token: Option<String>,
}

/// What a dry run would pay.
#[derive(Debug, Serialize, ToSchema)]
pub struct PreviewResponse {
    /// Always true.
    pub dry_run: bool,
    /// The program.
    pub program_id: Uuid,
    /// How it would be paid.
    pub method: Method,
    /// `usd`.
    pub currency: &'static str,
    /// One payout per affiliate.
    pub payouts: Vec<PreviewedPayout>,
    /// Who gets nothing now, and why.
    pub left: Vec<LeftResponse>,
    /// The sum of the payouts.
    pub total: Micros,
    /// What the wallet holds.
    pub wallet_balance: Micros,
    /// What it lacks to pay them; 0 when it does not.
    pub missing: Micros,
    /// Send it with the real call to pay exactly this.
    pub preview_token: String,
}

/// A payout that would be made.
#[derive(Debug, Serialize, ToSchema)]
pub struct PreviewedPayout {
    /// Who would be paid.
    pub affiliate_id: Uuid,
    /// How much.
    pub amount: Micros,
    /// For how many commissions, those that take back included.
    pub commissions: usize,
    /// usdc: where to.
    pub address: Option<String>,
    /// usdc: not before, when the address has just changed.
    pub not_before: Option<At>,
}

/// An affiliate that gets nothing now.
#[derive(Debug, Serialize, ToSchema)]
pub struct LeftResponse {
    /// Who.
    pub affiliate_id: Uuid,
    /// How much is open; negative when refunds outweigh what was earned.
    pub amount: Micros,
    /// Why.
    pub reason: LeftReason,
}

impl From<Left> for LeftResponse {
    fn from(left: Left) -> Self {
        Self { affiliate_id: left.affiliate.uuid(), amount: left.amount, reason: left.reason }
    }
}

/// What was paid, or is on its way.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProcessResponse {
    /// Always false.
    pub dry_run: bool,
    /// The program.
    pub program_id: Uuid,
    /// How.
    pub method: Method,
    /// `usd`.
    pub currency: &'static str,
    /// One payout per affiliate; none when nothing was due.
    pub payouts: Vec<PayoutResponse>,
    /// Who gets nothing now, and why.
    pub left: Vec<LeftResponse>,
    /// The sum of the payouts.
    pub total: Micros,
}

/// What did not make a payout: a dry run shows what would, anything else found nothing due.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum NothingPaidResponse {
    /// A dry run.
    Preview(PreviewResponse),
    /// Nothing was due.
    NothingDue(ProcessResponse),
}

/// A payout.
#[derive(Debug, Serialize, ToSchema)]
pub struct PayoutResponse {
    /// Its id.
    pub id: Uuid,
    /// The program.
    pub program_id: Uuid,
    /// Who pays.
    pub advertiser_id: Uuid,
    /// Who is paid.
    pub affiliate_id: Uuid,
    /// The payee's handle.
    pub affiliate_handle: String,
    /// How much.
    pub amount: Micros,
    /// `usd`.
    pub currency: String,
    /// How.
    pub method: Method,
    /// How far it is.
    pub status: Status,
    /// usdc: where to.
    pub address: Option<String>,
    /// usdc: not before.
    pub not_before: Option<At>,
    /// external: the advertiser's word for its payment; usdc: the transaction.
    pub reference: Option<String>,
    /// Why it failed.
    pub failure: Option<String>,
    /// How many commissions it pays; none once it failed.
    pub commission_count: i64,
    /// Asked for by the affiliate.
    pub requested_by_affiliate: bool,
    /// When it was made.
    pub created_at: At,
    /// When it last moved on.
    pub updated_at: At,
    /// When it arrived.
    pub paid_at: Option<At>,
}

impl From<Payout> for PayoutResponse {
    fn from(payout: Payout) -> Self {
        Self {
            id: payout.id.uuid(),
            program_id: payout.program_id.uuid(),
            advertiser_id: payout.advertiser_id.uuid(),
            affiliate_id: payout.affiliate_id.uuid(),
            affiliate_handle: payout.affiliate_handle,
            amount: payout.amount_micros,
            currency: payout.currency,
            method: payout.method,
            status: payout.status,
            address: payout.address,
            not_before: payout.not_before.map(At),
            reference: payout.reference,
            failure: payout.failure,
            commission_count: payout.commission_count,
            requested_by_affiliate: payout.requested,
            created_at: payout.created_at.into(),
            updated_at: payout.updated_at.into(),
            paid_at: payout.paid_at.map(At),
        }
    }
}

/// A payout with what it pays for.
#[derive(Debug, Serialize, ToSchema)]
pub struct PayoutDetails {
    /// The payout.
    #[serde(flatten)]
    pub payout: PayoutResponse,
    /// The first hundred of them, oldest first.
    pub commissions: Vec<PaidCommission>,
}

/// A commission in a payout.
#[derive(Debug, Serialize, ToSchema)]
pub struct PaidCommission {
    /// The commission.
    pub id: Uuid,
    /// Its conversion.
    pub conversion_id: Uuid,
    /// How much; negative for what a refund takes back.
    pub amount: Micros,
}

impl From<Claimed> for PaidCommission {
    fn from(claimed: Claimed) -> Self {
        Self {
            id: claimed.id.uuid(),
            conversion_id: claimed.conversion_id.uuid(),
            amount: claimed.amount_micros,
        }
    }
}

/// Which payouts to list.
#[derive(Debug, Deserialize, Serialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PayoutsQuery {
    /// Page, from 1: `page` times `per_page` is 10,000 at most, go on by cursor.
    #[param(minimum = 1, maximum = 10000, default = 1)]
    pub page: Option<i64>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub per_page: Option<i64>,
    /// `pagination.next_cursor` of the page before, instead of `page`.
    #[param(pattern = "^[A-Za-z0-9_-]{44}$")]
    pub cursor: Option<String>,
    /// Those you pay or those you get; both when left out.
    #[param(inline)]
    pub role: Option<Role>,
    /// Only these.
    #[param(inline)]
    pub status: Option<Status>,
}

impl PayoutsQuery {
    /// The page asked for.
    pub fn page(&self) -> Result<Page> {
        PageQuery { page: self.page, per_page: self.per_page }
            .checked_from(self.cursor.as_deref(), List::Payouts.order())
    }
}

/// A side of a payout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Who pays.
    Advertiser,
    /// Who is paid.
    Affiliate,
}

/// The advertiser has paid.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkPaidRequest {
    /// What names the payment where it was made: a transfer's number, say. 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200, example = "SEPA 2026-06-15 0042")]
    pub reference: String,
}

/// The advertiser has not and will not pay this way.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkFailedRequest {
    /// Why, 1 to 200 characters; the affiliate reads it.
    #[schema(min_length = 1, max_length = 200, example = "The bank returned it")]
    pub reason: String,
}

/// Where usdc payouts go.
#[derive(Debug, Serialize, ToSchema)]
pub struct AddressResponse {
    /// EIP-55 address; null when none is set.
    pub address: Option<String>,
    /// Paid to from then on: a changed address waits 72 hours.
    pub usable_at: Option<At>,
    /// Whether it is paid to now.
    pub usable: bool,
}

impl AddressResponse {
    /// As it is at `now`.
    pub fn of(address: Option<(String, DateTime<Utc>)>, now: DateTime<Utc>) -> Self {
        let (address, usable_at) = address.unzip();
        Self { address, usable: usable_at.is_some_and(|at| at <= now), usable_at: usable_at.map(At) }
    }
}

/// Where usdc payouts shall go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddressRequest {
    /// EIP-55 address.
    #[schema(pattern = "^0x[0-9a-fA-F]{40}$", example = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")]
    pub address: String,
}
