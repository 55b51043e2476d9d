//! Pages of whoever has others promote: programs, affiliates, what to decide, what it costs.

pub(super) mod overview;

use crate::app::App;
use axum::Router;
use axum::routing::get;
use serde::Deserialize;

/// Over which time.
#[derive(Deserialize)]
pub(super) struct Asked {
    days: Option<String>,
}

pub(super) fn routes() -> Router<App> {
    Router::new().route("/my-dashboard/advertiser", get(overview::page))
}
