//! HTTP of deliveries: extract, call, respond.

use super::ops;
use crate::app::App;
use crate::auth;
use crate::features::webhooks::endpoints;
use crate::features::webhooks::wire::{DeliveriesQuery, DeliveryResponse};
use crate::page::{List, PageQuery, Paged};
use crate::web::extract::{NoFields, Path, Payload, Query, TwoIds};
use crate::web::respond::{self, ErrorBody, Reply};
use axum::extract::State;
use http::StatusCode;
use shared::id::{DeliveryId, WebhookId};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of deliveries.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_webhook_deliveries)).routes(routes!(redeliver_webhook_delivery))
}

/// List a webhook's deliveries
///
/// Every try of every delivery of the last 30 days, newest delivery first. Up to 8 tries: at once, then after
/// about 5 seconds, 1 minute, 10 minutes, 1 hour, 3 hours, 8 hours and 12 hours.
#[utoipa::path(
    get, path = "/api/webhooks/{id}/deliveries", tag = "webhooks", operation_id = "list_webhook_deliveries",
    params(("id" = uuid::Uuid, Path, description = "The webhook's id"), DeliveriesQuery),
    responses(
        (status = 200, description = "A page of deliveries", body = Paged<DeliveryResponse>),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 404, description = "not_found, also when it is not the caller's", body = ErrorBody),
    ),
)]
async fn list_webhook_deliveries(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<WebhookId>,
    query: Result<Query<DeliveriesQuery>, respond::ApiError>,
) -> Reply {
    let mut conn = app.read().await?;
    let endpoint = endpoints::ops::load(&mut conn, caller.id, id).await?;
    let Query(query) = query?;
    let page = PageQuery { page: query.page, per_page: query.per_page }
        .checked_from(query.cursor.as_deref(), List::Deliveries.order())?;
    let deliveries = ops::list(&mut conn, &endpoint, query.status, page).await?;
    Ok(respond::ok(&deliveries.map(DeliveryResponse::from).answering(&query)?))
}

/// Send a delivery again
///
/// The same bytes under the same ids, as soon as a worker is free; a finished delivery starts its schedule
/// anew. Ask GET /api/webhooks/:id/deliveries how it went.
#[utoipa::path(
    post, path = "/api/webhooks/{id}/deliveries/{delivery_id}/redeliver", tag = "webhooks",
    operation_id = "redeliver_webhook_delivery",
    params(
        ("id" = uuid::Uuid, Path, description = "The webhook's id"),
        ("delivery_id" = uuid::Uuid, Path, description = "The delivery's id"),
    ),
    responses(
        (status = 202, description = "The delivery, queued", body = DeliveryResponse),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "feature_requires_pro", body = ErrorBody),
        (status = 404, description = "not_found, also when it is not the caller's", body = ErrorBody),
        (status = 409, description = "invalid_state: the webhook is paused; idempotency_key_reused", body = ErrorBody),
    ),
)]
async fn redeliver_webhook_delivery(
    State(app): State<App>,
    caller: auth::Agent,
    TwoIds(id, delivery): TwoIds<WebhookId, DeliveryId>,
    mut payload: Payload,
) -> Reply {
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    let endpoint = endpoints::ops::lock(&mut unit, caller.id, id).await?;
    let delivery = ops::load(&mut unit, &endpoint, delivery).await?;
    endpoints::ops::require_pro(&mut unit, caller.id).await?;
    let NoFields {} = payload.json_or_default()?;
    let delivery = ops::redeliver(&mut unit, app.clock(), &endpoint, &delivery).await?;
    unit.finish(StatusCode::ACCEPTED, &DeliveryResponse::from(delivery)).await
}
