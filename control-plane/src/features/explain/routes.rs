//! HTTP of explanations: extract, call, respond.

use super::model::{ClickExplanation, ConversionExplanation};
use super::{clicks, conversions};
use crate::app::App;
use crate::auth;
use crate::web::extract::Path;
use crate::web::respond::{self, ErrorBody, Reply};
use axum::extract::State;
use shared::id::ConversionId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of explanations.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(explain_conversion)).routes(routes!(explain_click))
}

/// Explain a conversion
///
/// For its advertiser and its affiliate: to whom it was credited and why, how its commission came about, and
/// what is left until it is paid. What it cost to report is told to the advertiser alone.
#[utoipa::path(
    get, path = "/api/conversions/{id}/explain", tag = "conversions", operation_id = "explain_conversion",
    params(("id" = uuid::Uuid, Path, description = "The conversion's id")),
    responses(
        (status = 200, description = "The steps, each with its reason", body = ConversionExplanation),
        (status = 400, description = "invalid_id", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 404, description = "not_found, also when it is not the caller's", body = ErrorBody),
    ),
)]
async fn explain_conversion(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<ConversionId>,
) -> Reply {
    let mut conn = app.read().await?;
    Ok(respond::ok(&conversions::explain(&mut conn, &app, caller.id, id).await?))
}

/// Explain a click
///
/// For the link's affiliate and its program's advertiser: whether it was counted and why, and which
/// conversions it led to. How it was metered is told to the advertiser alone.
#[utoipa::path(
    get, path = "/api/clicks/{click_id}/explain", tag = "clicks", operation_id = "explain_click",
    params(("click_id" = String, Path, description = "The click's id, 43 characters", pattern = "^[A-Za-z0-9_-]{43}$")),
    responses(
        (status = 200, description = "The steps, each with its reason", body = ClickExplanation),
        (status = 400, description = "invalid_id: not the id of a click of ours", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 404, description = "not_found, also when it is not the caller's", body = ErrorBody),
    ),
)]
async fn explain_click(State(app): State<App>, caller: auth::Agent, Path(click): Path<ClickIdText>) -> Reply {
    let mut conn = app.read().await?;
    Ok(respond::ok(&clicks::explain(&mut conn, &app, caller.id, &click.0).await?))
}

/// A click id as it was sent; what it says is checked after the caller is known.
struct ClickIdText(String);

impl std::str::FromStr for ClickIdText {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}
