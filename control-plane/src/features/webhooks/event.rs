//! The list of events: what can happen, to whom it is told, and what is said about it.
//!
//! To add one: a variant here, its name in [`EventType`], one `emit` where it happens. What is said about
//! an object is a promise to receivers: members are added, never changed; anything else is a new
//! [`VERSION`] beside the old one.

use super::wire::{Head, render};
use crate::money::Micros;
use crate::time::At;
use serde::{Deserialize, Serialize};
use shared::id::{AgentId, ConversionId, LinkId, PartnershipId, PayoutId, ProgramId, SuggestionId};
use std::str::FromStr;
use utoipa::ToSchema;
use uuid::Uuid;

/// The version of every object's shape.
pub const VERSION: u8 = 1;

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// An affiliate asked to join a program, or joined it.
    AffiliateJoined(PartnershipObject),
    /// An affiliate may promote the program from now on.
    AffiliateApproved(PartnershipObject),
    /// A lead or sale was reported.
    ConversionCreated(ConversionObject),
    /// A conversion earns its commission.
    ConversionApproved(ConversionObject),
    /// A conversion earns nothing.
    ConversionRejected(ConversionObject),
    /// A payout was made, was paid, or failed: see its `status`.
    PayoutProcessed(PayoutObject),
    /// An agent's usdc payouts go elsewhere from a moment on.
    PayoutAddressChanged(PayoutAddressObject),
    /// A link bills far above its mean; the advertiser is not billed for the rest.
    LinkCapped(LinkCappedObject),
    /// An affiliate was suggested to a program's advertiser.
    MatchSuggested(SuggestionObject),
    /// A program was suggested to an affiliate.
    MatchProgramSuggested(SuggestionObject),
}

macro_rules! event_types {
    // `tt`, not `literal`: the derive of the description does not see through a literal that was captured.
    ($($(#[doc = $doc:literal])* $name:ident = $text:tt;)*) => {
        /// The names of events.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        pub enum EventType { $($(#[doc = $doc])* #[serde(rename = $text)] $name,)* }

        impl EventType {
            /// Every type, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What it reports, for the documentation.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*),)* }
            }
        }

        impl EventType {
            /// Every name, for messages.
            pub fn list() -> String {
                [$(concat!("`", $text, "`")),*].join(", ")
            }
        }

        impl Event {
            /// Its name.
            pub const fn event_type(&self) -> EventType {
                match self { $(Self::$name(_) => EventType::$name,)* }
            }
        }
    };
}

event_types! {
    /// An affiliate asked to join a program, or joined it
    AffiliateJoined = "affiliate.joined";
    /// An affiliate may promote the program from now on
    AffiliateApproved = "affiliate.approved";
    /// A lead or sale was reported
    ConversionCreated = "conversion.created";
    /// A conversion earns its commission
    ConversionApproved = "conversion.approved";
    /// A conversion earns nothing
    ConversionRejected = "conversion.rejected";
    /// A payout was made, was paid, or failed
    PayoutProcessed = "payout.processed";
    /// Your usdc payouts are to go to another address; nothing is paid to it for 72 hours
    PayoutAddressChanged = "payout.address_changed";
    /// A link to one of your programs is clicked far more than usual; clicks above its cap are not billed
    LinkCapped = "link.capped";
    /// An affiliate was suggested to you for one of your programs
    MatchSuggested = "match.suggested";
    /// A program was suggested to you to promote
    MatchProgramSuggested = "match.program_suggested";
}

// By hand: the derive reads `rename` only where it is written out, not where a macro puts it.
impl utoipa::PartialSchema for EventType {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::SchemaType::Type(utoipa::openapi::Type::String))
            .enum_values(Some(Self::ALL.iter().map(|event| event.as_str())))
            .description(Some("The name of an event."))
            .into()
    }
}

impl ToSchema for EventType {
    fn name() -> std::borrow::Cow<'static, str> {
        "EventType".into()
    }
}

/// A stored name this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("unknown event type")]
pub struct UnknownEventType;

impl FromStr for EventType {
    type Err = UnknownEventType;

    fn from_str(text: &str) -> Result<Self, UnknownEventType> {
        Self::ALL.iter().copied().find(|known| known.as_str() == text).ok_or(UnknownEventType)
    }
}

/// What an event is about, and who is told.
pub(super) trait Object {
    /// What sequences are counted for.
    fn object_id(&self) -> Uuid;
    /// The sides of it.
    fn audience(&self) -> Vec<AgentId>;
    /// The event's text.
    fn render(&self, head: &Head) -> serde_json::Result<String>;
}

