//! The private listener: `/metrics` for Prometheus, `/live` (the process runs), `/ready` (it can serve).

use crate::app::App;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use std::time::Duration;

/// A check that takes longer has failed.
const CHECK_FOR: Duration = Duration::from_secs(2);

/// The admin service.
pub fn router(app: &App) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .with_state(app.clone())
}

async fn metrics() -> Response {
    let body = crate::metrics::install().render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], body).into_response()
}

/// Ready when Postgres answers. Redis is not asked: without it the API serves and clicks wait in spools.
async fn ready(State(app): State<App>) -> Response {
    if app.tasks().is_leaving() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    match tokio::time::timeout(CHECK_FOR, app.ping()).await {
        Ok(Ok(())) => (StatusCode::OK, "ready\n").into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "postgres does not answer\n").into_response(),
    }
}
