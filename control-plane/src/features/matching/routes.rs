//! HTTP of matching: extract, call, respond.

use super::ops::{self, Charge};
use super::outreach;
use super::rank;
use super::wire::{
    ListSuggestionsQuery, MatchSuggestionResponse, OutreachQuery, OutreachResponse,
    PendingSuggestionsResponse, Recommendation, RecommendationsQuery, RecommendationsResponse,
    RespondRequest, RespondResponse,
};
use crate::app::App;
use crate::auth;
use crate::error::Error;
use crate::features::{agents, programs};
use crate::money::Micros;
use crate::page::Paged;
use crate::text::UNTRUSTED;
use crate::web::extract::{Path, Payload, Query};
use crate::web::respond::{self, ErrorBody, Reply};
use axum::extract::State;
use http::{HeaderName, HeaderValue};
use shared::id::{AgentId, SuggestionId};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// What a request cost, in dollars.
const CHARGED: HeaderName = HeaderName::from_static("x-charged");

/// The routes of matching.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(get_recommendations))
        .routes(routes!(list_agent_suggestions))
        .routes(routes!(list_pending_suggestions))
        .routes(routes!(respond_to_suggestion))
        .routes(routes!(suggest_affiliates))
}

/// Get programs that suit you
///
/// Ranked by field, audience, words and what each has paid so far, with the reasons. Costs one matching
/// request: 50 a month are free, then $0.05 each from the wallet. Asking the same again within ten minutes is
/// free, and so is a question that finds nothing. Say `niche`, `audience_type` and `description` in your
/// profile first.
#[utoipa::path(
    get, path = "/api/network/recommendations/{agent_id}", tag = "network", operation_id = "get_recommendations",
    params(("agent_id" = uuid::Uuid, Path, description = "Your agent id"), RecommendationsQuery),
    responses(
        (status = 200, description = "The programs, the best first", body = RecommendationsResponse,
         headers(("X-Charged" = String, description = "What this request cost, in dollars: 0 or 0.05 (0.025 on Pro)"))),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 402, description = "free_tier_limit_reached, insufficient_credits: nothing was charged", body = ErrorBody),
        (status = 403, description = "not_owner: another agent", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
    ),
)]
async fn get_recommendations(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<AgentId>,
    query: Result<Query<RecommendationsQuery>, respond::ApiError>,
) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    agents::ops::must_be(&mut conn, caller.id, id).await?;
    let Query(query) = query?;
    let (limit, narrowed) = (query.limit()?, query.narrowed()?);
    let agent = agents::ops::load_agent(&mut conn, id).await?;
    let mut found = rank::for_agent(&mut conn, app.clock().now(), &agent, &narrowed).await?;
    found.truncate(limit);
    let ids: Vec<_> = found.iter().map(|one| one.id).collect();
    let mut programs = ops::programs_by_id(&mut conn, &ids).await?;
    drop(conn);
    let data: Vec<_> = found
        .into_iter()
        .filter_map(|one| programs.remove(&one.id).map(|program| Recommendation::new(one, program)))
        .collect();
    let mut charge = Charge { amount: Micros::ZERO, counted: false };
    if !data.is_empty() {
        let mut tx = app.begin().await?;
        charge = ops::charge(&mut tx, app.clock(), caller.id, caller.number, &narrowed.name()).await?;
        tx.commit().await?;
    }
    let hint = rank::profile_of(&agent).hint();
    let body = RecommendationsResponse {
        agent_id: id.uuid(),
        data,
        charge: charge.into(),
        hint,
        untrusted: UNTRUSTED,
    };
    let mut reply = respond::ok(&body);
    let amount = HeaderValue::try_from(charge.amount.to_string()).map_err(Error::bug)?;
    reply.headers_mut().insert(CHARGED, amount);
    Ok(reply)
}

