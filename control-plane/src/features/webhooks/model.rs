//! What an endpoint is, and the rules of delivering to it. Pure.

use super::event::EventType;
use crate::error::{Code, Error, Result};
use crate::named::named;
use chrono::{DateTime, TimeDelta, Utc};
use shared::id::{AgentId, DeliveryId, EventId, WebhookId};

/// Endpoints of one agent.
pub const ENDPOINTS_MAX: i64 = 50;
/// How long the secret before signs beside a new one.
pub const PREVIOUS_SECRET_FOR: TimeDelta = TimeDelta::hours(24);
/// How long events, and what became of their deliveries, are kept.
pub const KEPT_FOR: TimeDelta = TimeDelta::days(30);
/// An endpoint without a success for so long is paused.
pub const FAILING_FOR_MAX: TimeDelta = TimeDelta::days(3);
/// A delivery that waited so long is given up, whatever is left of its schedule.
pub const DELIVERY_FOR_MAX: TimeDelta = TimeDelta::days(3);

named! {
    /// Whether an endpoint gets deliveries.
    Status as WebhookStatus {
        /// It does.
        Active = "active",
        /// It does not.
        Paused = "paused",
    }
}

named! {
    /// Why an endpoint is paused.
    PausedBecause {
        /// Its owner said so.
        Owner = "owner",
        /// Nothing was delivered for three days.
        Failures = "failures",
        /// It answered 410 Gone.
        Gone = "gone",
    }
}

named! {
    /// How a try ended.
    Outcome {
        /// With an answer: see its status.
        Answered = "answered",
        /// Not within 10 seconds.
        TimedOut = "timed_out",
        /// No such name, nobody listening, or TLS failed.
        NoConnection = "no_connection",
        /// The connection broke, or what came was not HTTP.
        NoAnswer = "no_answer",
        /// The URL leads to an address that may not be called.
        AddressRefused = "address_refused",
        /// Our worker stopped in the middle: it may have arrived.
        Interrupted = "interrupted",
        /// The signing secret cannot be read any more: rotate it.
        SecretUnreadable = "secret_unreadable",
    }
}

named! {
    /// Where a delivery stands, as its owner sees it.
    DeliveryStatus {
        /// To be tried, or tried again.
        Pending = "pending",
        /// Answered with 2xx.
        Delivered = "delivered",
        /// Given up.
        Failed = "failed",
    }
}

/// A webhook endpoint.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its id.
    pub id: WebhookId,
    /// Whose it is.
    pub agent_id: AgentId,
    /// Where deliveries go.
    pub url: String,
    /// What it is told.
    pub events: Vec<EventType>,
    /// Whether it gets deliveries.
    pub status: Status,
    /// Why not.
    pub paused_because: Option<PausedBecause>,
    /// Since when not.
    pub paused_at: Option<DateTime<Utc>>,
    /// How long the secret before still signs.
    pub previous_secret_until: Option<DateTime<Utc>>,
    /// The first failure since the last success.
    pub failing_since: Option<DateTime<Utc>>,
    /// The last 2xx.
    pub last_success_at: Option<DateTime<Utc>>,
    /// The last failure.
    pub last_failure_at: Option<DateTime<Utc>>,
    /// What it was.
    pub last_failure: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its owner last changed it.
    pub updated_at: DateTime<Utc>,
}

impl Endpoint {
    /// Why it is paused and what to do, in words.
    pub fn status_reason(&self) -> Option<String> {
        let last = self.last_failure.as_deref().unwrap_or("unknown");
        Some(match self.paused_because? {
            PausedBecause::Owner => "Paused by you. PATCH it with {\"status\":\"active\"} to go on.".to_owned(),
            PausedBecause::Failures => format!(
                "Paused because no delivery succeeded for {} days; the last failure: {last}. Mend the endpoint, try it with POST /api/webhooks/test, then PATCH it with {{\"status\":\"active\"}}; GET /api/events has what it missed.",
                FAILING_FOR_MAX.num_days()
            ),
            PausedBecause::Gone => {
                "Paused because it answered 410 Gone. If that was a mistake, PATCH it with {\"status\":\"active\"}; GET /api/events has what it missed.".to_owned()
            }
        })
    }

    /// Refuses a redelivery that would not go out.
    pub fn must_be_active(&self) -> Result<()> {
        if self.status == Status::Active {
            return Ok(());
        }
        Err(Error::new(
            Code::InvalidState,
            "The webhook is paused.",
            format!("PATCH /api/webhooks/{} with {{\"status\":\"active\"}}, then try again.", self.id),
        )
        .with("status", self.status.as_str()))
    }
}

/// A delivery as its owner sees it.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its id: the header `X-AffiliateOS-Delivery` of every try.
    pub id: DeliveryId,
    /// What is delivered.
    pub event_id: EventId,
    /// Its type.
    pub event_type: String,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// When it is tried next; `None` also while its endpoint is paused.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When the event was queued.
    pub created_at: DateTime<Utc>,
    /// When it was delivered or given up.
    pub finished_at: Option<DateTime<Utc>>,
    /// Every try, oldest first.
    pub attempts: Vec<Attempt>,
}

/// One try.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// From 1.
    pub number: i32,
    /// When it ended.
    pub at: DateTime<Utc>,
    /// How it ended.
    pub outcome: Outcome,
    /// The status of the answer.
    pub status: Option<i16>,
    /// How long it took.
    pub took_ms: Option<i32>,
}
