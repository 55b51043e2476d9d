//! JSON shapes of events and webhooks.

use super::event::{EventType, VERSION};
use super::model::{Attempt, Delivery, DeliveryStatus, Endpoint, Outcome, Status};
use crate::time::At;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shared::id::WebhookId;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// An event as it is signed, delivered and pulled.
#[derive(Debug, Serialize, ToSchema)]
pub struct Envelope<T> {
    /// The event's id: the same on every try, on every endpoint, and in the feed.
    pub id: Uuid,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// When it happened.
    pub created_at: At,
    /// Present and true in deliveries of POST /api/webhooks/test: nothing happened.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub test: bool,
    /// The object it happened to, as it was then.
    pub data: Versioned<T>,
}

/// An object with what tells its versions apart.
#[derive(Debug, Serialize, ToSchema)]
pub struct Versioned<T> {
    /// What kind of object.
    pub object: &'static str,
    /// Version of the object's shape.
    pub version: u8,
    /// Counts the object's events from 1: of two, the higher one is newer, whichever arrives first.
    pub sequence: i64,
    /// The object's members stand beside these.
    #[serde(flatten)]
    pub members: T,
}

/// What an event says besides its object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) id: Uuid,
    pub(super) event_type: EventType,
    pub(super) created_at: At,
    pub(super) test: bool,
    pub(super) sequence: i64,
}

/// Renders an event, once and for all.
pub(super) fn render<T: Serialize>(
    head: &Head,
    object: &'static str,
    members: &T,
) -> serde_json::Result<String> {
    let Head { id, event_type, created_at, test, sequence } = *head;
    let data = Versioned { object, version: VERSION, sequence, members };
    serde_json::to_string(&Envelope { id, event_type, created_at, test, data })
}

/// Where to read on.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// `next_after` of the reply before; from the oldest event kept when left out.
    #[param(pattern = "^[0-9]{1,18}$", example = "1042")]
    pub after: Option<String>,
    /// Events at most.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub per_page: Option<i64>,
}

/// Events in the order in which they became visible.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventsResponse {
    /// The events, exactly as webhooks deliver them; newest last.
    #[schema(value_type = Vec<Object>)]
    pub data: Vec<Box<RawValue>>,
    /// Whether more are waiting.
    pub has_more: bool,
    /// Send it as `after` next time, also when there was nothing: it never goes out of date.
    #[schema(example = "1042")]
    pub next_after: String,
}

/// A webhook endpoint to be. Only `url` is needed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "url": "https://example.com/webhooks/affiliateos",
    "events": [EventType::AffiliateJoined, EventType::ConversionCreated, EventType::PayoutProcessed],
    "status": "active"
}))]
pub struct CreateWebhookRequest {
    /// Where deliveries are posted: http or https on its usual port, reachable from the internet.
    #[schema(max_length = 2048, pattern = "^https?://[A-Za-z0-9]")]
    pub url: String,
    /// What to tell it; everything when left out.
    #[schema(min_items = 1)]
    pub events: Option<Vec<EventType>>,
    /// `active` unless said otherwise.
    pub status: Option<Status>,
    /// The signing secret; made for you when left out.
    #[schema(min_length = 24, max_length = 128, pattern = "^[!-~]+$")]
    pub secret: Option<String>,
}

/// What to change of a webhook.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"status": "paused", "events": [EventType::ConversionApproved, EventType::ConversionRejected]}))]
pub struct UpdateWebhookRequest {
    /// Where deliveries are posted.
    #[schema(max_length = 2048, pattern = "^https?://[A-Za-z0-9]")]
    pub url: Option<String>,
    /// What to tell it.
    #[schema(min_items = 1)]
    pub events: Option<Vec<EventType>>,
    /// Whether it gets deliveries.
    pub status: Option<Status>,
}

/// A webhook endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookResponse {
    /// Its id.
    pub id: Uuid,
    /// Where deliveries are posted.
    pub url: String,
    /// What it is told.
    pub events: Vec<EventType>,
    /// Whether it gets deliveries.
    pub status: Status,
    /// Why it is paused, and what to do about it.
    pub status_reason: Option<String>,
    /// Since when it is paused.
    pub paused_at: Option<At>,
    /// Until when the secret before the current one signs as well.
    pub previous_secret_until: Option<At>,
    /// The first failure since the last success; three days later it is paused.
    pub failing_since: Option<At>,
    /// The last delivery answered with 2xx.
    pub last_success_at: Option<At>,
    /// The last failure.
    pub last_failure_at: Option<At>,
    /// What it was, such as `status 500` or `timed_out`.
    pub last_failure: Option<String>,
    /// When it was made.
    pub created_at: At,
    /// When it was last changed by you.
    pub updated_at: At,
}

