//! HTTP of a merchant's reports of what agents tracked through `/v1`.

use super::ops;
use super::wire::{AgentRuntimeResponse, AttributionEventResponse, EventsQuery, RuntimesQuery};
use crate::app::App;
use crate::auth;
use crate::error::{Error, Result};
use crate::page::Paged;
use crate::web::extract::{Path, Query};
use crate::web::respond::{self, ErrorBody, Reply};
use axum::extract::State;
use shared::id::ProgramId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of attribution under `/api`.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_agent_runtimes)).routes(routes!(list_attribution_events))
}

/// Report by agent runtime
///
/// What agents tracked for a program you own through POST /v1/track and what came of it, one row for each
/// `metadata.agent_runtime`, most events first.
#[utoipa::path(
    get, path = "/api/programs/{id}/agent-runtimes", tag = "attribution", operation_id = "list_agent_runtimes",
    params(("id" = uuid::Uuid, Path, description = "The program's id"), RuntimesQuery),
    responses(
        (status = 200, description = "A page of runtimes", body = Paged<AgentRuntimeResponse>),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: another's program", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
    ),
)]
async fn list_agent_runtimes(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<ProgramId>,
    query: Result<Query<RuntimesQuery>, respond::ApiError>,
) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    ops::must_own(&mut conn, caller.id, id).await?;
    let Query(query) = query?;
    let page = ops::list_runtimes(&mut conn, id, query.span()?, query.page()?).await?;
    Ok(respond::ok(&page.map(AgentRuntimeResponse::from).answering(&query)?))
}

/// List what agents tracked
///
/// The events of a program you own with their metadata and the order each led to, newest first.
#[utoipa::path(
    get, path = "/api/programs/{id}/attribution-events", tag = "attribution", operation_id = "list_attribution_events",
    params(("id" = uuid::Uuid, Path, description = "The program's id"), EventsQuery),
    responses(
        (status = 200, description = "A page of events", body = Paged<AttributionEventResponse>),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: another's program", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
    ),
)]
async fn list_attribution_events(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<ProgramId>,
    query: Result<Query<EventsQuery>, respond::ApiError>,
) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    ops::must_own(&mut conn, caller.id, id).await?;
    let Query(query) = query?;
    let runtime = query.agent_runtime.as_deref();
    let page = ops::list_events(&mut conn, id, runtime, query.span()?, query.page()?).await?;
    Ok(respond::ok(&page.map(AttributionEventResponse::from).answering(&query)?))
}