impl Event {
    /// The id of what it is about.
    pub fn object_id(&self) -> Uuid {
        self.object().object_id()
    }

    /// What it is about.
    pub(super) fn object(&self) -> &dyn Object {
        match self {
            Self::AffiliateJoined(object) | Self::AffiliateApproved(object) => object,
            Self::ConversionCreated(object)
            | Self::ConversionApproved(object)
            | Self::ConversionRejected(object) => object,
            Self::PayoutProcessed(object) => object,
            Self::PayoutAddressChanged(object) => object,
            Self::LinkCapped(object) => object,
            Self::MatchSuggested(object) | Self::MatchProgramSuggested(object) => object,
        }
    }
}

/// An affiliate in a program.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PartnershipObject {
    /// The partnership's id.
    #[schema(value_type = Uuid)]
    pub id: PartnershipId,
    /// `pending`, `approved`, …
    #[schema(example = "approved")]
    pub status: String,
    /// The program.
    #[schema(value_type = Uuid)]
    pub program_id: ProgramId,
    /// Its name.
    #[schema(example = "My SaaS")]
    pub program_name: String,
    /// Whose program it is.
    #[schema(value_type = Uuid)]
    pub advertiser_id: AgentId,
    /// Who promotes it.
    #[schema(value_type = Uuid)]
    pub affiliate_id: AgentId,
    /// The affiliate's name.
    #[schema(example = "GPT4Shopper")]
    pub affiliate_name: String,
    /// Its handle.
    #[schema(example = "gpt4-shopper")]
    pub affiliate_handle: String,
    /// What the affiliate wrote when it joined.
    pub message: Option<String>,
    /// When it joined.
    pub created_at: At,
}

/// A lead or sale.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConversionObject {
    /// The conversion's id.
    #[schema(value_type = Uuid)]
    pub id: ConversionId,
    /// `lead` or `sale`.
    #[schema(example = "sale")]
    pub event_type: String,
    /// `pending`, `approved`, `rejected`.
    #[schema(example = "pending")]
    pub status: String,
    /// The program.
    #[schema(value_type = Uuid)]
    pub program_id: ProgramId,
    /// The partnership.
    #[schema(value_type = Uuid)]
    pub partnership_id: PartnershipId,
    /// The link it is credited to.
    #[schema(value_type = Uuid)]
    pub link_id: LinkId,
    /// Who pays.
    #[schema(value_type = Uuid)]
    pub advertiser_id: AgentId,
    /// Who earns.
    #[schema(value_type = Uuid)]
    pub affiliate_id: AgentId,
    /// A sale's amount.
    pub revenue_amount: Option<Micros>,
    /// What it earns.
    pub commission_amount: Micros,
    /// `usd`.
    #[schema(example = "usd")]
    pub currency: String,
    /// The advertiser's own name for it.
    #[schema(example = "order-456")]
    pub external_id: Option<String>,
    /// The click that led to it.
    pub click_id: Option<String>,
    /// Why it was decided so.
    pub reason: Option<String>,
    /// When it was reported.
    pub created_at: At,
}

/// Money on its way to an affiliate.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PayoutObject {
    /// The payout's id.
    #[schema(value_type = Uuid)]
    pub id: PayoutId,
    /// `awaiting_funds`, `pending`, `processing`, `paid`, `failed`.
    #[schema(example = "paid")]
    pub status: String,
    /// `wallet`, `usdc`, `external`.
    #[schema(example = "wallet")]
    pub method: String,
    /// The program it is for.
    #[schema(value_type = Uuid)]
    pub program_id: ProgramId,
    /// Who pays.
    #[schema(value_type = Uuid)]
    pub advertiser_id: AgentId,
    /// Who is paid.
    #[schema(value_type = Uuid)]
    pub affiliate_id: AgentId,
    /// How much.
    pub amount: Micros,
    /// `usd`.
    #[schema(example = "usd")]
    pub currency: String,
    /// How many commissions it covers.
    pub commission_count: i64,
    /// What names the payment outside, such as a transaction.
    pub reference: Option<String>,
    /// Why it failed.
    pub failure: Option<String>,
    /// When it was made.
    pub created_at: At,
    /// When it was paid.
    pub paid_at: Option<At>,
}