impl From<Endpoint> for WebhookResponse {
    fn from(endpoint: Endpoint) -> Self {
        Self {
            id: endpoint.id.uuid(),
            status_reason: endpoint.status_reason(),
            url: endpoint.url,
            events: endpoint.events,
            status: endpoint.status,
            paused_at: endpoint.paused_at.map(At),
            previous_secret_until: endpoint.previous_secret_until.map(At),
            failing_since: endpoint.failing_since.map(At),
            last_success_at: endpoint.last_success_at.map(At),
            last_failure_at: endpoint.last_failure_at.map(At),
            last_failure: endpoint.last_failure,
            created_at: endpoint.created_at.into(),
            updated_at: endpoint.updated_at.into(),
        }
    }
}

/// A webhook and its signing secret, which is shown here and never again.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookWithSecretResponse {
    /// The webhook.
    #[serde(flatten)]
    pub webhook: WebhookResponse,
    /// Verify deliveries with it. Keep it secret.
    #[schema(example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]
    pub secret: String,
}

/// A new secret.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({}))]
pub struct RotateSecretRequest {
    /// The new signing secret; made for you when left out.
    #[schema(min_length = 24, max_length = 128, pattern = "^[!-~]+$")]
    pub secret: Option<String>,
}

/// A webhook that is gone.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeleteWebhookResponse {
    /// Its id.
    pub id: Uuid,
    /// Always true.
    pub deleted: bool,
}

/// What to try: a saved webhook, or a `url` with a `secret`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"webhook_id": "018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10", "event_type": EventType::ConversionApproved}))]
pub struct TestWebhookRequest {
    /// A saved webhook, active or paused.
    #[schema(value_type = Option<Uuid>)]
    pub webhook_id: Option<WebhookId>,
    /// Where to post instead.
    #[schema(max_length = 2048, pattern = "^https?://[A-Za-z0-9]")]
    pub url: Option<String>,
    /// What to sign with, beside `url`.
    #[schema(min_length = 24, max_length = 128, pattern = "^[!-~]+$")]
    pub secret: Option<String>,
    /// Which event to send an example of; `conversion.created` when left out.
    pub event_type: Option<EventType>,
}

/// How a test went.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestWebhookResponse {
    /// Whether the answer was 2xx.
    pub ok: bool,
    /// How the try ended.
    pub outcome: Outcome,
    /// The class of the answer's status.
    #[schema(example = "2xx")]
    pub status_class: Option<String>,
    /// How long it took, rounded up to 100 milliseconds.
    #[schema(example = 200)]
    pub duration_ms: u64,
    /// What was sent, as it was signed.
    #[schema(value_type = Object)]
    pub payload: Box<RawValue>,
}

/// Which deliveries a list shows.
#[derive(Debug, Default, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeliveriesQuery {
    /// Where they stand.
    #[param(inline)]
    pub status: Option<DeliveryStatus>,
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

/// One event on its way to one webhook, with every try.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryResponse {
    /// Its id: the header `X-AffiliateOS-Delivery` of every try.
    pub id: Uuid,
    /// The event's id: `id` of the payload, and the header `webhook-id`.
    pub event_id: Uuid,
    /// The event's type.
    #[schema(example = json!(EventType::ConversionCreated))]
    pub event_type: String,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// When it is tried next; null when it is not, or while the webhook is paused.
    pub next_attempt_at: Option<At>,
    /// Every try, oldest first.
    pub attempts: Vec<AttemptResponse>,
    /// When the event was queued.
    pub created_at: At,
    /// When it was delivered or given up.
    pub finished_at: Option<At>,
}

/// One try.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttemptResponse {
    /// From 1.
    pub number: i32,
    /// When it ended.
    pub at: At,
    /// How it ended.
    pub outcome: Outcome,
    /// The status of the answer.
    #[schema(example = 200)]
    pub status_code: Option<i16>,
    /// How long it took.
    pub duration_ms: Option<i32>,
}

impl From<Delivery> for DeliveryResponse {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id.uuid(),
            event_id: delivery.event_id.uuid(),
            event_type: delivery.event_type,
            status: delivery.status,
            next_attempt_at: delivery.next_attempt_at.map(At),
            attempts: delivery.attempts.into_iter().map(AttemptResponse::from).collect(),
            created_at: delivery.created_at.into(),
            finished_at: delivery.finished_at.map(At),
        }
    }
}

impl From<Attempt> for AttemptResponse {
    fn from(attempt: Attempt) -> Self {
        Self {
            number: attempt.number,
            at: attempt.at.into(),
            outcome: attempt.outcome,
            status_code: attempt.status,
            duration_ms: attempt.took_ms,
        }
    }
}
