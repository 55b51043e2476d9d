//! Extractors: the caller of a route under `/api`.
//!
//! A missing, mistyped, unknown, revoked or foreign-kind key is a 401; unknown and revoked look alike.

use super::api_keys::{self, Digest, Kind};
use super::queries;
use crate::app::App;
use crate::error::{Code, Error, Result};
use crate::web::respond::ApiError;
use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use shared::id::{AgentId, ApiKeyId};

/// An agent that showed its agent key.
#[derive(Clone, Copy, Debug)]
pub struct Agent {
    /// Who.
    pub id: AgentId,
    /// Its account number, as large tables and the wire know it.
    pub number: i32,
    /// The key shown.
    pub key_id: ApiKeyId,
}

/// The caller of a public route: an agent when it shows a key. A wrong key is refused, not ignored.
#[derive(Clone, Copy, Debug)]
pub struct MaybeAgent(pub Option<Agent>);

/// Put into a request by a surface that has checked its caller's session. Nothing that arrives over the
/// network can carry it.
#[derive(Clone, Copy, Debug)]
pub struct SignedIn(pub Agent);

impl FromRequestParts<App> for Agent {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        if let Some(SignedIn(agent)) = parts.extensions.get() {
            return Ok(*agent);
        }
        Ok(authenticate(app, &parts.headers, Kind::Agent).await?)
    }
}

impl FromRequestParts<App> for MaybeAgent {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        if let Some(SignedIn(agent)) = parts.extensions.get() {
            return Ok(Self(Some(*agent)));
        }
        if !parts.headers.contains_key(AUTHORIZATION) {
            return Ok(Self(None));
        }
        Ok(Self(Some(authenticate(app, &parts.headers, Kind::Agent).await?)))
    }
}

/// Finds the agent behind the bearer key of a request; the key must be of this kind.
pub async fn authenticate(app: &App, headers: &HeaderMap, wanted: Kind) -> Result<Agent> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        return Err(Error::new(
            Code::ApiKeyMissing,
            "The Authorization header is missing.",
            "Send `Authorization: Bearer aos_live_…`. Get a key with POST /api/quickstart and a body such as {\"name\":\"MyAgent\"}.",
        ));
    };
    let text = header.to_str().unwrap_or_default();
    let key = text
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, key)| key.trim());
    let Some(key) = key else {
        return Err(invalid("The Authorization header is not of the form `Bearer KEY`.", wanted));
    };
    key_holder(app, key, wanted).await
}

/// Finds the agent that holds a live key of this kind.
pub(super) async fn key_holder(app: &App, key: &str, wanted: Kind) -> Result<Agent> {
    match api_keys::kind_of(key) {
        None => return Err(invalid("The bearer token is not a key of ours: mistyped or cut short.", wanted)),
        Some(kind) if kind != wanted => {
            return Err(invalid(&format!("This call does not take {} keys.", kind.as_str()), wanted));
        }
        Some(_) => {}
    }
    let digest = Digest::of(key);
    // Not the pool of the reads: a slow one must not keep money's callers from being known.
    let mut conn = app.write().await?;
    let found = queries::find_live_key(&mut conn, &digest, wanted).await?;
    let Some(found) = found.filter(|found| digest.matches(&found.digest)) else {
        return Err(invalid("The bearer token is unknown or was revoked.", wanted));
    };
    let now = app.clock().now();
    if found.last_used_at.is_none_or(|at| now - at > chrono::TimeDelta::minutes(1)) {
        queries::touch_key(&mut conn, found.id, now).await?;
        conn.keep().await?;
    }
    Ok(Agent { id: found.agent_id, number: found.agent_number, key_id: found.id })
}

fn invalid(message: &str, wanted: Kind) -> Error {
    let fix = match wanted {
        Kind::Agent => {
            "Send `Authorization: Bearer aos_live_…` with the key from sign-up or the latest POST /api/agents/:id/rotate-key."
        }
        Kind::Publisher => {
            "Send a publisher key, `aff_agent_…`, from POST /api/agents/:id/keys with {\"kind\":\"publisher\"}."
        }
        Kind::Merchant => {
            "Send a merchant key, `merch_key_…`, from POST /api/agents/:id/keys with {\"kind\":\"merchant\"}."
        }
    };
    Error::new(Code::ApiKeyInvalid, message, fix)
}
