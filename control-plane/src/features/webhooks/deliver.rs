//! Delivering events: at least once, to each endpoint at its own pace.
//!
//! Guarantee: a queued delivery is tried until it is answered with 2xx or its schedule ends, across crashes
//! of any worker at any moment. A try belongs to whoever holds its lease; what a worker that is gone was
//! sending is taken back when the lease ends, and may arrive twice, under the same ids and with the same
//! bytes. Order is not promised: `sequence` tells an object's events apart.
//!
//! Fairness: at most [`PER_ENDPOINT`] tries in flight to one endpoint and [`PER_AGENT`] for one agent, over
//! all workers; agents take turns, and so do the endpoints of an agent. A claim costs a look per agent with
//! something due, not per delivery, so a backlog slows nobody. In flight in one worker: [`IN_FLIGHT_MAX`]
//! tries of at most [`TRY_FOR`]; beyond it deliveries wait in the table.
//!
//! Stuck? `cp_webhook_delivery_delay_seconds` grows; `webhook_deliveries` shows what waits and why.

pub(crate) mod queries;
pub mod schedule;
mod worker;

pub use worker::{Worker, run};

use super::event::EventType;
use super::model::Outcome;
use super::signing::{self, Secrets};
use crate::trace;
use crate::web::egress::{Egress, Failure};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use shared::Clock;
use shared::id::{AgentId, DeliveryId, EventId, WebhookId};
use std::time::{Duration, Instant};

/// A try, from resolving the name to the end of the answer.
pub const TRY_FOR: Duration = Duration::from_secs(10);
/// Tries in flight to one endpoint, over all workers.
pub const PER_ENDPOINT: i32 = 2;
/// Tries in flight for one agent, over all workers.
pub const PER_AGENT: i64 = 32;
/// Tries in flight in one worker. Half of it would let eight agents with dead endpoints fill it.
pub const IN_FLIGHT_MAX: usize = 512;
/// Longer than a try and writing down how it ended: only a worker that is gone lets it run out.
const LEASE_FOR: TimeDelta = TimeDelta::seconds(20);

/// A claimed delivery.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) delivery: DeliveryId,
    pub(crate) agent: AgentId,
    pub(crate) endpoint: WebhookId,
    pub(crate) event: EventId,
    pub(crate) event_type: EventType,
    pub(crate) attempt: i32,
    pub(crate) round: i32,
    pub(crate) queued_at: DateTime<Utc>,
    pub(crate) url: String,
    pub(crate) secret: Vec<u8>,
    pub(crate) previous_secret: Option<Vec<u8>>,
    pub(crate) payload: String,
    /// What caused the event, where that was traced.
    pub(crate) trace: Option<String>,
}

/// How a claimed delivery's try ended, as it is written down.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    pub(crate) delivery: DeliveryId,
    pub(crate) agent: AgentId,
    pub(crate) attempt: i32,
    pub(crate) state: &'static str,
    pub(crate) due_at: DateTime<Utc>,
    pub(crate) outcome: Outcome,
    pub(crate) status: Option<i16>,
    pub(crate) took_ms: Option<i32>,
}

/// What is posted where.
pub struct Target<'a> {
    /// Where.
    pub url: &'a str,
    /// Signs it.
    pub secrets: &'a Secrets,
    /// `X-AffiliateOS-Delivery`.
    pub delivery: DeliveryId,
    /// `webhook-id`.
    pub event: EventId,
    /// `X-AffiliateOS-Event`.
    pub event_type: EventType,
    /// The body.
    pub payload: Bytes,
    /// Which try of the delivery it is, from 1.
    pub attempt: i32,
}

/// How a try ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// In one word.
    pub outcome: Outcome,
    /// The answer's status.
    pub status: Option<StatusCode>,
    /// The answer's `Retry-After`.
    pub retry_after: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl Ended {
    /// Whether the endpoint has taken it.
    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|status| status.is_success())
    }

    /// What went wrong, in a word or two, for the endpoint's owner.
    pub fn failure(&self) -> String {
        match self.status {
            Some(status) => format!("status {}", status.as_u16()),
            None => self.outcome.as_str().to_owned(),
        }
    }
}

/// Signs and posts once.
pub async fn attempt(egress: &Egress, clock: &dyn Clock, target: Target<'_>) -> Ended {
    let seconds = clock.now_ms().div_euclid(1000);
    let traced = trace::delivery(target.delivery, target.event, target.event_type.as_str(), target.attempt);
    let mut headers = signing::headers(
        target.secrets,
        target.delivery,
        target.event,
        target.event_type,
        seconds,
        &target.payload,
    );
    trace::tell(&traced, &mut headers);
    let started = Instant::now();
    let answer = egress.post(target.url, headers, target.payload, TRY_FOR).await;
    let took = started.elapsed();
    let (outcome, status, retry_after) = match answer {
        Ok(answer) => (Outcome::Answered, Some(answer.status), answer.retry_after),
        Err(Failure::Refused(_)) => (Outcome::AddressRefused, None, None),
        Err(Failure::TimedOut) => (Outcome::TimedOut, None, None),
        Err(Failure::NoConnection) => (Outcome::NoConnection, None, None),
        Err(Failure::NoAnswer) => (Outcome::NoAnswer, None, None),
    };
    trace::tried(&traced, status, outcome.as_str());
    Ended { outcome, status, retry_after, took }
}
