//! Fetching and publishing.

use super::queries::{self, DirectoryRow};
use crate::app::App;
use crate::error::{Error, Result};
use crate::redis::Target;
use crate::web::egress::{Call, Egress};
use crate::workers::jobs::Turn;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use redis::RedisResult;
use secrecy::ExposeSecret;
use shared::agent_keys::{self, AgentKey};
use std::collections::BTreeMap;
use std::time::Duration;

/// Where a directory lies at its origin.
const PATH: &str = "/.well-known/http-message-signatures-directory";
const MEDIA_TYPE: HeaderValue =
    HeaderValue::from_static("application/http-message-signatures-directory+json");
/// A directory takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause until a directory is fetched again: how long a key that was taken back may live.
const REFRESH: TimeDelta = TimeDelta::hours(1);
/// Pause after a failure.
const RETRY: TimeDelta = TimeDelta::minutes(1);
/// How long keys stay in force while their origin does not answer.
pub const KEEP_DAYS: i64 = 7;

/// The job: fetches what is due and publishes what holds, also into a Redis that forgot it.
pub async fn job(app: App) -> Result<Turn> {
    let origins = &app.config().agent_directories;
    if origins.is_empty() {
        return Ok(Turn::Idle);
    }
    let mut conn = app.db_worker().acquire().await?;
    let now = app.clock().now();
    let known = queries::list_directories(&mut conn, origins).await?;
    for origin in origins {
        if !is_due(known.iter().find(|row| row.origin == *origin), now) {
            continue;
        }
        match fetch(app.egress(), origin).await {
            Ok(keys) => {
                tracing::info!(origin, keys = keys.len(), "fetched the keys of an agent");
                queries::save_keys(&mut conn, origin, &agent_keys::write(&keys), now).await?;
            }
            Err(failure) => {
                tracing::warn!(origin, failure, "cannot fetch the keys of an agent; those before stay");
                queries::save_failure(&mut conn, origin, &failure, now).await?;
            }
        }
    }
    let known = queries::list_directories(&mut conn, origins).await?;
    let text = agent_keys::write(&in_force(&known, now));
    publish(&app, text).await.map_err(Error::unavailable)?;
    let failing = known.iter().filter(|row| row.failure.is_some()).count();
    metrics::gauge!("cp_agent_directories_failing").set(failing as f64);
    Ok(Turn::Idle)
}

/// Puts the keys where edges look for them.
async fn publish(app: &App, text: String) -> RedisResult<()> {
    let mut conn = Target::parse(app.config().redis_url.expose_secret())?.connect().await?;
    redis::cmd("SET").arg(app.keys().agent_keys()).arg(text).query_async(&mut conn).await
}

fn is_due(known: Option<&DirectoryRow>, now: DateTime<Utc>) -> bool {
    known.is_none_or(|row| now >= row.tried_at + if row.failure.is_some() { RETRY } else { REFRESH })
}

async fn fetch(egress: &Egress, origin: &str) -> std::result::Result<Vec<AgentKey>, String> {
    let call = Call {
        method: Method::GET,
        url: format!("{origin}{PATH}"),
        headers: HeaderMap::from_iter([(ACCEPT, MEDIA_TYPE)]),
        body: Bytes::new(),
        deadline: PATIENCE,
        answer_len_max: agent_keys::LEN_MAX,
    };
    let answer = egress.fetch(call).await.map_err(|failure| format!("{failure:?}"))?;
    if answer.status != StatusCode::OK {
        return Err(format!("it answers {}", answer.status.as_u16()));
    }
    agent_keys::read(&answer.body).map_err(|error| error.to_string())
}

/// All keys that hold, each once.
fn in_force(known: &[DirectoryRow], now: DateTime<Utc>) -> Vec<AgentKey> {
    let fresh = |row: &&DirectoryRow| row.fetched_at.is_some_and(|at| at + TimeDelta::days(KEEP_DAYS) > now);
    let texts = known.iter().filter(fresh).filter_map(|row| row.keys.as_ref());
    let keys = texts.flat_map(|text| agent_keys::read(text.as_bytes()).unwrap_or_default());
    let keys: BTreeMap<String, AgentKey> = keys.map(|key| (key.id.clone(), key)).collect();
    if keys.len() > agent_keys::KEYS_MAX {
        tracing::error!(keys = keys.len(), "more keys of agents than edges take; some are left out");
    }
    keys.into_values().take(agent_keys::KEYS_MAX).collect()
}
