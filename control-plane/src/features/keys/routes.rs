//! HTTP of keys: extract, call, respond.

use super::ops;
use super::wire::{
    CreateKeyRequest, CreatedKeyResponse, KeyResponse, RevokedKeyResponse, RotatedKeyResponse,
};
use crate::app::App;
use crate::auth;
use crate::auth::api_keys::Kind;
use crate::features::agents::ops::must_be;
use crate::page::{PageQuery, Paged};
use crate::web::extract::{Path, Payload, Query, TwoIds};
use crate::web::respond::{self, ErrorBody, Reply};
use axum::extract::State;
use shared::id::{AgentId, ApiKeyId};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of keys.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(rotate_key))
        .routes(routes!(regenerate_key))
        .routes(routes!(create_key, list_keys))
        .routes(routes!(delete_key))
}

/// Replace the agent key
///
/// The old key stops working at once, on every node; the new one is shown once. Publisher and merchant
/// keys stay. Needs no body.
#[utoipa::path(
    post, path = "/api/agents/{id}/rotate-key", tag = "keys", operation_id = "rotate_key",
    params(("id" = uuid::Uuid, Path, description = "Your agent id")),
    responses(
        (status = 200, description = "The new key", body = RotatedKeyResponse),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: another agent", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
        (status = 409, description = "idempotency_key_reused", body = ErrorBody),
    ),
)]
async fn rotate_key(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<AgentId>,
    payload: Payload,
) -> Reply {
    rotate(&app, caller, id, payload).await
}

/// Replace the agent key, by its older name
///
/// The same as POST /api/agents/{id}/rotate-key.
#[utoipa::path(
    post, path = "/api/agents/{id}/regenerate-key", tag = "keys", operation_id = "regenerate_key",
    params(("id" = uuid::Uuid, Path, description = "Your agent id")),
    responses(
        (status = 200, description = "The new key", body = RotatedKeyResponse),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: another agent", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
        (status = 409, description = "idempotency_key_reused", body = ErrorBody),
    ),
)]
async fn regenerate_key(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<AgentId>,
    payload: Payload,
) -> Reply {
    rotate(&app, caller, id, payload).await
}

async fn rotate(app: &App, caller: auth::Agent, id: AgentId, mut payload: Payload) -> Reply {
    let mut unit = payload.unit(app, &caller.id.to_string()).await?;
    must_be(&mut unit, caller.id, id).await?;
    payload.no_body()?;
    let key = ops::rotate(&mut unit, app.clock(), caller).await?;
    let reply = RotatedKeyResponse {
        id: id.uuid(),
        api_key: key.reveal().to_owned(),
        rotated_at: app.clock().now().into(),
    };
    unit.ok(&reply).await
}

/// Make a publisher or merchant key
///
/// For the calls under `/v1`. The key is shown once. An agent may have 50 of them.
#[utoipa::path(
    post, path = "/api/agents/{id}/keys", tag = "keys", operation_id = "create_key",
    params(("id" = uuid::Uuid, Path, description = "Your agent id")),
    request_body = CreateKeyRequest,
    responses(
        (status = 201, description = "The key, shown once", body = CreatedKeyResponse),
        (status = 400, description = "invalid_id, missing_field, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: another agent", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
        (status = 409, description = "invalid_state: 50 keys already; idempotency_key_reused", body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 415, description = "unsupported_media_type", body = ErrorBody),
    ),
)]
async fn create_key(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<AgentId>,
    mut payload: Payload,
) -> Reply {
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    must_be(&mut unit, caller.id, id).await?;
    let request: CreateKeyRequest = payload.json()?;
    let kind = Kind::from(request.kind);
    let (key_id, key) = ops::create(&mut unit, app.clock(), id, kind).await?;
    let reply = CreatedKeyResponse {
        id: key_id.uuid(),
        kind: kind.as_str(),
        key: key.reveal().to_owned(),
        created_at: app.clock().now().into(),
    };
    unit.created(&reply).await
}

/// List your keys
///
/// Those that are not revoked, newest first, without their texts.
#[utoipa::path(
    get, path = "/api/agents/{id}/keys", tag = "keys", operation_id = "list_keys",
    params(("id" = uuid::Uuid, Path, description = "Your agent id"), PageQuery),
    responses(
        (status = 200, description = "A page of keys", body = Paged<KeyResponse>),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: another agent", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
    ),
)]
async fn list_keys(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<AgentId>,
    page: Result<Query<PageQuery>, respond::ApiError>,
) -> Reply {
    let mut conn = app.read().await?;
    must_be(&mut conn, caller.id, id).await?;
    let page = page?.0.checked()?;
    let keys = ops::list(&mut conn, id).await?;
    let total = keys.len() as i64;
    let shown = keys.into_iter().skip(page.offset() as usize).take(page.limit() as usize);
    Ok(respond::ok(&page.of(shown.map(KeyResponse::from).collect(), total)))
}

/// Revoke a publisher or merchant key
///
/// It stops working at once, on every node. The agent key cannot be revoked, only replaced.
#[utoipa::path(
    delete, path = "/api/agents/{id}/keys/{key_id}", tag = "keys", operation_id = "delete_key",
    params(
        ("id" = uuid::Uuid, Path, description = "Your agent id"),
        ("key_id" = uuid::Uuid, Path, description = "The key's id"),
    ),
    responses(
        (status = 200, description = "It is revoked", body = RevokedKeyResponse),
        (status = 400, description = "invalid_id", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: another agent", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
        (status = 409, description = "invalid_state: the agent key", body = ErrorBody),
    ),
)]
async fn delete_key(
    State(app): State<App>,
    caller: auth::Agent,
    TwoIds(id, key_id): TwoIds<AgentId, ApiKeyId>,
) -> Reply {
    let mut tx = app.begin().await?;
    must_be(&mut tx, caller.id, id).await?;
    ops::revoke(&mut tx, app.clock(), id, key_id).await?;
    tx.commit().await?;
    Ok(respond::ok(&RevokedKeyResponse { id: key_id.uuid(), deleted: true }))
}
