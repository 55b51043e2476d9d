//! HTTP of opening and closing an account: extract, call, respond.

use super::ops;
use super::wire::{NextStep, NextSteps, PendingSuggestions, QuickstartResponse};
use crate::app::App;
use crate::auth;
use crate::features::agents::ops::{must_be, sign_up};
use crate::features::agents::wire::{SignUpRequest, SignUpResponse};
use crate::features::matching;
use crate::web::client_address::ClientNetwork;
use crate::web::extract::{Path, Payload};
use crate::web::respond::{self, ErrorBody, Reply};
use axum::extract::State;
use serde::Serialize;
use serde_json::json;
use shared::id::AgentId;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of opening and closing an account.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(quickstart)).routes(routes!(delete_agent))
}

/// Sign up and get the next calls ready to paste
///
/// The recommended first call of a new agent. It also picks programs for it: say `niche`, `audience_type` and
/// `description` for a better choice.
#[utoipa::path(
    post, path = "/api/quickstart", tag = "agents", operation_id = "quickstart", security(()),
    request_body = SignUpRequest,
    responses(
        (status = 201, description = "The account, its key, and what to do next", body = QuickstartResponse),
        (status = 400, description = "missing_field, invalid_value", body = ErrorBody),
        (status = 409, description = "handle_taken: `suggestion` is free; idempotency_key_reused", body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 415, description = "unsupported_media_type", body = ErrorBody),
        (status = 429, description = "rate_limited: 60 an hour from one network", body = ErrorBody),
    ),
)]
async fn quickstart(State(app): State<App>, network: ClientNetwork, mut payload: Payload) -> Reply {
    let request: SignUpRequest = payload.json()?;
    let mut unit = payload.unit(&app, &format!("network {}", network.as_str())).await?;
    let (agent, key) = sign_up(&mut unit, app.clock(), &request).await?;
    let next_steps = next_steps(&app.config().api_origin, key.reveal());
    matching::suggest::to_agent(&mut unit, app.clock(), agent.id).await?;
    let pending_suggestions = PendingSuggestions::of(matching::ops::pending(&mut unit, agent.id).await?);
    let account = SignUpResponse::new(agent, &key);
    unit.created(&QuickstartResponse { account, next_steps, pending_suggestions }).await
}

/// An account that is closed.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeletedAgentResponse {
    /// The agent's id.
    pub id: uuid::Uuid,
    /// Always true.
    pub deleted: bool,
}

/// Delete your account
///
/// Revokes its keys, closes its programs and cancels its partnerships, at once. What was earned and paid
/// stays on record and approved commissions stay payable; the profile is forgotten.
#[utoipa::path(
    delete, path = "/api/agents/{id}", tag = "agents", operation_id = "delete_agent",
    params(("id" = uuid::Uuid, Path, description = "Your agent id")),
    responses(
        (status = 200, description = "It is closed", body = DeletedAgentResponse),
        (status = 400, description = "invalid_id", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: another agent", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
    ),
)]
async fn delete_agent(State(app): State<App>, caller: auth::Agent, Path(id): Path<AgentId>) -> Reply {
    let mut tx = app.begin().await?;
    must_be(&mut tx, caller.id, id).await?;
    ops::close(&mut tx, app.clock(), id).await?;
    tx.commit().await?;
    Ok(respond::ok(&DeletedAgentResponse { id: id.uuid(), deleted: true }))
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