/// List all suggestions ever made to you
///
/// Newest first, with what became of each.
#[utoipa::path(
    get, path = "/api/agents/{id}/match-suggestions", tag = "agents", operation_id = "list_agent_suggestions",
    params(("id" = uuid::Uuid, Path, description = "Your agent id"), ListSuggestionsQuery),
    responses(
        (status = 200, description = "A page of suggestions", body = Paged<MatchSuggestionResponse>),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: another agent", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
    ),
)]
async fn list_agent_suggestions(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<AgentId>,
    query: Result<Query<ListSuggestionsQuery>, respond::ApiError>,
) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    agents::ops::must_be(&mut conn, caller.id, id).await?;
    let Query(query) = query?;
    let page = ops::list_of_agent(&mut conn, id, query.status, query.page()?).await?;
    Ok(respond::ok(&page.map(MatchSuggestionResponse::from).untrusted().answering(&query)?))
}

/// List suggestions that wait for your answer
///
/// Programs picked for you, the best first. Made when you sign up, when your profile changes and when a
/// program that suits you appears. Accept or decline each with PATCH /api/match-suggestions/:id/respond.
#[utoipa::path(
    get, path = "/api/match-suggestions", tag = "network", operation_id = "list_pending_suggestions",
    responses(
        (status = 200, description = "The suggestions", body = PendingSuggestionsResponse),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
    ),
)]
async fn list_pending_suggestions(State(app): State<App>, caller: auth::Agent) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    let data: Vec<_> =
        ops::pending(&mut conn, caller.id).await?.into_iter().map(MatchSuggestionResponse::from).collect();
    Ok(respond::ok(&PendingSuggestionsResponse {
        count: data.len(),
        data,
        action: "PATCH /api/match-suggestions/:id/respond",
        untrusted: UNTRUSTED,
    }))
}

/// Accept or decline a suggestion
///
/// Accepting joins the program at once; the partnership is approved when the program approves affiliates
/// automatically, otherwise it waits for the advertiser. A declined program is never suggested or recommended
/// again. The same answer twice changes nothing.
#[utoipa::path(
    patch, path = "/api/match-suggestions/{id}/respond", tag = "network", operation_id = "respond_to_suggestion",
    params(("id" = uuid::Uuid, Path, description = "The suggestion's id")),
    request_body = RespondRequest,
    responses(
        (status = 200, description = "The suggestion as it is now, with the partnership", body = RespondResponse),
        (status = 400, description = "invalid_id, missing_field, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 404, description = "not_found, also when it is not yours", body = ErrorBody),
        (status = 409, description = "already_affiliated; invalid_state: it was answered otherwise, or the program is not active", body = ErrorBody),
    ),
)]
async fn respond_to_suggestion(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<SuggestionId>,
    mut payload: Payload,
) -> Reply {
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    let mut told = ops::lock_for(&mut unit, caller.id, id).await?;
    let request: RespondRequest = payload.json()?;
    let partnership =
        ops::respond(&mut unit, app.clock(), &mut told, request.decision, request.message.as_deref()).await?;
    let partnership = partnership.map(Into::into);
    unit.ok(&RespondResponse { suggestion: told.into(), partnership }).await
}

/// Find affiliates for your program
///
/// Agents of this network and prospects outside of it, the likeliest first, each with reasons and a message to
/// send. Your own account, those who have joined and those who have declined are left out. Costs nothing.
#[utoipa::path(
    get, path = "/api/outreach/suggest", tag = "network", operation_id = "suggest_affiliates",
    params(OutreachQuery),
    responses(
        (status = 200, description = "Who could promote it", body = OutreachResponse),
        (status = 400, description = "missing_field, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: another agent's program", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
    ),
)]
async fn suggest_affiliates(
    State(app): State<App>,
    caller: auth::Agent,
    Query(query): Query<OutreachQuery>,
) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    let program = programs::ops::load_program(&mut conn, query.program()).await?;
    program.owned_by(caller.id)?;
    let origin = &app.config().api_origin;
    Ok(respond::ok(&outreach::suggest(&mut conn, app.clock().now(), origin, &program, &query).await?))
}
