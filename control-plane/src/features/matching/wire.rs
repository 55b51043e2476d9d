//! JSON shapes of matching.

use super::model::{Decision, Match, SuggestionStatus};
use super::ops::{Charge, Told};
use super::rank::Narrowed;
use crate::error::{Error, Result};
use crate::features::partnerships::wire::PartnershipResponse;
use crate::features::programs::model::{CommissionType, Program};
use crate::features::programs::wire::ProgramResponse;
use crate::money::Micros;
use crate::named::named;
use crate::page::{List, PageQuery};
use crate::text;
use crate::time::At;
use serde::{Deserialize, Serialize};
use shared::id::ProgramId;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Recommendations of one request unless asked otherwise, and at most.
const LIMIT_DEFAULT: i64 = 10;
const LIMIT_MAX: i64 = 50;

/// Prospects of one request unless asked otherwise, and at most.
const OUTREACH_DEFAULT: i64 = 50;
const OUTREACH_MAX: i64 = 200;

/// What to recommend.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RecommendationsQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 50, default = 10)]
    pub limit: Option<i64>,
    /// Only programs of this field, in any case of letters.
    #[param(max_length = 60, example = "saas")]
    pub niche: Option<String>,
    /// Only programs that pay like this.
    #[param(inline)]
    pub commission_type: Option<CommissionType>,
}

impl RecommendationsQuery {
    /// How many.
    pub fn limit(&self) -> Result<usize> {
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        usize::try_from(limit).ok().filter(|_| (1..=LIMIT_MAX).contains(&limit)).ok_or_else(|| {
            Error::invalid("limit", format!("`limit` is {limit}."), "Send `limit` from 1 to 50.")
        })
    }

    /// What narrows it.
    pub fn narrowed(&self) -> Result<Narrowed> {
        let niche = self.niche.as_deref().map(|niche| text::line("niche", niche, 60)).transpose()?;
        Ok(Narrowed { niche, commission_type: self.commission_type })
    }
}

impl Narrowed {
    /// The name of the question, for its price: the same programs asked for again, in whatever number.
    pub fn name(&self) -> String {
        let niche = self.niche.as_deref().unwrap_or_default().to_lowercase();
        let commission_type = self.commission_type.map_or("", CommissionType::as_str);
        format!("recommendations {commission_type} {niche}")
    }
}

/// Programs that suit an agent.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecommendationsResponse {
    /// For whom.
    pub agent_id: Uuid,
    /// The programs, the best first. Never the agent's own, nor one it has joined or declined.
    pub data: Vec<Recommendation>,
    /// What this request cost; `X-Charged` says the amount too.
    pub charge: ChargeResponse,
    /// How to get better matches, when the profile says too little.
    pub hint: Option<&'static str>,
    /// How to read texts of others.
    pub untrusted: &'static str,
}

/// A program that suits.
#[derive(Debug, Serialize, ToSchema)]
pub struct Recommendation {
    /// 0 to 1.
    #[schema(minimum = 0, maximum = 1, example = 0.82)]
    pub score: f64,
    /// Why, in words.
    #[schema(example = json!(["Both are about saas", "A click earns $0.12 on average"]))]
    pub reasons: Vec<String>,
    /// It has this place so that it gets known: nobody has measured yet what it earns.
    pub exploration: bool,
    /// The program. Its texts are its advertiser's words.
    pub program: ProgramResponse,
}

impl Recommendation {
    /// A match and its program.
    pub fn new(found: Match, program: Program) -> Self {
        Self {
            score: rounded(found.score),
            reasons: found.reasons,
            exploration: found.exploration,
            program: program.into(),
        }
    }
}

/// Four decimals say all there is.
pub(crate) fn rounded(score: f64) -> f64 {
    (score * 1e4).round() / 1e4
}

/// What a request cost.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChargeResponse {
    /// What the wallet paid; 0 within the monthly allowance.
    #[schema(example = 0.05)]
    pub amount: Micros,
    /// Currency of amounts.
    #[schema(example = "usd")]
    pub currency: &'static str,
    /// Whether it counts among this month's matching requests: not when it found nothing or repeats one of
    /// the last ten minutes.
    pub counted: bool,
}

impl From<Charge> for ChargeResponse {
    fn from(charge: Charge) -> Self {
        Self { amount: charge.amount, currency: "usd", counted: charge.counted }
    }
}

/// A program that was suggested to an agent.
#[derive(Debug, Serialize, ToSchema)]
pub struct MatchSuggestionResponse {
    /// The suggestion's id.
    pub id: Uuid,
    /// To whom it was made.
    pub agent_id: Uuid,
    /// What became of it.
    pub status: SuggestionStatus,
    /// 0 to 1, as it was then.
    #[schema(minimum = 0, maximum = 1, example = 0.82)]
    pub score: f64,
    /// Why, in words.
    #[schema(example = json!(["Both are about saas"]))]
    pub reasons: Vec<String>,
    /// The program as it is now. Its texts are its advertiser's words.
    pub program: ProgramResponse,
    /// When it was made.
    pub created_at: At,
    /// When it was answered.
    pub responded_at: Option<At>,
}

