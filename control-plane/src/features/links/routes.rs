//! HTTP of links: extract, call, respond.

use super::model::Link;
use super::ops::{self, Minting};
use super::wire::{
    CreateLinkRequest, DeleteLinkResponse, LinkFilter, LinkResponse, ListLinksQuery, UpdateLinkRequest,
};
use crate::app::App;
use crate::auth;
use crate::error::{Error, Result};
use crate::features::partnerships;
use crate::page::{List, PageQuery, Paged};
use crate::text;
use crate::web::extract::{Path, Payload, Query};
use crate::web::respond::{self, ApiError, ErrorBody, Reply};
use axum::extract::State;
use shared::id::{LinkId, PartnershipId};
use sqlx::PgConnection;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of links.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create_link, list_links)).routes(routes!(
        get_link,
        update_link,
        delete_link
    ))
}

/// Create a tracking link
///
/// For the affiliate of an approved partnership. It works on every edge within a second.
#[utoipa::path(
    post, path = "/api/partnerships/{id}/links", tag = "links", operation_id = "create_link",
    params(("id" = uuid::Uuid, Path, description = "The partnership's id")),
    request_body = CreateLinkRequest,
    responses(
        (status = 201, description = "The link", body = LinkResponse),
        (status = 400, description = "invalid_id, missing_field, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: only the affiliate; not_approved; feature_requires_pro: custom_domain", body = ErrorBody),
        (status = 404, description = "not_found, also when it is not the caller's", body = ErrorBody),
        (status = 409, description = "invalid_state: the program is archived, or the domain is not active; idempotency_key_reused", body = ErrorBody),
    ),
)]
async fn create_link(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<PartnershipId>,
    mut payload: Payload,
) -> Reply {
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    let partnership = ops::hold_partnership(&mut unit, caller.id, id).await?;
    let request: CreateLinkRequest = payload.json()?;
    let own = own_origins(&app);
    let minting = Minting { token_key: app.token_key(), own_origins: &own };
    let link = ops::create_link(&mut unit, app.clock(), minting, &partnership, &request).await?;
    let link = counted(&mut unit, &app, link).await?;
    unit.created(&link).await
}

/// List the links of a partnership
///
/// For both sides; newest first.
#[utoipa::path(
    get, path = "/api/partnerships/{id}/links", tag = "links", operation_id = "list_links",
    params(("id" = uuid::Uuid, Path, description = "The partnership's id"), ListLinksQuery),
    responses(
        (status = 200, description = "A page of links", body = Paged<LinkResponse>),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 404, description = "not_found, also when it is not the caller's", body = ErrorBody),
    ),
)]
async fn list_links(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<PartnershipId>,
    query: Result<Query<ListLinksQuery>, ApiError>,
) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    partnerships::ops::load_for(&mut conn, caller.id, id).await?;
    let Query(query) = query?;
    let page = PageQuery { page: query.page, per_page: query.per_page }
        .checked_from(query.cursor.as_deref(), List::Links.order())?;
    let sub_id = query.sub_id.as_deref().map(|sub_id| text::line("sub_id", sub_id, 100)).transpose()?;
    let links = ops::list_links(&mut conn, id, sub_id.as_deref(), page).await?;
    let mut counts = ops::count(&mut conn, &links.data.iter().collect::<Vec<_>>()).await?;
    let links = links.map(|link| {
        let counts = counts.remove(&link.id).unwrap_or_default();
        LinkResponse::new(link, counts, &app.config().tracking_origin)
    });
    Ok(respond::ok(&links.answering(&LinkFilter { sub_id })?))
}

/// Get a link
///
/// For both sides of its partnership.
#[utoipa::path(
    get, path = "/api/links/{id}", tag = "links", operation_id = "get_link",
    params(("id" = uuid::Uuid, Path, description = "The link's id")),
    responses(
        (status = 200, description = "The link", body = LinkResponse),
        (status = 400, description = "invalid_id", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 404, description = "not_found, also when it is not the caller's", body = ErrorBody),
    ),
)]
async fn get_link(State(app): State<App>, caller: auth::Agent, Path(id): Path<LinkId>) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    let (link, _) = ops::load_for(&mut conn, caller.id, id).await?;
    Ok(respond::ok(&counted(&mut conn, &app, link).await?))
}

/// Change a link
///
/// Every edge follows within a second.
#[utoipa::path(
    patch, path = "/api/links/{id}", tag = "links", operation_id = "update_link",
    params(("id" = uuid::Uuid, Path, description = "The link's id")),
    request_body = UpdateLinkRequest,
    responses(
        (status = 200, description = "The link as it is now", body = LinkResponse),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: only the affiliate; not_approved; feature_requires_pro: custom_domain", body = ErrorBody),
        (status = 404, description = "not_found, also when it is not the caller's", body = ErrorBody),
        (status = 409, description = "invalid_state: the program is archived, or the domain is not active", body = ErrorBody),
    ),
)]
async fn update_link(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<LinkId>,
    mut payload: Payload,
) -> Reply {
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    let link = ops::lock_own_link(&mut unit, caller.id, id).await?;
    let request: UpdateLinkRequest = payload.json()?;
    let own = own_origins(&app);
    let minting = Minting { token_key: app.token_key(), own_origins: &own };
    let link = ops::update_link(&mut unit, app.clock(), minting, link, request).await?;
    let link = counted(&mut unit, &app, link).await?;
    unit.ok(&link).await
}

/// Delete a link
///
/// Its tracking URL answers 410 from then on. Its clicks and conversions stay.
#[utoipa::path(
    delete, path = "/api/links/{id}", tag = "links", operation_id = "delete_link",
    params(("id" = uuid::Uuid, Path, description = "The link's id")),
    responses(
        (status = 200, description = "Deleted", body = DeleteLinkResponse),
        (status = 400, description = "invalid_id", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: only the affiliate", body = ErrorBody),
        (status = 404, description = "not_found, also when it is not the caller's", body = ErrorBody),
    ),
)]
async fn delete_link(State(app): State<App>, caller: auth::Agent, Path(id): Path<LinkId>) -> Reply {
    let mut tx = app.begin().await?;
    let link = ops::lock_own_link(&mut tx, caller.id, id).await?;
    ops::delete_link(&mut tx, app.clock(), &link).await?;
    tx.commit().await?;
    Ok(respond::ok(&DeleteLinkResponse { id: id.uuid(), deleted: true }))
}

async fn counted(conn: &mut PgConnection, app: &App, link: Link) -> Result<LinkResponse> {
    let counts = ops::count(conn, &[&link]).await?.remove(&link.id).unwrap_or_default();
    Ok(LinkResponse::new(link, counts, &app.config().tracking_origin))
}

fn own_origins(app: &App) -> [&str; 2] {
    [&app.config().tracking_origin, &app.config().api_origin]
}
