//! HTTP of usage.

use super::report;
use super::wire::UsageResponse;
use crate::app::App;
use crate::auth;
use crate::error::Error;
use crate::web::respond::{self, ErrorBody, Reply};
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of usage.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_usage))
}

/// How much of the allowance is used?
///
/// Clicks show within a second. Units beyond the limit are paid from the wallet.
#[utoipa::path(
    get, path = "/api/usage", tag = "wallet", operation_id = "get_usage",
    responses(
        (status = 200, description = "Usage of the current UTC month", body = UsageResponse),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
    ),
)]
async fn get_usage(State(app): State<App>, caller: auth::Agent) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    let tier = report::tier_of(&mut conn, caller.number).await?;
    Ok(respond::ok(&report::of(&mut conn, caller.number, tier, app.clock().now()).await?))
}
