//! Pages of whoever promotes: what the links bring and what they earn.

pub(super) mod overview;

use crate::app::App;
use axum::Router;
use axum::routing::get;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/my-dashboard/affiliate", get(overview::page))
}
