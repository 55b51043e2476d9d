//! HTTP of programs: extract, call, respond.

use super::ops::{self, End};
use super::wire::{
    CreateProgramRequest, DeleteProgramResponse, ListProgramsQuery, ProgramResponse, UpdateProgramRequest,
};
use crate::app::App;
use crate::auth;
use crate::error::Error;
use crate::page::{List, PageQuery, Paged};
use crate::web::extract::{NoFields, Path, Payload, Query};
use crate::web::respond::{self, ErrorBody, Reply};
use axum::extract::State;
use shared::id::ProgramId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of programs.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_program, list_programs))
        .routes(routes!(get_program, update_program, delete_program))
        .routes(routes!(pause_program))
        .routes(routes!(activate_program))
}

/// Create a program
///
/// The caller becomes its advertiser. It is active at once.
#[utoipa::path(
    post, path = "/api/programs", tag = "programs", operation_id = "create_program",
    request_body = CreateProgramRequest,
    responses(
        (status = 201, description = "The program", body = ProgramResponse),
        (status = 400, description = "missing_field, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 409, description = "idempotency_key_reused", body = ErrorBody),
    ),
)]
async fn create_program(State(app): State<App>, caller: auth::Agent, mut payload: Payload) -> Reply {
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    let request: CreateProgramRequest = payload.json()?;
    let program = ops::create_program(&mut unit, app.clock(), caller.id, request).await?;
    unit.created(&ProgramResponse::from(program)).await
}

/// List programs
///
/// Everybody's, newest first unless `sort` says otherwise; archived ones only when asked for.
#[utoipa::path(
    get, path = "/api/programs", tag = "programs", operation_id = "list_programs", security(()),
    params(ListProgramsQuery),
    responses(
        (status = 200, description = "A page of programs", body = Paged<ProgramResponse>),
        (status = 400, description = "invalid_value", body = ErrorBody),
    ),
)]
async fn list_programs(State(app): State<App>, Query(query): Query<ListProgramsQuery>) -> Reply {
    let filter = query.filter()?;
    let page = PageQuery { page: query.page, per_page: query.per_page }
        .checked_from(query.cursor.as_deref(), List::Programs.ordered(filter.sort as u8))?;
    let mut conn = app.read().await.map_err(Error::from)?;
    let programs = ops::list_programs(&mut conn, &filter, page).await?;
    Ok(respond::ok(&programs.map(ProgramResponse::from).untrusted().answering(&filter)?))
}

/// Get a program
///
/// Its offer and its terms, as everybody sees them.
#[utoipa::path(
    get, path = "/api/programs/{id}", tag = "programs", operation_id = "get_program", security(()),
    params(("id" = uuid::Uuid, Path, description = "The program's id")),
    responses(
        (status = 200, description = "The program", body = ProgramResponse),
        (status = 400, description = "invalid_id", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
    ),
)]
async fn get_program(State(app): State<App>, Path(id): Path<ProgramId>) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    Ok(respond::ok(&ProgramResponse::from(ops::load_program(&mut conn, id).await?)))
}

/// Change a program
///
/// Absent members stay, `null` clears or puts the default back. New terms hold for conversions from now
/// on; commissions that exist keep theirs.
#[utoipa::path(
    patch, path = "/api/programs/{id}", tag = "programs", operation_id = "update_program",
    params(("id" = uuid::Uuid, Path, description = "The program's id")),
    request_body = UpdateProgramRequest,
    responses(
        (status = 200, description = "The program as it is now", body = ProgramResponse),
        (status = 400, description = "invalid_id, missing_field, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
        (status = 409, description = "invalid_state: the program is archived", body = ErrorBody),
    ),
)]
async fn update_program(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<ProgramId>,
    mut payload: Payload,
) -> Reply {
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    let program = ops::lock_own_program(&mut unit, caller.id, id).await?;
    let request: UpdateProgramRequest = payload.json()?;
    let program = ops::update_program(&mut unit, app.clock(), program, request).await?;
    unit.ok(&ProgramResponse::from(program)).await
}

/// Pause a program
///
/// Its links redirect on, uncounted, and nobody can join until it is active again.
#[utoipa::path(
    post, path = "/api/programs/{id}/pause", tag = "programs", operation_id = "pause_program",
    params(("id" = uuid::Uuid, Path, description = "The program's id")),
    responses(
        (status = 200, description = "The program, paused", body = ProgramResponse),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
        (status = 409, description = "already_paused, invalid_state, idempotency_key_reused", body = ErrorBody),
    ),
)]
async fn pause_program(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<ProgramId>,
    mut payload: Payload,
) -> Reply {
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    let program = ops::lock_own_program(&mut unit, caller.id, id).await?;
    let NoFields {} = payload.json_or_default()?;
    let program = ops::pause_program(&mut unit, app.clock(), program).await?;
    unit.ok(&ProgramResponse::from(program)).await
}

/// Activate a paused program
///
/// Its links count again within a second.
#[utoipa::path(
    post, path = "/api/programs/{id}/activate", tag = "programs", operation_id = "activate_program",
    params(("id" = uuid::Uuid, Path, description = "The program's id")),
    responses(
        (status = 200, description = "The program, active", body = ProgramResponse),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
        (status = 409, description = "already_active, invalid_state, idempotency_key_reused", body = ErrorBody),
    ),
)]
async fn activate_program(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<ProgramId>,
    mut payload: Payload,
) -> Reply {
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    let program = ops::lock_own_program(&mut unit, caller.id, id).await?;
    let NoFields {} = payload.json_or_default()?;
    let program = ops::activate_program(&mut unit, app.clock(), program).await?;
    unit.ok(&ProgramResponse::from(program)).await
}

/// Delete a program
///
/// Without conversions it goes for good, with its partnerships and links (410 from then on). With
/// conversions it is archived: closed for good, out of discovery, its history kept.
#[utoipa::path(
    delete, path = "/api/programs/{id}", tag = "programs", operation_id = "delete_program",
    params(("id" = uuid::Uuid, Path, description = "The program's id")),
    responses(
        (status = 200, description = "Deleted or archived", body = DeleteProgramResponse),
        (status = 400, description = "invalid_id", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
    ),
)]
async fn delete_program(State(app): State<App>, caller: auth::Agent, Path(id): Path<ProgramId>) -> Reply {
    let mut tx = app.begin().await?;
    let end = ops::delete_program(&mut tx, app.clock(), caller.id, id).await?;
    tx.commit().await?;
    Ok(respond::ok(&DeleteProgramResponse {
        id: id.uuid(),
        deleted: end == End::Deleted,
        archived: end == End::Archived,
    }))
}
