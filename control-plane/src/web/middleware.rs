//! What happens around every request, in this order from the outside in:
//! request id → task of its own (a client that hangs up cannot cut a transaction in half; a panic
//! becomes a 500) → metrics → security headers → CORS → limits of public POSTs → body limits → another try
//! after a lost race → routes.

use crate::app::App;
use crate::error::{Code, Error};
use crate::surfaces::attribution_v1::V1Failure;
use crate::web::respond::ApiError;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, Uri, header};
use shared::id::EventId;
use std::time::Instant;
use tracing::Instrument;

/// The header a request is known by in logs.
pub const REQUEST_ID: &str = "x-request-id";

/// Everything around a request.
pub async fn around(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(&request);
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let span = tracing::info_span!(
        "request",
        request.id = id.to_str().unwrap_or_default(),
        request.method = %method,
        request.route = route,
    );
    let task = app.tasks().spawn(next.run(request).instrument(span.clone()));
    let mut response = match task.await {
        Ok(response) => response,
        Err(panic) => {
            metrics::counter!("cp_request_panics_total").increment(1);
            let _entered = span.enter();
            ApiError::from(Error::bug(anyhow::anyhow!("handler panicked: {panic}"))).into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    crate::metrics::request(&method, &route, response.status(), started.elapsed());
    response
}

/// The caller's own id when it is usable, a new one otherwise.
fn request_id(request: &Request) -> HeaderValue {
    let usable = |value: &&HeaderValue| {
        (1..=128).contains(&value.len())
            && value.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
    };
    request.headers().get(REQUEST_ID).filter(usable).cloned().unwrap_or_else(|| {
        HeaderValue::from_str(&EventId::generate().to_string()).expect("a UUID is printable ASCII")
    })
}

/// The answer in the shape of the API whose path it is.
fn refuse(uri: &Uri, error: Error) -> Response {
    if uri.path().starts_with("/v1/") {
        return V1Failure::from(error).into_response();
    }
    ApiError::from(error).into_response()
}

/// 404 for a route that does not exist.
pub async fn unknown_route(method: Method, uri: Uri) -> Response {
    let path: String = uri.path().chars().take(64).collect();
    let error = Error::new(
        Code::NotFound,
        format!("There is no route {method} {path}."),
        "Look the call up in /openapi.json or /docs; paths are under /api or /v1 and have no slash at the end.",
    );
    refuse(&uri, error)
}

/// 405 for a route with another method.
pub async fn wrong_method(method: Method, uri: Uri) -> Response {
    let path: String = uri.path().chars().take(64).collect();
    let error = Error::new(
        Code::MethodNotAllowed,
        format!("{path} does not answer {method}."),
        "Use one of the methods in the Allow header of this reply.",
    );
    refuse(&uri, error)
}
