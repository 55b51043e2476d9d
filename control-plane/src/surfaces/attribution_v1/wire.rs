//! JSON shapes of `/v1`: their words, prefixed ids, amounts as integers in minor units.

use crate::features::attribution::model::{CommissionLine, EventKind, TrackedEvent, Verified};
use crate::features::commissions::rules::Terms;
use crate::features::payouts::model::Payout;
use crate::time::At;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use shared::id;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};

/// What an agent did.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event {
    /// It recommended the merchant.
    Recommendation,
    /// Its user followed the recommendation.
    Click,
    /// It showed the recommendation.
    Impression,
}

impl From<Event> for EventKind {
    fn from(event: Event) -> Self {
        match event {
            Event::Recommendation => Self::Recommendation,
            Event::Click => Self::Click,
            Event::Impression => Self::Impression,
        }
    }
}

/// An attribution event.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TrackEventRequest)]
pub(super) struct TrackRequest {
    /// What the agent did.
    pub(super) event: Event,
    /// For whom: `merch_…`.
    #[schema(pattern = "^merch_[0-9a-f]{32}$", example = "merch_01a1fca40cee7239aeb24e15fd1e87b7")]
    pub(super) merchant_id: String,
    /// In which program; when left out, the one promoted already or the oldest that takes everybody.
    #[schema(format = "uuid")]
    pub(super) program_id: Option<String>,
    /// The merchant's product, at most 255 characters.
    #[schema(max_length = 255)]
    pub(super) product_id: Option<String>,
    /// One flat object, at most 20 members; `agent_runtime` is shown in the merchant's reports.
    #[serde(default)]
    #[schema(schema_with = metadata)]
    pub(super) metadata: Map<String, Value>,
}

fn metadata() -> ObjectBuilder {
    let plain = [Type::String, Type::Number, Type::Boolean, Type::Null];
    let value = ObjectBuilder::new().schema_type(SchemaType::from_iter(plain)).max_length(Some(500));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(
            "One flat object, at most 20 members; `agent_runtime` is shown in the merchant's reports.",
        ))
        .max_properties(Some(20))
        .property_names(Some(ObjectBuilder::new().schema_type(Type::String).max_length(Some(64))))
        .additional_properties(Some(Schema::from(value.pattern(Some("^[^\\u0000]*$")))))
        .examples([json!({"agent_runtime": "langchain"})])
}

/// A tracked event and its proof.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TrackEventResponse)]
pub(super) struct TrackResponse {
    event_id: String,
    /// Give it to the merchant with the order; valid for a day, for one order.
    slat_token: String,
    status: &'static str,
    created_at: At,
}

impl From<TrackedEvent> for TrackResponse {
    fn from(event: TrackedEvent) -> Self {
        Self {
            event_id: event.id.prefixed(),
            slat_token: event.slat_token,
            status: "tracked",
            created_at: event.created_at.into(),
        }
    }
}

/// A completed purchase.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyRequest {
    /// The merchant's order, 1 to 255 characters.
    #[schema(min_length = 1, max_length = 255)]
    pub(super) order_id: String,
    /// What was paid, in cents.
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    pub(super) amount: i64,
    /// `usd`.
    #[schema(pattern = "^usd$", example = "usd")]
    pub(super) currency: String,
    /// The proof; may be left out when the X-SL-Attribution header is sent.
    pub(super) slat_token: Option<String>,
}

/// A confirmed attribution.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VerifyResponse {
    verification_id: String,
    status: &'static str,
    commission: CommissionOwed,
}

#[derive(Debug, Serialize, ToSchema)]
struct CommissionOwed {
    /// In cents.
    amount: i64,
    currency: &'static str,
    /// `10%`, or `5 usd` for a fixed commission.
    rate: String,
    publisher_id: String,
}

impl VerifyResponse {
    pub(super) fn new(verified: &Verified) -> Self {
        let rate = match verified.terms {
            Terms::Percentage { .. } => format!("{}%", verified.terms.value()),
            Terms::Fixed { amount } => format!("{amount} usd"),
        };
        Self {
            verification_id: verified.id.prefixed(),
            status: "verified",
            commission: CommissionOwed {
                amount: verified.commission.whole_cents().unwrap_or_default(),
                currency: "usd",
                rate,
                publisher_id: id::publisher_name(verified.publisher),
            },
        }
    }
}

/// Which commissions.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CommissionsQuery {
    /// Only those in this state.
    #[param(inline)]
    pub(super) status: Option<CommissionStatus>,
    /// Rows at most.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub(super) limit: Option<i64>,
    /// Those after this `com_…`, the last of the page before.
    #[param(pattern = "^com_[0-9a-f]{32}$")]
    pub(super) after: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum CommissionStatus {
    Pending,
    Approved,
    Rejected,
    Paid,
    Reversed,
}

impl CommissionStatus {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Paid => "paid",
            Self::Reversed => "reversed",
        }
    }
}

/// A publisher's commissions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PublisherCommissionsResponse)]
pub(super) struct CommissionsResponse {
    pub(super) commissions: Vec<CommissionResponse>,
    /// Cents not decided yet, over all commissions.
    pub(super) total_pending: i64,
    /// Cents owed and not paid yet.
    pub(super) total_approved: i64,
    /// Cents paid.
    pub(super) total_paid: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PublisherCommission)]
pub(super) struct CommissionResponse {
    id: String,
    /// In cents; negative for what was taken back.
    amount: i64,
    currency: String,
    status: String,
    /// The merchant's display name: its own words, not ours.
    merchant: String,
    order_id: Option<String>,
    created_at: At,
}

impl From<CommissionLine> for CommissionResponse {
    fn from(line: CommissionLine) -> Self {
        Self {
            id: line.id.prefixed(),
            amount: line.amount.whole_cents().unwrap_or_default(),
            currency: line.currency,
            status: line.status,
            merchant: line.merchant,
            order_id: line.order_id,
            created_at: line.created_at.into(),
        }
    }
}

/// Where the money goes.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum PayoutMethod {
    /// To an address on the chain.
    Usdc,
    /// To the publisher's wallet here.
    Wallet,
}

/// A request to be paid.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PublisherPayoutRequest)]
pub(super) struct PayoutRequest {
    /// How.
    pub(super) method: PayoutMethod,
    /// `usdc`: where to, as EIP-55 writes it.
    #[schema(pattern = "^0x[0-9a-fA-F]{40}$", example = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")]
    pub(super) address: Option<String>,
}

/// The payouts a request made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PublisherPayoutsResponse)]
pub(super) struct PayoutsResponse {
    payouts: Vec<PayoutMade>,
    /// Cents, over all of them.
    total: i64,
    currency: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
struct PayoutMade {
    id: String,
    /// In cents.
    amount: i64,
    currency: String,
    /// `awaiting_funds`, `pending`, `processing`, `paid` or `failed`.
    status: String,
    merchant_id: String,
    created_at: At,
}

impl From<Vec<Payout>> for PayoutsResponse {
    fn from(payouts: Vec<Payout>) -> Self {
        let payouts: Vec<_> = payouts
            .into_iter()
            .map(|payout| PayoutMade {
                id: payout.id.prefixed(),
                amount: payout.amount_micros.whole_cents().unwrap_or_default(),
                currency: payout.currency,
                status: payout.status.as_str().to_owned(),
                merchant_id: id::merchant_name(payout.advertiser_id),
                created_at: payout.created_at.into(),
            })
            .collect();
        Self { total: payouts.iter().map(|payout| payout.amount).sum(), payouts, currency: "usd" }
    }
}
