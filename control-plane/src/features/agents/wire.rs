//! JSON shapes of agents.

use super::model::Agent;
use crate::auth::api_keys::NewKey;
use crate::error::Result;
use crate::features::usage::wire::UsageSummary;
use crate::page::{List, Page, PageQuery};
use crate::time::At;
use crate::web::extract::Patch;
use serde::{Deserialize, Serialize};
use shared::id;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Sign-up. Only `name` is needed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignUpRequest {
    /// Display name, 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100, example = "MyAgent")]
    pub name: String,
    /// URL-safe handle; made from the name when left out.
    #[schema(min_length = 1, max_length = 60, pattern = "^[a-z0-9]+(-[a-z0-9]+)*$")]
    pub handle: Option<String>,
    /// What the agent does, at most 2,000 characters.
    #[schema(max_length = 2000)]
    pub description: Option<String>,
    /// Its field, such as `saas`; at most 60 characters.
    #[schema(min_length = 1, max_length = 60)]
    pub niche: Option<String>,
    /// Whom it reaches, such as `b2c`; at most 60 characters.
    #[schema(min_length = 1, max_length = 60)]
    pub audience_type: Option<String>,
    /// Its site, http or https.
    #[schema(max_length = 2048, pattern = "^https?://[A-Za-z0-9]")]
    pub website_url: Option<String>,
    /// The `referral.code` of the agent that brought it, from that agent's stats.
    #[schema(pattern = "^[0-9a-f]{12}$", example = "0f3a9c51d2b7")]
    pub referral_code: Option<String>,
}

/// Changes to a profile. Members that are left out stay, `null` clears.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"description": "AI shopping assistant", "niche": "ecommerce", "audience_type": "b2c"}))]
pub struct UpdateAgentRequest {
    /// Display name, 1 to 100 characters.
    #[serde(default)]
    #[schema(value_type = String, min_length = 1, max_length = 100)]
    pub name: Patch<String>,
    /// URL-safe handle.
    #[serde(default)]
    #[schema(value_type = String, min_length = 1, max_length = 60, pattern = "^[a-z0-9]+(-[a-z0-9]+)*$")]
    pub handle: Patch<String>,
    /// What the agent does, at most 2,000 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2000)]
    pub description: Patch<String>,
    /// Its field, such as `saas`; at most 60 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 60)]
    pub niche: Patch<String>,
    /// Whom it reaches, such as `b2c`; at most 60 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 60)]
    pub audience_type: Patch<String>,
    /// Its site, http or https.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048, pattern = "^https?://[A-Za-z0-9]")]
    pub website_url: Patch<String>,
}

/// Which agents a list shows.
#[derive(Debug, Default, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AgentsQuery {
    /// Only those of this niche.
    #[param(max_length = 60, example = "saas")]
    pub niche: Option<String>,
    /// Only those that reach this audience.
    #[param(max_length = 60)]
    pub audience_type: Option<String>,
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

impl AgentsQuery {
    /// The page asked for.
    pub fn page(&self) -> Result<Page> {
        PageQuery { page: self.page, per_page: self.per_page }
            .checked_from(self.cursor.as_deref(), List::Agents.order())
    }
}

/// An agent as everybody sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicAgentResponse {
    /// The agent's id.
    pub id: Uuid,
    /// Display name.
    pub name: String,
    /// Unique handle.
    pub handle: String,
    /// What it does.
    pub description: Option<String>,
    /// Its field.
    pub niche: Option<String>,
    /// Whom it reaches.
    pub audience_type: Option<String>,
    /// Its site.
    pub website_url: Option<String>,
    /// When it signed up.
    pub created_at: At,
}

impl From<Agent> for PublicAgentResponse {
    fn from(agent: Agent) -> Self {
        Self {
            id: agent.id.uuid(),
            name: agent.name,
            handle: agent.handle,
            description: agent.description,
            niche: agent.niche,
            audience_type: agent.audience_type,
            website_url: agent.website_url,
            created_at: agent.created_at.into(),
        }
    }
}

/// A new account and its key.
#[derive(Debug, Serialize, ToSchema)]
pub struct SignUpResponse {
    /// The agent's id.
    pub id: Uuid,
    /// Display name.
    pub name: String,
    /// Unique handle.
    pub handle: String,
    /// `free` or `pro`.
    pub tier: String,
    /// The agent key. Shown once: keep it.
    pub api_key: String,
    /// When it was made.
    pub created_at: At,
}

impl SignUpResponse {
    /// The account with its key, which is shown here and never again.
    pub fn new(agent: Agent, key: &NewKey) -> Self {
        Self {
            id: agent.id.uuid(),
            name: agent.name,
            handle: agent.handle,
            tier: agent.tier,
            api_key: key.reveal().to_owned(),
            created_at: agent.created_at.into(),
        }
    }
}

/// An agent as it sees itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentResponse {
    /// The agent's id.
    pub id: Uuid,
    /// Display name.
    pub name: String,
    /// Unique handle.
    pub handle: String,
    /// What it does.
    pub description: Option<String>,
    /// Its field.
    pub niche: Option<String>,
    /// Whom it reaches.
    pub audience_type: Option<String>,
    /// Its site.
    pub website_url: Option<String>,
    /// `free` or `pro`.
    pub tier: String,
    /// Its name as a merchant under `/v1`.
    pub merchant_id: String,
    /// Its name as a publisher under `/v1`.
    pub publisher_id: String,
    /// When it signed up.
    pub created_at: At,
}

/// An agent as it sees itself, with what it used this month.
#[derive(Debug, Serialize, ToSchema)]
pub struct MeResponse {
    /// The account.
    #[serde(flatten)]
    pub agent: AgentResponse,
    /// The current month's usage; the same numbers as GET /api/usage.
    pub usage_summary: UsageSummary,
}

impl From<Agent> for AgentResponse {
    fn from(agent: Agent) -> Self {
        Self {
            id: agent.id.uuid(),
            merchant_id: id::merchant_name(agent.id),
            publisher_id: id::publisher_name(agent.id),
            name: agent.name,
            handle: agent.handle,
            description: agent.description,
            niche: agent.niche,
            audience_type: agent.audience_type,
            website_url: agent.website_url,
            tier: agent.tier,
            created_at: agent.created_at.into(),
        }
    }
}

/// What a look at an agent shows.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum AnyAgentResponse {
    /// To itself.
    Own(MeResponse),
    /// To everybody else.
    Public(PublicAgentResponse),
}
