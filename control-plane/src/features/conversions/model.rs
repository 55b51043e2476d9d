//! What a conversion is, and which way it may go. Pure.

use crate::error::{Code, Error, Result};
use crate::features::commissions::rules::Terms;
use crate::features::webhooks::event::ConversionObject;
use crate::money::Micros;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use shared::ClickId;
use shared::click::ClassSet;
use shared::id::{AgentId, CommissionId, ConversionId, LinkId, PartnershipId, PayoutId, ProgramId};
use utoipa::ToSchema;

/// The largest sale taken in one report: ten million units.
pub const REVENUE_MAX: Micros = Micros(10_000_000 * crate::money::MICROS);

/// What a conversion records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ConversionType)]
pub enum EventType {
    /// Somebody signed up, asked, subscribed: no amount.
    Lead,
    /// Somebody bought.
    Sale,
}

impl EventType {
    /// The column value and the API's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lead => "lead",
            Self::Sale => "sale",
        }
    }
}

/// Where a conversion stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ConversionStatus)]
pub enum Status {
    /// Reported, not decided.
    Pending,
    /// The advertiser owes its commission.
    Approved,
    /// It earns nothing.
    Rejected,
    /// Its commission was paid out.
    Paid,
    /// It was refunded in full after its commission was paid.
    Reversed,
}

impl Status {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Approved, Self::Rejected, Self::Paid, Self::Reversed];

    /// The column value and the API's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Paid => "paid",
            Self::Reversed => "reversed",
        }
    }

    /// Decides a conversion; `in_payout` says that a payout has taken its commission.
    pub fn decide(self, decision: Decision, in_payout: bool) -> Result<Self> {
        let refuse = |why: &str, fix: &str| {
            Err(Error::new(Code::InvalidState, why, fix).with("status", self.as_str()))
        };
        match (self, decision) {
            (Self::Pending, Decision::Approved) => Ok(Self::Approved),
            (Self::Pending, Decision::Rejected) => Ok(Self::Rejected),
            (Self::Approved, Decision::Rejected) if !in_payout => Ok(Self::Rejected),
            (Self::Approved, Decision::Rejected) => refuse(
                "The conversion's commission is in a payout already.",
                "Report a refund with POST /api/conversions/:id/refunds: it is netted off the next payout.",
            ),
            (Self::Approved, Decision::Approved) | (Self::Rejected, Decision::Rejected) => refuse(
                &format!("The conversion is {} already.", self.as_str()),
                "Nothing is left to do: GET /api/conversions/:id shows it.",
            ),
            (Self::Rejected, Decision::Approved) => refuse(
                "A rejected conversion stays rejected.",
                "Report the sale again with POST /api/conversions/track under another external_id.",
            ),
            (Self::Paid, _) => refuse(
                "The conversion's commission was paid out.",
                "Report a refund with POST /api/conversions/:id/refunds: it is netted off the next payout.",
            ),
            (Self::Reversed, _) => refuse(
                "The conversion was refunded in full.",
                "Report a new sale with POST /api/conversions/track.",
            ),
        }
    }
}

/// What an advertiser may say of a conversion.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It earns its commission.
    Approved,
    /// It earns nothing.
    Rejected,
}

/// Reads a column's word; the table's checks allow no other.
macro_rules! from_column {
    ($($name:ident: $($variant:ident),*;)*) => {$(
        impl TryFrom<String> for $name {
            type Error = UnknownWord;

            fn try_from(text: String) -> Result<Self, UnknownWord> {
                [$(Self::$variant),*].into_iter().find(|value| value.as_str() == text).ok_or(UnknownWord(text))
            }
        }
    )*};
}
from_column! {
    EventType: Lead, Sale;
    Status: Pending, Approved, Rejected, Paid, Reversed;
}

/// A column holds a word this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("unknown word `{0}`")]
pub struct UnknownWord(String);

/// The link a conversion is reported on, with everything that decides about it.
#[derive(Clone, Debug)]
pub struct Tracked {
    /// The link.
    pub link_id: LinkId,
    /// Its token.
    pub token: String,
    /// Whether it was deleted: its clicks may still lead to sales.
    pub link_deleted: bool,
    /// Its partnership.
    pub partnership_id: PartnershipId,
    /// `approved`, or it earns nothing.
    pub partnership_status: String,
    /// Its program.
    pub program_id: ProgramId,
    /// `active`, `paused`, `archived`.
    pub program_status: String,
    /// Who pays.
    pub advertiser_id: AgentId,
    /// The payer's account number.
    pub advertiser_number: i32,
    /// Who earns.
    pub affiliate_id: AgentId,
    /// What is paid now.
    pub terms: Terms,
    /// How long after a click a conversion is credited.
    pub attribution_days: i32,
    /// How long a commission waits before it may be paid out.
    pub hold_days: i32,
    /// After how long a pending conversion is approved by itself.
    pub auto_approve_days: i32,
    /// Classes of clicks that are metered and credited.
    pub pay_classes: ClassSet,
}

