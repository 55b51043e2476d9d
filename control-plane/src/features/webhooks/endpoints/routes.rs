//! HTTP of endpoints: extract, call, respond.

use super::ops::{self, Change, Wanted};
use crate::app::App;
use crate::auth;
use crate::features::webhooks::event::EventType;
use crate::features::webhooks::model::Status;
use crate::features::webhooks::signing::SigningSecret;
use crate::features::webhooks::trial;
use crate::features::webhooks::wire::{
    CreateWebhookRequest, DeleteWebhookResponse, RotateSecretRequest, TestWebhookRequest,
    TestWebhookResponse, UpdateWebhookRequest, WebhookResponse, WebhookWithSecretResponse,
};
use crate::page::{PageQuery, Paged};
use crate::web::extract::{Path, Payload, Query};
use crate::web::rate_limit;
use crate::web::respond::{self, ErrorBody, Reply};
use axum::extract::State;
use shared::id::WebhookId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of endpoints.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_webhook, list_webhooks))
        .routes(routes!(test_webhook))
        .routes(routes!(get_webhook, update_webhook, delete_webhook))
        .routes(routes!(rotate_webhook_secret))
}

/// Create a webhook
///
/// On Pro. Events are posted to `url` as JSON, signed with `secret`, at least once. Verify
/// `X-AffiliateOS-Signature`, the hex HMAC-SHA256 of the raw body, or `webhook-signature` with any Standard
/// Webhooks library; tell repeats by `webhook-id`; answer 2xx within 10 seconds.
#[utoipa::path(
    post, path = "/api/webhooks", tag = "webhooks", operation_id = "create_webhook",
    request_body = CreateWebhookRequest,
    responses(
        (status = 201, description = "The webhook and its secret, shown once", body = WebhookWithSecretResponse),
        (status = 400, description = "missing_field, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "feature_requires_pro", body = ErrorBody),
        (status = 409, description = "invalid_state: the limit of 50 is reached; idempotency_key_reused", body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 415, description = "unsupported_media_type", body = ErrorBody),
    ),
)]
async fn create_webhook(State(app): State<App>, caller: auth::Agent, mut payload: Payload) -> Reply {
    let mut conn = app.write().await?;
    ops::require_pro(&mut conn, caller.id).await?;
    drop(conn);
    let request: CreateWebhookRequest = payload.json()?;
    let wanted = Wanted {
        secret: match &request.secret {
            Some(text) => SigningSecret::parse("secret", text)?,
            None => SigningSecret::generate(),
        },
        events: ops::check_events(request.events.unwrap_or_else(|| EventType::ALL.to_vec()))?,
        status: request.status.unwrap_or(Status::Active),
        // Before the transaction: it may wait for a name to resolve.
        url: ops::check_url(app.egress(), &request.url).await?,
    };
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    let endpoint = ops::create(&mut unit, app.clock(), &app.config().secret, caller.id, &wanted).await?;
    unit.created(&WebhookWithSecretResponse {
        webhook: endpoint.into(),
        secret: wanted.secret.reveal().to_owned(),
    })
    .await
}

/// List your webhooks
///
/// Newest first, without their secrets.
#[utoipa::path(
    get, path = "/api/webhooks", tag = "webhooks", operation_id = "list_webhooks",
    params(PageQuery),
    responses(
        (status = 200, description = "A page of webhooks, newest first", body = Paged<WebhookResponse>),
        (status = 400, description = "invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
    ),
)]
async fn list_webhooks(State(app): State<App>, caller: auth::Agent, Query(query): Query<PageQuery>) -> Reply {
    let page = query.checked()?;
    let mut conn = app.read().await?;
    let endpoints = ops::list(&mut conn, caller.id, page).await?;
    Ok(respond::ok(&endpoints.map(WebhookResponse::from)))
}

/// Get a webhook
///
/// Where it posts, what it is told, and how its last deliveries went.
#[utoipa::path(
    get, path = "/api/webhooks/{id}", tag = "webhooks", operation_id = "get_webhook",
    params(("id" = uuid::Uuid, Path, description = "The webhook's id")),
    responses(
        (status = 200, description = "The webhook", body = WebhookResponse),
        (status = 400, description = "invalid_id", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 404, description = "not_found, also when it is not the caller's", body = ErrorBody),
    ),
)]
async fn get_webhook(State(app): State<App>, caller: auth::Agent, Path(id): Path<WebhookId>) -> Reply {
    let mut conn = app.read().await?;
    let endpoint = ops::load(&mut conn, caller.id, id).await?;
    Ok(respond::ok(&WebhookResponse::from(endpoint)))
}

