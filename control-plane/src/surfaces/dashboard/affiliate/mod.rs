//! Pages of whoever promotes: what the links bring and what they earn.

pub(super) mod earnings;
mod links;
pub(super) mod overview;
mod programs;

use crate::app::App;
use axum::Router;
use axum::routing::{get, post};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/my-dashboard/affiliate", get(overview::page))
        .route("/my-dashboard/affiliate/links", get(links::page).post(links::create))
        .route("/my-dashboard/affiliate/programs", get(programs::page).post(programs::join))
        .route("/my-dashboard/affiliate/suggestions", post(programs::answer))
        .route("/my-dashboard/affiliate/earnings", get(earnings::page))
}
