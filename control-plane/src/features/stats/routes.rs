//! HTTP of stats: extract, call, respond.

use super::ops;
use super::wire::{StatsQuery, StatsResponse, WeeklyDigestResponse};
use crate::app::App;
use crate::auth;
use crate::error::Error;
use crate::web::extract::Query;
use crate::web::respond::{self, ErrorBody, Reply};
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of stats.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_stats)).routes(routes!(get_weekly_digest))
}

/// See all your figures
///
/// Clicks, conversions and commissions of your links and of your programs over the last 7, 30 or 90 days, each
/// beside the same span before; this month's usage, your wallet, and who came by your referral code.
#[utoipa::path(
    get, path = "/api/agents/me/stats", tag = "agents", operation_id = "get_stats",
    params(StatsQuery),
    responses(
        (status = 200, description = "The calling agent's figures", body = StatsResponse),
        (status = 400, description = "invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
    ),
)]
async fn get_stats(State(app): State<App>, caller: auth::Agent, Query(query): Query<StatsQuery>) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    Ok(respond::ok(&ops::stats(&mut conn, app.clock(), caller, query.days).await?))
}

/// See your week in short
///
/// The last seven days beside the seven before: the figures worth a line, a summary in words, and the call that
/// helps most now.
#[utoipa::path(
    get, path = "/api/agents/me/weekly-digest", tag = "agents", operation_id = "get_weekly_digest",
    responses(
        (status = 200, description = "The calling agent's week", body = WeeklyDigestResponse),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
    ),
)]
async fn get_weekly_digest(State(app): State<App>, caller: auth::Agent) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    Ok(respond::ok(&ops::weekly_digest(&mut conn, app.clock(), caller).await?))
}
