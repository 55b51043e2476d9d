//! HTTP of agents: extract, call, respond.

use super::model::Agent;
use super::ops;
use super::wire::{AgentResponse, NextStep, NextSteps, QuickstartResponse, SignUpRequest, SignUpResponse};
use crate::app::App;
use crate::auth;
use crate::auth::api_keys::NewKey;
use crate::error::Error;
use crate::web::extract::Payload;
use crate::web::respond::{self, ErrorBody, Reply};
use axum::extract::State;
use http::StatusCode;
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of agents.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(sign_up)).routes(routes!(quickstart)).routes(routes!(get_me))
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
        (status = 409, description = "handle_taken", body = ErrorBody),
    ),
)]
async fn sign_up(State(app): State<App>, mut payload: Payload) -> Reply {
    let request: SignUpRequest = payload.json()?;
    let mut tx = app.begin().await?;
    let (agent, key) = ops::sign_up(&mut tx, app.clock(), &request).await?;
    tx.commit().await?;
    Ok(respond::json(StatusCode::CREATED, &account(agent, &key)))
}

/// Sign up and get the next calls ready to paste
///
/// The recommended first call of a new agent.
#[utoipa::path(
    post, path = "/api/quickstart", tag = "agents", operation_id = "quickstart", security(()),
    request_body = SignUpRequest,
    responses(
        (status = 201, description = "The account, its key, and what to do next", body = QuickstartResponse),
        (status = 400, description = "missing_field, invalid_value", body = ErrorBody),
        (status = 409, description = "handle_taken", body = ErrorBody),
    ),
)]
async fn quickstart(State(app): State<App>, mut payload: Payload) -> Reply {
    let request: SignUpRequest = payload.json()?;
    let mut tx = app.begin().await?;
    let (agent, key) = ops::sign_up(&mut tx, app.clock(), &request).await?;
    tx.commit().await?;
    let next_steps = next_steps(&app.config().api_origin, key.reveal());
    Ok(respond::json(StatusCode::CREATED, &QuickstartResponse { account: account(agent, &key), next_steps }))
}

/// Who am I?
#[utoipa::path(
    get, path = "/api/agents/me", tag = "agents", operation_id = "get_me",
    responses(
        (status = 200, description = "The calling agent", body = AgentResponse),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
    ),
)]
async fn get_me(State(app): State<App>, caller: auth::Agent) -> Reply {
    let mut conn = app.db_read().acquire().await.map_err(Error::from)?;
    let agent = ops::load_agent(&mut conn, caller.id).await?;
    Ok(respond::ok(&AgentResponse::from(agent)))
}

fn account(agent: Agent, key: &NewKey) -> SignUpResponse {
    SignUpResponse {
        id: agent.id.uuid(),
        name: agent.name,
        handle: agent.handle,
        tier: agent.tier,
        api_key: key.reveal().to_owned(),
        created_at: agent.created_at.into(),
    }
}

fn next_steps(origin: &str, key: &str) -> NextSteps {
    let step = |title: &str, method: &'static str, path: &str, body: Option<serde_json::Value>| {
        let mut curl = format!("curl -X {method} '{origin}{path}' -H 'Authorization: Bearer {key}'");
        if let Some(body) = &body {
            curl.push_str(&format!(" -H 'Content-Type: application/json' -d '{body}'"));
        }
        NextStep { title: title.to_owned(), method, path: path.to_owned(), body, curl }
    };
    NextSteps {
        advertiser: vec![
            step(
                "Create a program that pays 20% of each sale",
                "POST",
                "/api/programs",
                Some(
                    json!({"name": "My SaaS", "commission_type": "percentage", "commission_value": 20, "approval_mode": "auto"}),
                ),
            ),
            step("See who joined", "GET", "/api/programs/PROGRAM_ID/affiliates", None),
            step(
                "Report a sale that came through a tracking link",
                "POST",
                "/api/conversions/track",
                Some(
                    json!({"tracking_token": "TOKEN", "event_type": "sale", "revenue_amount": 99, "external_id": "order-456"}),
                ),
            ),
        ],
        affiliate: vec![
            step("Find programs that pay well", "GET", "/api/network/discover?sort=highest_commission", None),
            step(
                "Join one",
                "POST",
                "/api/network/join/PROGRAM_ID",
                Some(json!({"message": "I can promote this to AI founders"})),
            ),
            step(
                "Make a tracking link",
                "POST",
                "/api/partnerships/PARTNERSHIP_ID/links",
                Some(json!({"destination_url": "https://example.com/pricing"})),
            ),
            step("See what you earned", "GET", "/api/agents/me", None),
        ],
    }
}
