//! HTTP of partnerships: extract, call, respond.

use super::model::Partnership;
use super::ops;
use super::wire::{ListPartnershipsQuery, PartnershipResponse, UpdatePartnershipRequest};
use crate::app::App;
use crate::auth;
use crate::error::{Code, Error};
use crate::features::{agents, programs};
use crate::page::{List, PageQuery, Paged};
use crate::web::extract::{Path, Payload, Query};
use crate::web::respond::{self, ErrorBody, Reply};
use axum::extract::State;
use shared::id::{AgentId, PartnershipId, ProgramId};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of partnerships.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(get_partnership, update_partnership))
        .routes(routes!(list_program_affiliates))
        .routes(routes!(list_agent_partnerships))
}

/// Get a partnership
///
/// Both sides may.
#[utoipa::path(
    get, path = "/api/partnerships/{id}", tag = "partnerships", operation_id = "get_partnership",
    params(("id" = uuid::Uuid, Path, description = "The partnership's id")),
    responses(
        (status = 200, description = "The partnership", body = PartnershipResponse),
        (status = 400, description = "invalid_id", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 404, description = "not_found, also when it is not the caller's", body = ErrorBody),
    ),
)]
async fn get_partnership(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<PartnershipId>,
) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    let (partnership, _) = ops::load_for(&mut conn, caller.id, id).await?;
    Ok(respond::ok(&PartnershipResponse::from(partnership)))
}

/// Approve, reject, suspend or cancel a partnership
///
/// The advertiser approves, rejects and suspends; either side cancels, which is final. Links of a
/// partnership that is not approved redirect on, uncounted.
#[utoipa::path(
    patch, path = "/api/partnerships/{id}", tag = "partnerships", operation_id = "update_partnership",
    params(("id" = uuid::Uuid, Path, description = "The partnership's id")),
    request_body = UpdatePartnershipRequest,
    responses(
        (status = 200, description = "The partnership as it is now", body = PartnershipResponse),
        (status = 400, description = "invalid_id, missing_field, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: the step is the advertiser's", body = ErrorBody),
        (status = 404, description = "not_found, also when it is not the caller's", body = ErrorBody),
        (status = 409, description = "invalid_state: the state does not allow the step", body = ErrorBody),
    ),
)]
async fn update_partnership(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<PartnershipId>,
    mut payload: Payload,
) -> Reply {
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    let (partnership, side) = ops::lock_for(&mut unit, caller.id, id).await?;
    // Whose step it is depends on the body, so a body nobody could read comes before the 403 here.
    let request: UpdatePartnershipRequest = payload.json()?;
    let to = request.status.into();
    Partnership::may_set(side, to)?;
    let partnership = ops::set_status(&mut unit, app.clock(), &partnership, to).await?;
    unit.ok(&PartnershipResponse::from(partnership)).await
}

/// List a program's affiliates
///
/// For its advertiser; newest first.
#[utoipa::path(
    get, path = "/api/programs/{id}/affiliates", tag = "programs", operation_id = "list_program_affiliates",
    params(("id" = uuid::Uuid, Path, description = "The program's id"), ListPartnershipsQuery),
    responses(
        (status = 200, description = "A page of partnerships", body = Paged<PartnershipResponse>),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
    ),
)]
async fn list_program_affiliates(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<ProgramId>,
    query: Result<Query<ListPartnershipsQuery>, respond::ApiError>,
) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    programs::ops::load_program(&mut conn, id).await?.owned_by(caller.id)?;
    let Query(query) = query?;
    let page = PageQuery { page: query.page, per_page: query.per_page }
        .checked_from(query.cursor.as_deref(), List::Affiliates.order())?;
    let filter = query.filter();
    let partnerships = ops::list_of_program(&mut conn, id, filter, page).await?;
    Ok(respond::ok(&partnerships.map(PartnershipResponse::from).untrusted().answering(&filter)?))
}

/// List the programs an agent has joined
///
/// The caller's own; newest first.
#[utoipa::path(
    get, path = "/api/agents/{id}/partnerships", tag = "agents", operation_id = "list_agent_partnerships",
    params(("id" = uuid::Uuid, Path, description = "The caller's id"), ListPartnershipsQuery),
    responses(
        (status = 200, description = "A page of partnerships", body = Paged<PartnershipResponse>),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
    ),
)]
async fn list_agent_partnerships(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<AgentId>,
    query: Result<Query<ListPartnershipsQuery>, respond::ApiError>,
) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    if agents::ops::load_agent(&mut conn, id).await?.id != caller.id {
        return Err(Error::new(
            Code::NotOwner,
            "Another agent's partnerships are its own business.",
            format!("Use your own id: GET /api/agents/{}/partnerships.", caller.id),
        )
        .into());
    }
    let Query(query) = query?;
    let page = PageQuery { page: query.page, per_page: query.per_page }
        .checked_from(query.cursor.as_deref(), List::Partnerships.order())?;
    let filter = query.filter();
    let partnerships = ops::list_of_affiliate(&mut conn, id, filter, page).await?;
    Ok(respond::ok(&partnerships.map(PartnershipResponse::from).untrusted().answering(&filter)?))
}
