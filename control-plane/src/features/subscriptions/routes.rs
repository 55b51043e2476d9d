//! HTTP of subscriptions: extract, call, respond.

use super::ops;
use super::wire::SubscriptionResponse;
use crate::app::App;
use crate::auth;
use crate::error::Error;
use crate::web::respond::{self, ErrorBody, Reply};
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of subscriptions.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_subscription))
}

/// What plan am I on?
///
/// `status` is `none` on the free plan; POST /api/subscription/pro starts Pro.
#[utoipa::path(
    get, path = "/api/subscription", tag = "subscription", operation_id = "get_subscription",
    responses(
        (status = 200, description = "The subscription, or `\"status\": \"none\"`", body = SubscriptionResponse),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
    ),
)]
async fn get_subscription(State(app): State<App>, caller: auth::Agent) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    Ok(respond::ok(&SubscriptionResponse::of(ops::find(&mut conn, caller.id).await?)))
}