/// Where an agent's usdc payouts go.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PayoutAddressObject {
    /// The agent's id.
    #[schema(value_type = Uuid)]
    pub id: AgentId,
    /// The address, as EIP-55 writes it.
    #[schema(example = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")]
    pub address: String,
    /// Paid to from then on; set the old address again before, if it was not you, and rotate your key.
    pub usable_at: At,
}

/// A link in an hour in which clicks on it were capped.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct LinkCappedObject {
    /// The link's id.
    #[schema(value_type = Uuid)]
    pub id: LinkId,
    /// Its token.
    #[schema(example = "0ECBc2xYuhVeaNv0")]
    pub token: String,
    /// The program.
    #[schema(value_type = Uuid)]
    pub program_id: ProgramId,
    /// The partnership; suspend it if its clicks are not people's.
    #[schema(value_type = Uuid)]
    pub partnership_id: PartnershipId,
    /// Who would pay.
    #[schema(value_type = Uuid)]
    pub advertiser_id: AgentId,
    /// Whose link it is.
    #[schema(value_type = Uuid)]
    pub affiliate_id: AgentId,
    /// When the hour begins.
    #[sqlx(try_from = "chrono::DateTime<chrono::Utc>")]
    pub hour: At,
    /// Clicks beyond the allowance that may be billed in this hour: ten times the link's hourly mean of the
    /// week before, at least 5,000.
    #[schema(example = 5000)]
    pub cap: i64,
    /// Clicks above it so far: recorded and redirected, not billed. `clicks_capped` of the link goes on counting.
    #[schema(example = 1200)]
    pub capped: i64,
}

/// A program and an affiliate that could suit each other.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SuggestionObject {
    /// The suggestion's id.
    #[schema(value_type = Uuid)]
    pub id: SuggestionId,
    /// To whom it is made.
    #[schema(value_type = Uuid)]
    pub agent_id: AgentId,
    /// The program.
    #[schema(value_type = Uuid)]
    pub program_id: ProgramId,
    /// Its name.
    #[schema(example = "My SaaS")]
    pub program_name: String,
    /// The affiliate.
    #[schema(value_type = Uuid)]
    pub affiliate_id: AgentId,
    /// 0 to 1.
    #[schema(minimum = 0, maximum = 1, example = 0.82)]
    pub score: f64,
    /// Why, in words.
    pub reasons: Vec<String>,
    /// When it was made.
    pub created_at: At,
}

/// A pair that the matching has found.
#[derive(Clone, Debug)]
pub struct Suggested {
    /// The suggestion's id.
    pub id: SuggestionId,
    /// The program.
    pub program_id: ProgramId,
    /// Its name.
    pub program_name: String,
    /// Whose program it is.
    pub advertiser_id: AgentId,
    /// Who could promote it.
    pub affiliate_id: AgentId,
    /// 0 to 1.
    pub score: f64,
    /// Why, in words.
    pub reasons: Vec<String>,
    /// When it was found.
    pub created_at: At,
}

impl Suggested {
    /// What each side is told: the affiliate of a program to promote, the advertiser of an affiliate.
    pub fn events(&self) -> [Event; 2] {
        let told = |agent_id| SuggestionObject {
            id: self.id,
            agent_id,
            program_id: self.program_id,
            program_name: self.program_name.clone(),
            affiliate_id: self.affiliate_id,
            score: self.score,
            reasons: self.reasons.clone(),
            created_at: self.created_at,
        };
        [
            Event::MatchProgramSuggested(told(self.affiliate_id)),
            Event::MatchSuggested(told(self.advertiser_id)),
        ]
    }
}

macro_rules! objects {
    ($($object:ident = $name:literal, told: $($side:ident),+;)*) => {$(
        impl Object for $object {
            fn object_id(&self) -> Uuid {
                self.id.uuid()
            }

            fn audience(&self) -> Vec<AgentId> {
                vec![$(self.$side),+]
            }

            fn render(&self, head: &Head) -> serde_json::Result<String> {
                render(head, $name, self)
            }
        }
    )*};
}

objects! {
    PartnershipObject = "partnership", told: advertiser_id, affiliate_id;
    ConversionObject = "conversion", told: advertiser_id, affiliate_id;
    PayoutObject = "payout", told: advertiser_id, affiliate_id;
    PayoutAddressObject = "payout_address", told: id;
    // Not the affiliate: it may be who clicks.
    LinkCappedObject = "link", told: advertiser_id;
    SuggestionObject = "suggestion", told: agent_id;
}