impl Tracked {
    /// Whether something may be credited to the link now.
    pub fn must_be_creditable(&self) -> Result<()> {
        if self.program_status == "archived" {
            return Err(Error::new(
                Code::InvalidState,
                "The program is archived.",
                "Report conversions on a program that is active or paused; GET /api/programs lists yours.",
            )
            .with("program_status", "archived"));
        }
        if self.partnership_status != "approved" {
            return Err(Error::new(
                Code::NotApproved,
                format!("The partnership of this link is {}.", self.partnership_status),
                format!(
                    "Approve it with PATCH /api/partnerships/{} and {{\"status\":\"approved\"}}, then report again.",
                    self.partnership_id
                ),
            )
            .with("partnership_status", self.partnership_status.as_str()));
        }
        Ok(())
    }

    /// When a click happened, if it may earn this link a conversion at `now`.
    pub fn attribute(
        &self,
        click: &ClickId,
        link: shared::LinkKey,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>> {
        if click.link != link {
            return Err(Error::invalid(
                "click_id",
                "The click belongs to another link than `tracking_token`.",
                "Send the tracking_token of the link that was clicked, or leave click_id out.",
            ));
        }
        // An edge whose clock runs ahead of ours makes clicks of the future; they happened by now.
        let clicked_at = DateTime::from_timestamp_millis(click.at_ms).unwrap_or(now).min(now);
        if now - clicked_at > TimeDelta::days(self.attribution_days.into()) {
            return Err(Error::new(
                Code::AttributionExpired,
                format!("The click is older than the program's {} days of attribution.", self.attribution_days),
                "Nothing is owed for it. To credit such sales, raise attribution_days with PATCH /api/programs/:id.",
            )
            .on_field("click_id")
            .with("clicked_at", crate::time::At(clicked_at).to_string())
            .with("attribution_days", self.attribution_days));
        }
        Ok(clicked_at)
    }
}

/// A conversion with its commission.
#[derive(Clone, Debug)]
pub struct Conversion {
    /// Its id.
    pub id: ConversionId,
    /// Who pays.
    pub advertiser_id: AgentId,
    /// The program.
    pub program_id: ProgramId,
    /// The partnership.
    pub partnership_id: PartnershipId,
    /// Who earns.
    pub affiliate_id: AgentId,
    /// The link.
    pub link_id: LinkId,
    /// The link's token.
    pub tracking_token: String,
    /// Lead or sale.
    pub event_type: EventType,
    /// The sale's amount.
    pub revenue: Option<Micros>,
    /// How much of it went back.
    pub refunded: Micros,
    /// `usd`.
    pub currency: String,
    /// The advertiser's own name for it.
    pub external_id: Option<String>,
    /// The click that earned it.
    pub click_id: Option<String>,
    /// When that click happened.
    pub clicked_at: Option<DateTime<Utc>>,
    /// Where it stands.
    pub status: Status,
    /// Why it was decided so.
    pub reason: Option<String>,
    /// When it is approved by itself.
    pub auto_approve_at: DateTime<Utc>,
    /// When it was reported.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When it was approved or rejected.
    pub decided_at: Option<DateTime<Utc>>,
    /// What it earns.
    pub commission: Commission,
}

impl Conversion {
    /// What its events say.
    pub fn as_event(&self) -> ConversionObject {
        ConversionObject {
            id: self.id,
            event_type: self.event_type.as_str().to_owned(),
            status: self.status.as_str().to_owned(),
            program_id: self.program_id,
            partnership_id: self.partnership_id,
            link_id: self.link_id,
            advertiser_id: self.advertiser_id,
            affiliate_id: self.affiliate_id,
            revenue_amount: self.revenue,
            commission_amount: self.commission.amount,
            currency: self.currency.clone(),
            external_id: self.external_id.clone(),
            click_id: self.click_id.clone(),
            reason: self.reason.clone(),
            created_at: self.created_at.into(),
        }
    }
}

/// The commission of a conversion.
#[derive(Clone, Debug)]
pub struct Commission {
    /// Its id.
    pub id: CommissionId,
    /// What is owed, refunds before its payout taken off.
    pub amount: Micros,
    /// The terms it was computed with.
    pub terms: Terms,
    /// Where it stands.
    pub status: Status,
    /// Not paid out before.
    pub payable_at: DateTime<Utc>,
    /// The payout that took it.
    pub payout_id: Option<PayoutId>,
}

#[cfg(test)]
#[path = "model/tests.rs"]
mod tests;