impl From<Told> for MatchSuggestionResponse {
    fn from(told: Told) -> Self {
        let Told { suggestion, program } = told;
        Self {
            id: suggestion.id.uuid(),
            agent_id: suggestion.agent_id.uuid(),
            status: suggestion.status,
            score: rounded(suggestion.score),
            reasons: suggestion.reasons,
            program: program.into(),
            created_at: suggestion.created_at.into(),
            responded_at: suggestion.responded_at.map(At::from),
        }
    }
}

/// Which suggestions, newest first.
#[derive(Debug, Default, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListSuggestionsQuery {
    /// What became of them; all when left out.
    #[param(inline)]
    pub status: Option<SuggestionStatus>,
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

impl ListSuggestionsQuery {
    /// The page asked for.
    pub fn page(&self) -> Result<crate::page::Page> {
        PageQuery { page: self.page, per_page: self.per_page }
            .checked_from(self.cursor.as_deref(), List::Suggestions.order())
    }
}

/// Suggestions that wait for an answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct PendingSuggestionsResponse {
    /// How many there are.
    pub count: usize,
    /// All of them, the best first.
    pub data: Vec<MatchSuggestionResponse>,
    /// How to answer one.
    #[schema(example = "PATCH /api/match-suggestions/:id/respond")]
    pub action: &'static str,
    /// How to read texts of others.
    pub untrusted: &'static str,
}

/// An answer to a suggestion.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"decision": "accept", "message": "I can distribute this to AI founders."}))]
pub struct RespondRequest {
    /// `accept` joins the program, `decline` never shows it again.
    pub decision: Decision,
    /// With `accept`: a word to the advertiser, at most 1,000 characters.
    #[schema(max_length = 1000)]
    pub message: Option<String>,
}

/// A suggestion that was answered.
#[derive(Debug, Serialize, ToSchema)]
pub struct RespondResponse {
    /// The suggestion as it is now.
    #[serde(flatten)]
    pub suggestion: MatchSuggestionResponse,
    /// The partnership, when it was accepted: approved at once or waiting for the advertiser.
    pub partnership: Option<PartnershipResponse>,
}

named! {
    /// Where somebody who could promote a program is.
    OutreachSource {
        /// An agent of this network.
        Nanocorp = "nanocorp",
        /// Outside, from a list of the operator.
        External = "external",
        /// Either.
        All = "all",
    }
}

/// For which program, and whom.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OutreachQuery {
    /// One of your programs.
    pub program_id: Uuid,
    /// Where to look; everywhere when left out.
    #[param(inline)]
    pub source: Option<OutreachSource>,
    /// How many at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<i64>,
}

impl OutreachQuery {
    /// The program.
    pub fn program(&self) -> ProgramId {
        ProgramId::from_uuid(self.program_id)
    }

    /// Where to look.
    pub fn source(&self) -> OutreachSource {
        self.source.unwrap_or(OutreachSource::All)
    }

    /// How many.
    pub fn limit(&self) -> Result<usize> {
        let limit = self.limit.unwrap_or(OUTREACH_DEFAULT);
        usize::try_from(limit).ok().filter(|_| (1..=OUTREACH_MAX).contains(&limit)).ok_or_else(|| {
            Error::invalid("limit", format!("`limit` is {limit}."), "Send `limit` from 1 to 200.")
        })
    }
}

/// Who could promote a program.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutreachResponse {
    /// The program.
    pub program_id: Uuid,
    /// Where was looked.
    pub source: OutreachSource,
    /// The likeliest first.
    pub data: Vec<OutreachSuggestion>,
    /// How to read texts of others.
    pub untrusted: &'static str,
}

/// Somebody who could promote a program. What it says of itself is its own words.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutreachSuggestion {
    /// `nanocorp` for an agent of this network, `external` for others.
    pub source: OutreachSource,
    /// The agent's id or the prospect's.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// An agent's handle.
    pub handle: Option<String>,
    /// Its field.
    pub niche: Option<String>,
    /// Whom it reaches.
    pub audience_type: Option<String>,
    /// Its site.
    pub website_url: Option<String>,
    /// Where an external prospect is reached.
    pub contact: Option<String>,
    /// 0 to 1.
    #[schema(minimum = 0, maximum = 1, example = 0.82)]
    pub score: f64,
    /// Why, in words.
    pub reasons: Vec<String>,
    /// A message to send as it is.
    pub invite_message: String,
}
