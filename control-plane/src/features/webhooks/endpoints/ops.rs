//! Steps on endpoints. The caller owns the transaction.

use super::queries::{self, NewEndpoint};
use crate::error::{Code, Error, Result};
use crate::features::webhooks::deliveries;
use crate::features::webhooks::event::EventType;
use crate::features::webhooks::model::{ENDPOINTS_MAX, Endpoint, PREVIOUS_SECRET_FOR, PausedBecause, Status};
use crate::features::webhooks::signing::{Secrets, SigningSecret};
use crate::page::{Page, Paged};
use crate::web::egress::{Egress, Refusal};
use shared::id::{AgentId, WebhookId};
use shared::{Clock, Secret};
use sqlx::PgConnection;
use std::time::Duration;

/// How long saving a URL waits for its name to resolve.
const RESOLVE_FOR: Duration = Duration::from_secs(2);

/// An endpoint as a client asks for it, checked.
pub struct Wanted {
    /// Where deliveries go.
    pub url: String,
    /// What it is told.
    pub events: Vec<EventType>,
    /// Whether it starts at once.
    pub status: Status,
    /// What signs.
    pub secret: SigningSecret,
}

/// Refuses callers that are not on Pro.
pub async fn require_pro(conn: &mut PgConnection, agent: AgentId) -> Result<()> {
    let tier = queries::find_tier(conn, agent).await?;
    if tier.as_deref() == Some("pro") {
        return Ok(());
    }
    Err(Error::new(
        Code::FeatureRequiresPro,
        "Webhooks need Infrastructure Pro.",
        "Upgrade with POST /api/subscription/pro, or read the same events with GET /api/events on any plan.",
    ))
}

/// Checks a URL for deliveries, and gives it as it is stored.
pub async fn check_url(egress: &Egress, given: &str) -> Result<String> {
    let mut url = egress.check(given.trim(), RESOLVE_FOR).await.map_err(refused_url)?;
    url.set_fragment(None);
    Ok(url.into())
}

fn refused_url(refusal: Refusal) -> Error {
    let fix = match refusal {
        Refusal::Address => {
            "Send a `url` that is reachable from the internet, or read events with GET /api/events instead; an operator can open private networks with AOS_EGRESS_ALLOW."
        }
        Refusal::Port => "Send a `url` on port 443 (https) or 80 (http).",
        Refusal::Scheme | Refusal::UserInfo | Refusal::Length => {
            "Send an absolute http or https `url` such as https://example.com/webhooks/affiliateos, at most 2048 characters."
        }
    };
    Error::invalid("url", format!("`url` {refusal}."), fix)
}

/// Checks a list of events: at least one, each once.
pub fn check_events(mut events: Vec<EventType>) -> Result<Vec<EventType>> {
    events.sort_unstable();
    events.dedup();
    if events.is_empty() {
        return Err(Error::invalid(
            "events",
            "`events` is empty.",
            format!("Send at least one of: {}; or leave `events` out for all of them.", EventType::list()),
        ));
    }
    Ok(events)
}

/// Makes an endpoint.
pub async fn create(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    deployment: &Secret,
    agent: AgentId,
    wanted: &Wanted,
) -> Result<Endpoint> {
    queries::lock_agent(conn, agent).await?;
    if queries::count_endpoints(conn, agent).await? >= ENDPOINTS_MAX {
        return Err(Error::new(
            Code::InvalidState,
            format!("You have {ENDPOINTS_MAX} webhooks, which is the limit."),
            "Delete one with DELETE /api/webhooks/:id, or add the events to one you have with PATCH /api/webhooks/:id.",
        ));
    }
    let id = WebhookId::generate();
    let new = NewEndpoint {
        id,
        agent,
        url: &wanted.url,
        events: &wanted.events,
        status: wanted.status,
        secret: &wanted.secret.seal(deployment, id),
        now: clock.now(),
    };
    queries::insert_endpoint(conn, &new).await?;
    load(conn, agent, id).await
}

