//! JSON shapes of stats.

use super::model::Span;
use crate::features::usage::wire::UsageResponse;
use crate::money::Micros;
use crate::time::At;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Over which time.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatsQuery {
    /// The last 7, 30 or 90 days; 30 when left out.
    #[param(schema_with = span, example = 30)]
    pub days: Option<i64>,
}

fn span() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some([7, 30, 90])).default(Some(30.into()))
}

/// Everything an agent may want to know of itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AgentStatsResponse)]
pub struct StatsResponse {
    /// The agent.
    pub agent_id: Uuid,
    /// Of every amount: `usd`.
    #[schema(example = "usd")]
    pub currency: &'static str,
    /// Over which time, and what it is compared with.
    pub period: Period,
    /// Clicks.
    pub clicks: Clicks,
    /// Leads and sales.
    pub conversions: Conversions,
    /// Commissions of those.
    pub commissions: Commissions,
    /// What is used of this month's allowance.
    pub usage: UsageResponse,
    /// The wallet.
    pub wallet: WalletStats,
    /// Agents that came by this one.
    pub referral: ReferralStats,
}

/// A span of time.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Period {
    /// How many days.
    #[schema(example = 30)]
    pub days: i64,
    /// When it begins.
    pub from: At,
    /// When it ends: the end of the running hour.
    pub to: At,
    /// When the span before begins, which `previous` figures are of; it ends at `from`.
    pub previous_from: At,
}

impl From<Span> for Period {
    fn from(span: Span) -> Self {
        Self {
            days: span.days,
            from: span.from.into(),
            to: span.to.into(),
            previous_from: span.before.into(),
        }
    }
}

/// Clicks, on both sides.
#[derive(Debug, Serialize, ToSchema)]
pub struct Clicks {
    /// On the agent's own links.
    pub as_affiliate: ClickStats,
    /// On all links of the agent's programs.
    pub as_advertiser: ClickStats,
}

/// Clicks of one side.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct ClickStats {
    /// All of them.
    pub total: i64,
    /// Those of classes that the program pays for: metered and credited.
    pub counted: i64,
    /// All of them in the span before.
    pub previous_total: i64,
    /// By how many percent `total` is above `previous_total`; null when that is 0.
    pub change_percent: Option<i64>,
    /// By what made them, such as `human`, `agent`, `crawler`.
    #[schema(example = json!({"human": 200, "agent": 112}))]
    pub by_class: BTreeMap<&'static str, i64>,
    /// By day, UTC, the earliest first; days without clicks are left out.
    pub by_day: Vec<DayClicks>,
    /// The ten links with the most.
    pub by_link: Vec<LinkClicks>,
    /// The ten programs with the most.
    pub by_program: Vec<ProgramClicks>,
    /// The ten countries with the most, in whole days; empty while no country database is configured.
    pub by_country: Vec<SourceClicks>,
    /// The ten values of `sub1` with the most, in whole days.
    pub by_sub_id: Vec<SourceClicks>,
}

/// Clicks of a day.
#[derive(Debug, Serialize, ToSchema)]
pub struct DayClicks {
    /// The day, `YYYY-MM-DD`.
    #[schema(example = "2026-04-01")]
    pub date: String,
    /// Clicks.
    pub clicks: i64,
    /// Those metered and credited.
    pub counted: i64,
}

/// Clicks of a link.
#[derive(Debug, Serialize, ToSchema)]
pub struct LinkClicks {
    /// The link.
    pub link_id: Uuid,
    /// Where it leads.
    pub destination_url: String,
    /// Clicks.
    pub clicks: i64,
    /// Those metered and credited.
    pub counted: i64,
    /// Clicks in the span before.
    pub previous: i64,
}

/// Clicks of a program.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProgramClicks {
    /// The program.
    pub program_id: Uuid,
    /// Its name.
    pub program_name: String,
    /// Clicks.
    pub clicks: i64,
    /// Those metered and credited.
    pub counted: i64,
    /// Clicks in the span before.
    pub previous: i64,
}

/// Clicks of a country or a sub id.
#[derive(Debug, Serialize, ToSchema)]
pub struct SourceClicks {
    /// Two capital letters, or the sub id; `(other)` for sub ids beyond a link's 500 of a day.
    #[schema(example = "DE")]
    pub name: String,
    /// Clicks.
    pub clicks: i64,
    /// Clicks in the span before.
    pub previous: i64,
}

