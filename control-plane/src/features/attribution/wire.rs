//! JSON shapes of a merchant's reports of what agents tracked.

use super::model::{RuntimeLine, TrackedLine};
use crate::error::Result;
use crate::money::Micros;
use crate::page::{List, Page, PageQuery};
use crate::time::{self, At, Span};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Of which time.
#[derive(Debug, Default, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RuntimesQuery {
    /// Only what was tracked then or later: RFC 3339, or a day such as 2026-04-01 (UTC).
    #[param(schema_with = crate::time::moment, example = "2026-04-01")]
    pub from: Option<String>,
    /// Only what was tracked before: RFC 3339, or a day, which is then included.
    #[param(schema_with = crate::time::moment, example = "2026-04-30")]
    pub to: Option<String>,
    /// Page, from 1: `page` times `per_page` is 10,000 at most.
    #[param(minimum = 1, maximum = 10000, default = 1)]
    pub page: Option<i64>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub per_page: Option<i64>,
}

/// Which events.
#[derive(Debug, Default, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Only those of this runtime.
    #[param(example = "langchain")]
    pub agent_runtime: Option<String>,
    /// Only what was tracked then or later: RFC 3339, or a day such as 2026-04-01 (UTC).
    #[param(schema_with = crate::time::moment, example = "2026-04-01")]
    pub from: Option<String>,
    /// Only what was tracked before: RFC 3339, or a day, which is then included.
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

impl RuntimesQuery {
    pub(super) fn span(&self) -> Result<Span> {
        time::span(self.from.as_deref(), self.to.as_deref())
    }

    pub(super) fn page(&self) -> Result<Page> {
        PageQuery { page: self.page, per_page: self.per_page }.checked()
    }
}

impl EventsQuery {
    pub(super) fn span(&self) -> Result<Span> {
        time::span(self.from.as_deref(), self.to.as_deref())
    }

    pub(super) fn page(&self) -> Result<Page> {
        PageQuery { page: self.page, per_page: self.per_page }
            .checked_from(self.cursor.as_deref(), List::AttributionEvents.order())
    }
}

/// What one runtime's agents did for a program.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentRuntimeResponse {
    /// `metadata.agent_runtime` as the agents sent it; null for those that sent none.
    #[schema(example = "langchain")]
    pub agent_runtime: Option<String>,
    /// Everything they tracked.
    pub events: i64,
    /// Of it, recommendations.
    pub recommendations: i64,
    /// Of it, clicks.
    pub clicks: i64,
    /// Of it, impressions.
    pub impressions: i64,
    /// Publishers behind them.
    pub publishers: i64,
    /// Orders verified with their tokens.
    pub orders: i64,
    /// What those orders came to, in dollars.
    pub revenue_amount: Micros,
    /// What they earned, in dollars, net of refunds; rejected ones earn nothing.
    pub commission_amount: Micros,
    /// Always `usd`.
    #[schema(example = "usd")]
    pub currency: &'static str,
}

impl From<RuntimeLine> for AgentRuntimeResponse {
    fn from(line: RuntimeLine) -> Self {
        Self {
            agent_runtime: line.agent_runtime,
            events: line.events,
            recommendations: line.recommendations,
            clicks: line.clicks,
            impressions: line.impressions,
            publishers: line.publishers,
            orders: line.orders,
            revenue_amount: line.revenue,
            commission_amount: line.commission,
            currency: "usd",
        }
    }
}

/// An event as its agent tracked it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttributionEventResponse {
    /// Its id under `/v1`.
    #[schema(example = "evt_018f2f6e7c1a7bd39d531c2a6f6e8a10")]
    pub event_id: String,
    /// `recommendation`, `click` or `impression`.
    #[schema(example = "recommendation")]
    pub event: String,
    /// The publisher's name under `/v1`.
    #[schema(example = "pub_018f2f6e7c1a7bd39d531c2a6f6e8a10")]
    pub publisher_id: String,
    /// Your product, as the agent named it.
    #[schema(example = "prod_456")]
    pub product_id: Option<String>,
    /// What the agent said about itself: its words, not ours.
    #[schema(value_type = Object)]
    pub metadata: serde_json::Value,
    /// The click it counts as, for GET /api/clicks/:click_id/explain.
    pub click_id: String,
    /// The order its token was redeemed for.
    pub order_id: Option<String>,
    /// The conversion that made.
    pub conversion_id: Option<Uuid>,
    /// When it was tracked.
    pub created_at: At,
}

impl From<TrackedLine> for AttributionEventResponse {
    fn from(line: TrackedLine) -> Self {
        Self {
            event_id: line.id.prefixed(),
            event: line.kind,
            publisher_id: shared::id::publisher_name(line.publisher),
            product_id: line.product_id,
            metadata: line.metadata,
            click_id: line.click_id,
            order_id: line.order_id,
            conversion_id: line.conversion.map(|id| id.uuid()),
            created_at: line.created_at.into(),
        }
    }
}