/// Change a webhook
///
/// On Pro. A paused one keeps back what was queued, for three days at most; events that happen meanwhile are
/// not queued: GET /api/events has them.
#[utoipa::path(
    patch, path = "/api/webhooks/{id}", tag = "webhooks", operation_id = "update_webhook",
    params(("id" = uuid::Uuid, Path, description = "The webhook's id")),
    request_body = UpdateWebhookRequest,
    responses(
        (status = 200, description = "The webhook as it is now", body = WebhookResponse),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "feature_requires_pro", body = ErrorBody),
        (status = 404, description = "not_found, also when it is not the caller's", body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 415, description = "unsupported_media_type", body = ErrorBody),
    ),
)]
async fn update_webhook(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<WebhookId>,
    mut payload: Payload,
) -> Reply {
    let mut conn = app.write().await?;
    ops::load(&mut conn, caller.id, id).await?;
    ops::require_pro(&mut conn, caller.id).await?;
    drop(conn);
    let request: UpdateWebhookRequest = payload.json()?;
    let url = match &request.url {
        Some(url) => Some(ops::check_url(app.egress(), url).await?),
        None => None,
    };
    let events = request.events.map(ops::check_events).transpose()?;
    let mut tx = app.begin().await?;
    let endpoint = ops::lock(&mut tx, caller.id, id).await?;
    let change = Change { url, events, status: request.status };
    let endpoint = ops::update(&mut tx, app.clock(), endpoint, change).await?;
    tx.commit().await?;
    Ok(respond::ok(&WebhookResponse::from(endpoint)))
}

/// Delete a webhook
///
/// What it was still to be sent is dropped; GET /api/events keeps the events.
#[utoipa::path(
    delete, path = "/api/webhooks/{id}", tag = "webhooks", operation_id = "delete_webhook",
    params(("id" = uuid::Uuid, Path, description = "The webhook's id")),
    responses(
        (status = 200, description = "Deleted", body = DeleteWebhookResponse),
        (status = 400, description = "invalid_id", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 404, description = "not_found, also when it is not the caller's", body = ErrorBody),
    ),
)]
async fn delete_webhook(State(app): State<App>, caller: auth::Agent, Path(id): Path<WebhookId>) -> Reply {
    let mut tx = app.begin().await?;
    let endpoint = ops::lock(&mut tx, caller.id, id).await?;
    ops::delete(&mut tx, app.clock(), &endpoint).await?;
    tx.commit().await?;
    Ok(respond::ok(&DeleteWebhookResponse { id: id.uuid(), deleted: true }))
}

/// Change a webhook's secret
///
/// On Pro. For 24 hours deliveries carry two signatures: `X-AffiliateOS-Signature` is the new secret's,
/// `X-AffiliateOS-Signature-Previous` the old one's, and `webhook-signature` has both.
#[utoipa::path(
    post, path = "/api/webhooks/{id}/rotate-secret", tag = "webhooks", operation_id = "rotate_webhook_secret",
    params(("id" = uuid::Uuid, Path, description = "The webhook's id")),
    request_body = RotateSecretRequest,
    responses(
        (status = 200, description = "The webhook and its new secret, shown once", body = WebhookWithSecretResponse),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "feature_requires_pro", body = ErrorBody),
        (status = 404, description = "not_found, also when it is not the caller's", body = ErrorBody),
        (status = 409, description = "idempotency_key_reused", body = ErrorBody),
        (status = 415, description = "unsupported_media_type", body = ErrorBody),
    ),
)]
async fn rotate_webhook_secret(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<WebhookId>,
    mut payload: Payload,
) -> Reply {
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    let endpoint = ops::lock(&mut unit, caller.id, id).await?;
    ops::require_pro(&mut unit, caller.id).await?;
    let request: RotateSecretRequest = payload.json_or_default()?;
    let secret = match &request.secret {
        Some(text) => SigningSecret::parse("secret", text)?,
        None => SigningSecret::generate(),
    };
    let endpoint =
        ops::rotate_secret(&mut unit, app.clock(), &app.config().secret, &endpoint, &secret).await?;
    unit.ok(&WebhookWithSecretResponse { webhook: endpoint.into(), secret: secret.reveal().to_owned() }).await
}

/// Send a test event
///
/// On Pro, 10 times a minute. Posts an example event, signed as real ones are and with `"test": true`, and
/// says how that went. To a saved webhook (`webhook_id`), or to a `url` with a `secret` before saving it.
#[utoipa::path(
    post, path = "/api/webhooks/test", tag = "webhooks", operation_id = "test_webhook",
    request_body = TestWebhookRequest,
    responses(
        (status = 200, description = "How the delivery went; `ok` says whether it was accepted", body = TestWebhookResponse),
        (status = 400, description = "missing_field, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "feature_requires_pro", body = ErrorBody),
        (status = 404, description = "not_found: no such webhook of yours", body = ErrorBody),
        (status = 409, description = "idempotency_key_reused", body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 415, description = "unsupported_media_type", body = ErrorBody),
        (status = 429, description = "rate_limited", body = ErrorBody),
    ),
)]
async fn test_webhook(State(app): State<App>, caller: auth::Agent, mut payload: Payload) -> Reply {
    let mut conn = app.write().await?;
    ops::require_pro(&mut conn, caller.id).await?;
    drop(conn);
    let request: TestWebhookRequest = payload.json()?;
    // A stored answer ends the handler here. The transaction does not stay open over the call to the
    // endpoint, so two requests at once with one key both try; the second still gets the first's answer.
    drop(payload.unit(&app, &caller.id.to_string()).await?);
    let trial = trial::prepare(&app, caller.id, &request).await?;
    let standing = rate_limit::take(&app, &trial::LIMIT, &caller.id.to_string()).await?;
    if !standing.allowed {
        return Err(standing.refusal().into());
    }
    let outcome = trial::run(&app, &trial).await?;
    let unit = payload.unit(&app, &caller.id.to_string()).await?;
    let mut reply = unit.ok(&outcome).await?;
    standing.write(reply.headers_mut());
    Ok(reply)
}
