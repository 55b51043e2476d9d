//! HTTP of the network: extract, call, respond.

use super::ops;
use super::wire::{DiscoverQuery, DiscoveredProgram, JoinRequest, NichesResponse, StatsResponse};
use crate::app::App;
use crate::auth;
use crate::error::Error;
use crate::features::partnerships::wire::PartnershipResponse;
use crate::page::{List, PageQuery, Paged};
use crate::web::extract::{Path, Payload, Query};
use crate::web::respond::{self, ErrorBody, Reply};
use axum::extract::State;
use shared::id::ProgramId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of the network.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(discover))
        .routes(routes!(list_niches))
        .routes(routes!(network_stats))
        .routes(routes!(join_program))
}

/// Find programs to join
///
/// Active ones. With a key each says whether the caller has joined it.
#[utoipa::path(
    get, path = "/api/network/discover", tag = "network", operation_id = "discover",
    security((), ("agent_key" = [])),
    params(DiscoverQuery),
    responses(
        (status = 200, description = "A page of programs", body = Paged<DiscoveredProgram>),
        (status = 400, description = "invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_invalid: a key was sent and is not valid", body = ErrorBody),
    ),
)]
async fn discover(
    State(app): State<App>,
    caller: auth::MaybeAgent,
    Query(query): Query<DiscoverQuery>,
) -> Reply {
    let filter = query.filter()?;
    let page = PageQuery { page: query.page, per_page: query.per_page }
        .checked_from(query.cursor.as_deref(), List::Discover.ordered(filter.sort as u8))?;
    let mut conn = app.read().await.map_err(Error::from)?;
    let programs = ops::discover(&mut conn, caller.0.map(|agent| agent.id), &filter, page).await?;
    Ok(respond::ok(&programs.untrusted().answering(&filter)?))
}

/// List niches
///
/// The fields of active programs, those with most programs first.
#[utoipa::path(
    get, path = "/api/network/niches", tag = "network", operation_id = "list_niches", security(()),
    responses((status = 200, description = "The niches", body = NichesResponse)),
)]
async fn list_niches(State(app): State<App>) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    Ok(respond::ok(&NichesResponse { data: ops::list_niches(&mut conn).await? }))
}

/// Get the network's figures
///
/// How many agents, programs and partnerships there are, and what they brought about.
#[utoipa::path(
    get, path = "/api/network/stats", tag = "network", operation_id = "network_stats", security(()),
    responses((status = 200, description = "The figures", body = StatsResponse)),
)]
async fn network_stats(State(app): State<App>) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    Ok(respond::ok(&ops::stats(&mut conn, app.clock()).await?))
}

/// Join a program
///
/// The partnership is approved at once when the program's `approval_mode` is `auto`; otherwise it is
/// pending until the advertiser decides.
#[utoipa::path(
    post, path = "/api/network/join/{program_id}", tag = "network", operation_id = "join_program",
    params(("program_id" = uuid::Uuid, Path, description = "The program's id")),
    request_body = JoinRequest,
    responses(
        (status = 201, description = "The partnership", body = PartnershipResponse),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "own_program", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
        (status = 409, description = "already_affiliated; invalid_state: the program is not active; idempotency_key_reused", body = ErrorBody),
    ),
)]
async fn join_program(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<ProgramId>,
    mut payload: Payload,
) -> Reply {
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    let program = ops::lock_to_join(&mut unit, caller.id, id).await?;
    let request: JoinRequest = payload.json_or_default()?;
    let partnership =
        ops::join(&mut unit, app.clock(), caller.id, &program, request.message.as_deref()).await?;
    unit.created(&PartnershipResponse::from(partnership)).await
}
