//! HTTP of subscriptions: extract, call, respond.

use super::model::Source;
use super::ops::{self, Started};
use super::wire::{Payment, StartRequest, SubscriptionResponse};
use crate::app::App;
use crate::auth;
use crate::error::Error;
use crate::web::extract::Payload;
use crate::web::respond::{self, ErrorBody, Reply};
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of subscriptions.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(start_pro)).routes(routes!(get_subscription, cancel_subscription))
}

/// Start Infrastructure Pro, $99 a month
///
/// 500,000 clicks and 1,000 conversions a month included, what comes on top at half price, webhooks and
/// custom domains. A cancelled subscription that still runs goes on.
#[utoipa::path(
    post, path = "/api/subscription/pro", tag = "subscription", operation_id = "start_pro",
    request_body = StartRequest,
    responses(
        (status = 200, description = "A cancelled subscription goes on", body = SubscriptionResponse),
        (status = 201, description = "Active, or pending with a `checkout_url`", body = SubscriptionResponse),
        (status = 400, description = "invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 402, description = "insufficient_credits, when paying from the wallet", body = ErrorBody),
        (status = 409, description = "already_active, idempotency_key_reused", body = ErrorBody),
    ),
)]
async fn start_pro(State(app): State<App>, caller: auth::Agent, mut payload: Payload) -> Reply {
    let request: StartRequest = payload.json_or_default()?;
    let source = match request.payment {
        Some(Payment::Wallet) => Source::Wallet,
        None => Source::Sandbox,
    };
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    match ops::start(&mut unit, app.clock(), caller.id, source).await? {
        Started::New(subscription) => unit.created(&SubscriptionResponse::of(Some(subscription))).await,
        Started::Resumed(subscription) => unit.ok(&SubscriptionResponse::of(Some(subscription))).await,
    }
}

/// What plan am I on?
#[utoipa::path(
    get, path = "/api/subscription", tag = "subscription", operation_id = "get_subscription",
    responses(
        (status = 200, description = "The subscription, or `\"status\": \"none\"`", body = SubscriptionResponse),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
    ),
)]
async fn get_subscription(State(app): State<App>, caller: auth::Agent) -> Reply {
    let mut conn = app.db_read().acquire().await.map_err(Error::from)?;
    Ok(respond::ok(&SubscriptionResponse::of(ops::find(&mut conn, caller.id).await?)))
}

/// Cancel Pro
///
/// It ends with the month that was paid; at once when none was.
#[utoipa::path(
    delete, path = "/api/subscription", tag = "subscription", operation_id = "cancel_subscription",
    responses(
        (status = 200, description = "The subscription, ending or ended", body = SubscriptionResponse),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 404, description = "not_found: nothing to cancel", body = ErrorBody),
    ),
)]
async fn cancel_subscription(State(app): State<App>, caller: auth::Agent) -> Reply {
    let mut tx = app.begin().await?;
    let subscription = ops::cancel(&mut tx, app.clock(), caller.id).await?;
    tx.commit().await?;
    Ok(respond::ok(&SubscriptionResponse::of(Some(subscription))))
}