/// Leads and sales, on both sides.
#[derive(Debug, Serialize, ToSchema)]
pub struct Conversions {
    /// From the agent's own links.
    pub as_affiliate: ConversionStats,
    /// In the agent's programs.
    pub as_advertiser: ConversionStats,
}

/// Leads and sales of one side.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct ConversionStats {
    /// All of them.
    pub total: i64,
    /// Leads among them.
    pub leads: i64,
    /// Sales among them.
    pub sales: i64,
    /// Not decided yet.
    pub pending: i64,
    /// Approved or paid.
    pub approved: i64,
    /// Rejected or reversed.
    pub rejected: i64,
    /// What the sales were worth, refunds not subtracted; those in dollars.
    pub revenue: Micros,
    /// All of them in the span before.
    pub previous_total: i64,
    /// By how many percent `total` is above `previous_total`; null when that is 0.
    pub change_percent: Option<i64>,
}

/// Commissions, on both sides.
#[derive(Debug, Serialize, ToSchema)]
pub struct Commissions {
    /// Earned by the agent's own links.
    pub as_affiliate: CommissionStats,
    /// Owed or paid by the agent's programs.
    pub as_advertiser: CommissionStats,
}

/// Commissions of one side that arose in the span, by where they are now.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct CommissionStats {
    /// All that is not rejected, what was taken back subtracted.
    pub total: Micros,
    /// Not decided yet.
    pub pending: Micros,
    /// Approved and not paid out.
    pub approved: Micros,
    /// Paid out.
    pub paid: Micros,
    /// `total` of the span before.
    pub previous_total: Micros,
    /// By how many percent `total` is above `previous_total`; null when that is 0.
    pub change_percent: Option<i64>,
}

/// The wallet.
#[derive(Debug, Serialize, ToSchema)]
pub struct WalletStats {
    /// What is in it.
    pub balance: Micros,
    /// `usd`.
    #[schema(example = "usd")]
    pub currency: &'static str,
}

/// Agents that came by this one.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReferralStats {
    /// Give it to another agent, to sign up with as `referral_code`.
    #[schema(example = "0f3a9c51d2b7")]
    pub code: String,
    /// Agents that signed up with it.
    pub referred: i64,
    /// Those among them that signed up in the span.
    pub referred_in_period: i64,
    /// Those among all of them that have earned a commission.
    pub active: i64,
    /// What all of them have earned in commissions, rejected ones left out. It is theirs.
    pub commissions: Micros,
}

/// A week in short.
#[derive(Debug, Serialize, ToSchema)]
pub struct WeeklyDigestResponse {
    /// The agent.
    pub agent_id: Uuid,
    /// Which week.
    pub period: Period,
    /// The figures worth a line; empty after a week without any.
    pub highlights: Vec<Highlight>,
    /// The week in a sentence or two, for people.
    #[schema(example = "Your links brought 312 clicks and 8 conversions, worth $158.4 in commissions.")]
    pub summary: String,
    /// The link with the most clicks, if any was clicked.
    pub top_link: Option<LinkClicks>,
    /// What to do next.
    pub cta: NextAction,
}

/// A figure and the one a week before.
#[derive(Debug, Serialize, ToSchema)]
pub struct Highlight {
    /// Of what.
    #[schema(example = "Clicks on your links")]
    pub title: &'static str,
    /// How many or how much, as text.
    #[schema(example = "312")]
    pub value: String,
    /// The same a week before.
    #[schema(example = "208")]
    pub previous: String,
    /// By how many percent it grew; null when there was nothing before.
    pub change_percent: Option<i64>,
}

/// The call that helps most now.
#[derive(Debug, Serialize, ToSchema)]
pub struct NextAction {
    /// What it is for.
    #[schema(example = "Make your first tracking link.")]
    pub text: String,
    /// Method.
    #[schema(example = "POST")]
    pub method: &'static str,
    /// Path; put your own id in place of a word in capitals.
    #[schema(example = "/api/partnerships/PARTNERSHIP_ID/links")]
    pub path: &'static str,
}
