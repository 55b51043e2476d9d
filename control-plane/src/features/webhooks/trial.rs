//! Trying an endpoint: an example event, delivered at once, and how that went.
//!
//! The reply says no more than whether the endpoint took it: the class of the status, never the body, and
//! the time to a tenth of a second, so that nobody explores other people's servers through us.

use super::deliver::{Target, attempt};
use super::endpoints::ops as endpoints;
use super::event::EventType;
use super::model::Outcome;
use super::sample;
use super::signing::{Secrets, SigningSecret};
use super::wire::{TestWebhookRequest, TestWebhookResponse};
use crate::app::App;
use crate::error::{Error, Result};
use crate::web::rate_limit::{Limit, WithoutRedis};
use serde_json::value::RawValue;
use shared::id::{AgentId, DeliveryId, EventId};

/// How often an agent may try.
pub const LIMIT: Limit =
    Limit { name: "webhook-test", max: 10, window_seconds: 60, without_redis: WithoutRedis::CountLocally };

/// What is tried.
pub struct Trial {
    url: String,
    secrets: Secrets,
    event: EventId,
    event_type: EventType,
    payload: String,
}

/// Finds out what to try and with which secret.
pub async fn prepare(app: &App, agent: AgentId, request: &TestWebhookRequest) -> Result<Trial> {
    let (url, secrets) = match (request.webhook_id, &request.url, &request.secret) {
        (Some(id), None, None) => {
            let mut conn = app.read().await?;
            let endpoint = endpoints::load(&mut conn, agent, id).await?;
            let secrets =
                endpoints::load_secrets(&mut conn, app.clock(), &app.config().secret, &endpoint).await?;
            (endpoint.url, secrets)
        }
        (None, Some(url), Some(secret)) => {
            let current = SigningSecret::parse("secret", secret)?;
            (endpoints::check_url(app.egress(), url).await?, Secrets { current, previous: None })
        }
        (None, Some(_), None) => {
            return Err(Error::missing(
                "secret",
                "Add `secret`, the text to sign the test with, to the request.",
            ));
        }
        (None, None, _) => {
            return Err(Error::missing(
                "webhook_id",
                "Add `webhook_id`, or `url` together with `secret`, to the request.",
            ));
        }
        (Some(_), _, _) => {
            return Err(Error::invalid(
                "webhook_id",
                "`webhook_id` stands beside `url` or `secret`.",
                "Send `webhook_id` alone, or `url` together with `secret`.",
            ));
        }
    };
    let event = EventId::generate();
    let event_type = request.event_type.unwrap_or(EventType::ConversionCreated);
    let payload = sample::render(event, event_type, agent, app.clock().now()).map_err(Error::bug)?;
    Ok(Trial { url, secrets, event, event_type, payload })
}

/// Delivers it.
pub async fn run(app: &App, trial: &Trial) -> Result<TestWebhookResponse> {
    let target = Target {
        url: &trial.url,
        secrets: &trial.secrets,
        delivery: DeliveryId::generate(),
        event: trial.event,
        event_type: trial.event_type,
        payload: trial.payload.clone().into(),
        attempt: 1,
    };
    let done = attempt(app.egress(), app.clock(), target).await;
    let payload = RawValue::from_string(trial.payload.clone()).map_err(Error::bug)?;
    Ok(TestWebhookResponse {
        ok: done.is_success(),
        outcome: done.outcome,
        status_class: done
            .status
            .filter(|_| done.outcome == Outcome::Answered)
            .map(|status| format!("{}xx", status.as_u16() / 100)),
        duration_ms: (done.took.as_millis() as u64).div_ceil(100) * 100,
        payload,
    })
}
