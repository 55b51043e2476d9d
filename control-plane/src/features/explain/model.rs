//! The words of an explanation. Pure.

use crate::money::Micros;
use crate::time::At;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal;)*) => {
        /// Why. Stable, to match on.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
        pub enum Reason { $($(#[doc = $doc])* #[serde(rename = $text)] $name,)* }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The text in `reason`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What it means, for the documentation.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*).trim_ascii(),)* }
            }
        }
    };
}

reasons! {
    /// An edge made the id when it redirected the visitor
    ByRedirect = "by_redirect";
    /// The id was made for a report by POST /api/conversions/track-click
    ByReport = "by_report";
    /// The click is in the database
    Stored = "stored";
    /// The edge's clock was out of range: the time of arrival counts
    StoredTimeCorrected = "stored_time_corrected";
    /// The click is on its way from the edge; it arrives within seconds, after a fault within a week
    NotStoredYet = "not_stored_yet";
    /// The click's day is older than clicks are kept; it stays in every sum
    RowDropped = "row_dropped";
    /// The click is of a class in the program's pay_classes: it is counted and metered
    ClassCounted = "class_counted";
    /// The click is of a class outside the program's pay_classes: it is kept, neither counted nor metered
    ClassNotCounted = "class_not_counted";
    /// The same visitor had clicked the link within dedup_seconds: it is kept, not counted again
    Duplicate = "duplicate";
    /// Every click of that month was within the plan's allowance
    WithinAllowance = "within_allowance";
    /// The month's allowance was used up: it was, or part of the month's clicks were, paid from the wallet
    PaidFromWallet = "paid_from_wallet";
    /// Allowance and wallet were used up during that month: some of its clicks were recorded, unbilled
    OverLimit = "over_limit";
    /// In some hour of that month a link had far more clicks than usual: those above its cap were recorded, unbilled
    LinkCapped = "link_capped";
    /// No conversion names this click, and one still may
    AttributionOpen = "attribution_open";
    /// No conversion names this click, and it is too old for one
    AttributionClosed = "attribution_closed";
    /// This conversion names this click
    ConversionCredited = "conversion_credited";
    /// The advertiser reported it on this link, so it is credited to the link's affiliate
    CreditedByLink = "credited_by_link";
    /// The merchant verified an attribution token or header, so it is credited to the publisher it names
    CreditedByToken = "credited_by_token";
    /// The report named a click on this link within attribution_days
    ClickInWindow = "click_in_window";
    /// The report named no click: the link alone decides
    NoClickNamed = "no_click_named";
    /// A percentage of the sale, rounded half to even to the cent
    PercentageOfSale = "percentage_of_sale";
    /// A fixed amount for each lead or sale
    FixedAmount = "fixed_amount";
    /// A lead in a program that pays a percentage of sales
    LeadEarnsNothing = "lead_earns_nothing";
    /// A refund before the payout: the commission shrank
    RefundShrank = "refund_shrank";
    /// A refund after the payout: a negative commission is netted off the next one
    RefundReversed = "refund_reversed";
    /// The advertiser has not decided; it is approved by itself at auto_approve_at
    AwaitingDecision = "awaiting_decision";
    /// The advertiser approved it
    ApprovedByAdvertiser = "approved_by_advertiser";
    /// It was left pending for auto_approve_days and approved by itself
    ApprovedByItself = "approved_by_itself";
    /// The advertiser rejected it
    RejectedByAdvertiser = "rejected_by_advertiser";
    /// The sale went back in full
    RefundedInFull = "refunded_in_full";
    /// It earns nothing, so there is nothing to pay
    NothingOwed = "nothing_owed";
    /// It cannot be paid before it is approved
    NotApproved = "not_approved";
    /// The program's hold_days are not over
    OnHold = "on_hold";
    /// What is payable to the affiliate is below the program's min_payout
    BelowMinimum = "below_minimum";
    /// The next payout takes it
    Payable = "payable";
    /// A payout has taken it and is on its way
    InPayout = "in_payout";
    /// It was paid out
    PaidOut = "paid_out";
}

impl PartialSchema for Reason {
    fn schema() -> RefOr<Schema> {
        let lines = Self::ALL.iter().map(|reason| format!("- `{}`: {}", reason.as_str(), reason.meaning()));
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(Self::ALL.iter().map(|reason| reason.as_str())))
            .description(Some(format!(
                "Why; stable, to match on.\n\n{}",
                lines.collect::<Vec<_>>().join("\n")
            )))
            .into()
    }
}

impl ToSchema for Reason {
    fn name() -> Cow<'static, str> {
        "Reason".into()
    }
}

/// One step of an explanation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplanationStep)]
pub struct Step {
    /// What this step is about.
    #[schema(example = "commission")]
    pub step: &'static str,
    /// Why it went as it went.
    pub reason: Reason,
    /// The same in a sentence.
    #[schema(example = "20% of the sale of $99 is $19.8.")]
    pub text: String,
    /// The numbers and names it was computed with.
    #[schema(value_type = Object)]
    pub figures: Map<String, Value>,
    /// When it happened or will happen.
    pub at: Option<At>,
}

impl Step {
    /// A step with its sentence.
    pub fn new(step: &'static str, reason: Reason, text: impl Into<String>) -> Self {
        Self { step, reason, text: text.into(), figures: Map::new(), at: None }
    }

    /// Adds a figure.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.figures.insert(name.to_owned(), value.into());
        self
    }

    /// Adds an amount, exactly.
    #[must_use]
    pub fn amount(self, name: &str, value: Micros) -> Self {
        self.with(name, value.to_json())
    }

    /// Says when.
    #[must_use]
    pub fn at(mut self, at: DateTime<Utc>) -> Self {
        self.at = Some(at.into());
        self
    }
}

/// Why a click was counted or not, and what it led to.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClickExplanation {
    /// The click.
    #[schema(max_length = 43)]
    pub click_id: String,
    /// The link that was clicked.
    pub link_id: Uuid,
    /// The link's token.
    pub tracking_token: String,
    /// The program.
    pub program_id: Uuid,
    /// Whose link it is.
    pub affiliate_id: Uuid,
    /// Whose program it is, and who is metered.
    pub advertiser_id: Uuid,
    /// When it happened.
    pub clicked_at: At,
    /// Whether it is counted; `null` while it is not known, or not known any more.
    pub counted: Option<bool>,
    /// The steps, in the order they happen.
    pub steps: Vec<Step>,
}

/// Why a conversion was credited, to whom, what it earns and when that is paid.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversionExplanation {
    /// The conversion.
    pub conversion_id: Uuid,
    /// The program.
    pub program_id: Uuid,
    /// Who earns.
    pub affiliate_id: Uuid,
    /// Who pays.
    pub advertiser_id: Uuid,
    /// Where it stands.
    pub status: crate::features::conversions::model::Status,
    /// What it earns now.
    pub commission_amount: Micros,
    /// `usd`.
    pub currency: String,
    /// The steps, in the order they happen; the last says what is left to happen.
    pub steps: Vec<Step>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_unique_and_each_has_a_meaning() {
        let mut seen: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), Reason::ALL.len());
        assert!(Reason::ALL.iter().all(|reason| reason.meaning().len() > 10));
    }
}
