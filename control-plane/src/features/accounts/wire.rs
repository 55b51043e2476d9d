//! JSON shapes of opening and closing an account.

use crate::features::agents::wire::SignUpResponse;
use crate::features::matching::ops::Told;
use crate::features::matching::wire::rounded;
use crate::features::partnerships::wire::ProgramSummary;
use crate::text::UNTRUSTED;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Suggestions shown at once; the rest is a call away.
const TOP: usize = 2;

/// A sign-up with everything to start at once.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuickstartResponse {
    /// The account, as sign-up gives it.
    #[serde(flatten)]
    pub account: SignUpResponse,
    /// What to do now, for either role.
    pub next_steps: NextSteps,
    /// Programs that were picked for the new account.
    pub pending_suggestions: PendingSuggestions,
}

/// Ready calls for both roles.
#[derive(Debug, Serialize, ToSchema)]
pub struct NextSteps {
    /// To have others promote you.
    pub advertiser: Vec<NextStep>,
    /// To promote others.
    pub affiliate: Vec<NextStep>,
}

/// One call to make.
#[derive(Debug, Serialize, ToSchema)]
pub struct NextStep {
    /// What it does.
    pub title: String,
    /// HTTP method.
    pub method: &'static str,
    /// Path under the API's origin; capital words are ids from earlier replies.
    pub path: String,
    /// JSON body, when the call has one.
    pub body: Option<serde_json::Value>,
    /// The same as a line for a shell, with the real key and origin.
    pub curl: String,
}

/// What was picked for an account, in few words.
#[derive(Debug, Serialize, ToSchema)]
pub struct PendingSuggestions {
    /// How many there are.
    pub count: usize,
    /// The best two.
    pub top: Vec<TopSuggestion>,
    /// The call that shows all of them.
    #[schema(example = "GET /api/match-suggestions")]
    pub action: &'static str,
    /// How to read texts of others.
    pub untrusted: &'static str,
}

/// A suggested program in few words.
#[derive(Debug, Serialize, ToSchema)]
pub struct TopSuggestion {
    /// The suggestion's id, for PATCH /api/match-suggestions/:id/respond.
    pub id: Uuid,
    /// 0 to 1.
    #[schema(minimum = 0, maximum = 1, example = 0.82)]
    pub score: f64,
    /// Why, in words.
    pub reasons: Vec<String>,
    /// The program.
    pub program: ProgramSummary,
}

impl PendingSuggestions {
    /// Of everything that waits, the best first.
    pub fn of(told: Vec<Told>) -> Self {
        let count = told.len();
        let top = told.into_iter().take(TOP).map(|Told { suggestion, program }| TopSuggestion {
            id: suggestion.id.uuid(),
            score: rounded(suggestion.score),
            reasons: suggestion.reasons,
            program: ProgramSummary {
                id: program.id.uuid(),
                status: program.status,
                commission_type: program.settings.commission.kind(),
                commission_value: program.settings.commission.value(),
                name: program.settings.name,
                url: program.settings.url,
            },
        });
        Self { count, top: top.collect(), action: "GET /api/match-suggestions", untrusted: UNTRUSTED }
    }
}
