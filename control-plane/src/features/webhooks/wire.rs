//! JSON shapes of events and webhooks.

use super::event::{EventType, Object, VERSION};
use crate::time::At;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
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

/// Renders an event, once and for all.
pub(super) fn render<T: Object>(
    id: Uuid,
    event_type: EventType,
    created_at: At,
    test: bool,
    sequence: i64,
    members: &T,
) -> serde_json::Result<String> {
    let data = Versioned { object: T::NAME, version: VERSION, sequence, members };
    serde_json::to_string(&Envelope { id, event_type, created_at, test, data })
}

/// Where to read on.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// `next_after` of the reply before; from the oldest event kept when left out.
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
