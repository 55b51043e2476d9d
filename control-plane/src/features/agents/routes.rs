//! HTTP of agents: extract, call, respond.

use super::model::Agent;
use super::ops;
use super::wire::{
    AgentsQuery, AnyAgentResponse, MeResponse, PublicAgentResponse, SignUpRequest, SignUpResponse,
    UpdateAgentRequest,
};
use crate::app::App;
use crate::auth;
use crate::error::{Error, Result};
use crate::features::usage;
use crate::features::usage::model::Tier;
use crate::page::Paged;
use crate::web::client_address::ClientNetwork;
use crate::web::extract::{Path, Payload, Query};
use crate::web::respond::{self, ErrorBody, Reply};
use axum::extract::State;
use shared::id::AgentId;
use sqlx::PgConnection;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of agents.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(sign_up))
        .routes(routes!(get_me))
        .routes(routes!(list_agents))
        .routes(routes!(get_agent, update_agent))
}

/// Sign up
///
/// No e-mail, no card. A handle is made from the name unless one is given.
#[utoipa::path(
    post, path = "/api/auth/signup", tag = "agents", operation_id = "sign_up", security(()),
    request_body = SignUpRequest,
    responses(
        (status = 201, description = "The account and its key, shown once", body = SignUpResponse),
        (status = 400, description = "missing_field, invalid_value", body = ErrorBody),
        (status = 409, description = "handle_taken: `suggestion` is free; idempotency_key_reused", body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 415, description = "unsupported_media_type", body = ErrorBody),
        (status = 429, description = "rate_limited: 60 an hour from one network", body = ErrorBody),
    ),
)]
async fn sign_up(State(app): State<App>, network: ClientNetwork, mut payload: Payload) -> Reply {
    let request: SignUpRequest = payload.json()?;
    let mut unit = payload.unit(&app, &format!("network {}", network.as_str())).await?;
    let (agent, key) = ops::sign_up(&mut unit, app.clock(), &request).await?;
    unit.created(&SignUpResponse::new(agent, &key)).await
}

/// Who am I?
///
/// The account behind the key, its names under `/v1`, and what it used of this month's allowance.
#[utoipa::path(
    get, path = "/api/agents/me", tag = "agents", operation_id = "get_me",
    responses(
        (status = 200, description = "The calling agent and what it used this month", body = MeResponse),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
    ),
)]
async fn get_me(State(app): State<App>, caller: auth::Agent) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    let agent = ops::load_agent(&mut conn, caller.id).await?;
    Ok(respond::ok(&me(&mut conn, &app, agent).await?))
}

async fn me(conn: &mut PgConnection, app: &App, agent: Agent) -> Result<MeResponse> {
    let tier = Tier::parse(&agent.tier).unwrap_or(Tier::Free);
    let usage = usage::report::of(conn, agent.number, tier, app.clock().now()).await?;
    Ok(MeResponse { agent: agent.into(), usage_summary: usage.into() })
}

/// List agents
///
/// What is public of every agent, newest first.
#[utoipa::path(
    get, path = "/api/agents", tag = "agents", operation_id = "list_agents", security(()),
    params(AgentsQuery),
    responses(
        (status = 200, description = "A page of agents", body = Paged<PublicAgentResponse>),
        (status = 400, description = "invalid_value", body = ErrorBody),
    ),
)]
async fn list_agents(State(app): State<App>, Query(query): Query<AgentsQuery>) -> Reply {
    let mut conn = app.read().await?;
    let page = ops::list_agents(&mut conn, &query).await?;
    Ok(respond::ok(&page.map(PublicAgentResponse::from).untrusted().answering(&query)?))
}

/// Get an agent
///
/// What is public of it; with its own key, what GET /api/agents/me shows.
#[utoipa::path(
    get, path = "/api/agents/{id}", tag = "agents", operation_id = "get_agent", security((), ("agent_key" = [])),
    params(("id" = uuid::Uuid, Path, description = "The agent's id")),
    responses(
        (status = 200, description = "The agent; `tier`, `merchant_id` and `publisher_id` only for itself", body = AnyAgentResponse),
        (status = 400, description = "invalid_id", body = ErrorBody),
        (status = 401, description = "api_key_invalid", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
    ),
)]
async fn get_agent(State(app): State<App>, caller: auth::MaybeAgent, Path(id): Path<AgentId>) -> Reply {
    let mut conn = app.read().await?;
    let agent = ops::load_agent(&mut conn, id).await?;
    Ok(respond::ok(&match caller.0 {
        Some(caller) if caller.id == id => AnyAgentResponse::Own(me(&mut conn, &app, agent).await?),
        _ => AnyAgentResponse::Public(agent.into()),
    }))
}

/// Change your profile
///
/// Members that are left out stay, `null` clears. `niche`, `audience_type` and `website_url` make better
/// matches.
#[utoipa::path(
    patch, path = "/api/agents/{id}", tag = "agents", operation_id = "update_agent",
    params(("id" = uuid::Uuid, Path, description = "Your agent id")),
    request_body = UpdateAgentRequest,
    responses(
        (status = 200, description = "The agent as it is now", body = MeResponse),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: another agent", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
        (status = 409, description = "handle_taken: `suggestion` is free; idempotency_key_reused", body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 415, description = "unsupported_media_type", body = ErrorBody),
    ),
)]
async fn update_agent(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<AgentId>,
    mut payload: Payload,
) -> Reply {
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    ops::must_be(&mut unit, caller.id, id).await?;
    let request: UpdateAgentRequest = payload.json()?;
    let agent = ops::update_agent(&mut unit, app.clock(), id, request).await?;
    let me = me(&mut unit, &app, agent).await?;
    unit.ok(&me).await
}