/// One of the caller's endpoints; others' do not exist for it.
pub async fn load(conn: &mut PgConnection, agent: AgentId, id: WebhookId) -> Result<Endpoint> {
    queries::find_endpoint(conn, agent, id).await?.ok_or_else(missing)
}

/// The same, locked until the transaction ends.
pub async fn lock(conn: &mut PgConnection, agent: AgentId, id: WebhookId) -> Result<Endpoint> {
    queries::lock_endpoint(conn, agent, id).await?.ok_or_else(missing)
}

fn missing() -> Error {
    Error::not_found("webhook", "List yours with GET /api/webhooks.")
}

/// A page of an agent's endpoints.
pub async fn list(conn: &mut PgConnection, agent: AgentId, page: Page) -> Result<Paged<Endpoint>> {
    queries::list_endpoints(conn, agent, page).await
}

/// What a client changes.
#[derive(Default)]
pub struct Change {
    /// Where deliveries go.
    pub url: Option<String>,
    /// What it is told.
    pub events: Option<Vec<EventType>>,
    /// Whether it gets deliveries.
    pub status: Option<Status>,
}

/// Changes an endpoint that [`lock`] gave. What a paused one kept back goes out when it is active again.
pub async fn update(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    mut endpoint: Endpoint,
    change: Change,
) -> Result<Endpoint> {
    let now = clock.now();
    let was = endpoint.status;
    let moved = change.url.as_ref().is_some_and(|url| *url != endpoint.url);
    if let Some(url) = change.url {
        endpoint.url = url;
    }
    if let Some(events) = change.events {
        endpoint.events = events;
    }
    endpoint.status = change.status.unwrap_or(was);
    match (was, endpoint.status) {
        (Status::Active, Status::Paused) => {
            endpoint.paused_because = Some(PausedBecause::Owner);
            endpoint.paused_at = Some(now);
            deliveries::queries::hold(conn, endpoint.id).await?;
        }
        (Status::Paused, Status::Active) => {
            endpoint.paused_because = None;
            endpoint.paused_at = None;
            deliveries::queries::release(conn, endpoint.id, now).await?;
        }
        (Status::Active, Status::Active) | (Status::Paused, Status::Paused) => {}
    }
    let started = was == Status::Paused && endpoint.status == Status::Active;
    queries::update_endpoint(conn, &endpoint, moved || started, now).await?;
    load(conn, endpoint.agent_id, endpoint.id).await
}

/// Puts a new secret in front; the one before signs beside it for a day.
pub async fn rotate_secret(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    deployment: &Secret,
    endpoint: &Endpoint,
    secret: &SigningSecret,
) -> Result<Endpoint> {
    let now = clock.now();
    let sealed = secret.seal(deployment, endpoint.id);
    queries::rotate_secret(conn, endpoint.id, &sealed, now + PREVIOUS_SECRET_FOR, now).await?;
    load(conn, endpoint.agent_id, endpoint.id).await
}

/// Removes an endpoint; what it was still to be sent is given up.
pub async fn delete(conn: &mut PgConnection, clock: &dyn Clock, endpoint: &Endpoint) -> Result<()> {
    queries::delete_endpoint(conn, endpoint.id, clock.now()).await
}

/// What signs an endpoint's deliveries now.
pub async fn load_secrets(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    deployment: &Secret,
    endpoint: &Endpoint,
) -> Result<Secrets> {
    let (current, previous) =
        queries::find_secrets(conn, endpoint.id, clock.now()).await?.ok_or_else(missing)?;
    let unreadable = || {
        Error::new(
            Code::InvalidState,
            "The webhook's secret cannot be read any more.",
            format!("Make a new one with POST /api/webhooks/{}/rotate-secret.", endpoint.id),
        )
    };
    Ok(Secrets {
        current: SigningSecret::open(deployment, endpoint.id, &current).ok_or_else(unreadable)?,
        previous: previous.and_then(|sealed| SigningSecret::open(deployment, endpoint.id, &sealed)),
    })
}
