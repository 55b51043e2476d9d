//! The private listener: `/metrics` for Prometheus, `/live` (the process runs), `/ready` (Postgres answers).

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use sqlx::PgPool;
use std::time::Duration;

/// A check that takes longer has failed.
const CHECK_FOR: Duration = Duration::from_secs(2);

/// The admin service.
pub fn router(db: PgPool) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .with_state(db)
}

async fn metrics() -> Response {
    let body = control_plane::metrics::install().render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], body).into_response()
}

async fn ready(State(db): State<PgPool>) -> Response {
    match tokio::time::timeout(CHECK_FOR, control_plane::db::ping(&db)).await {
        Ok(Ok(())) => (StatusCode::OK, "ready\n").into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "postgres does not answer\n").into_response(),
    }
}
