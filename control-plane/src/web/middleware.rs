//! What happens around every request, in this order from the outside in:
//! request id → span → task of its own (a client that hangs up cannot cut a transaction in half; a panic
//! becomes a 500) → metrics → security headers → CORS → limits of public POSTs → body limits → another try
//! after a lost race → routes.

use crate::app::App;
use crate::error::{Code, Error};
use crate::surfaces::attribution_v1::V1Failure;
use crate::trace::{self, FutureExt};
use crate::web::respond::ApiError;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Uri, header};
use shared::id::EventId;
use std::time::Instant;
use tracing::Instrument;

/// The header a request is known by in logs.
pub const REQUEST_ID: &str = "x-request-id";

/// Bytes of an address at most, path and query. The longest that a call can need has about 1,000.
pub const URI_LEN_MAX: usize = 8 * 1024;

fn uri_len(uri: &Uri) -> usize {
    uri.path_and_query().map_or(0, |address| address.as_str().len())
}

/// 414; also what stands in for hyper's own.
pub fn uri_too_long() -> Error {
    Error::new(
        Code::UriTooLong,
        format!("The address, path and query, is longer than {URI_LEN_MAX} bytes."),
        "Shorten the query: lists give at most 100 rows a page and go on with `cursor`; send data in a JSON body.",
    )
}

/// Everything around a request.
pub async fn around(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(&request);
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let method = request.method().clone();
    let scheme = if app.config().api_origin.starts_with("https:") { "https" } else { "http" };
    let traced = trace::request(&method, route.as_deref(), scheme, &id, request.headers());
    let route = route.unwrap_or_else(|| "unmatched".to_owned());
    let span = tracing::info_span!(
        "request",
        request.id = id.to_str().unwrap_or_default(),
        request.method = %method,
        request.route = route,
        trace_id = trace::id(&traced),
    );
    let uri = request.uri().clone();
    let mut response = if uri_len(&uri) > URI_LEN_MAX {
        refuse(&uri, uri_too_long())
    } else {
        match app.tasks().spawn(next.run(request).instrument(span.clone()).with_context(traced.clone())).await
        {
            Ok(response) => response,
            Err(panic) => {
                metrics::counter!("cp_request_panics_total").increment(1);
                let _entered = span.enter();
                refuse(&uri, Error::bug(anyhow::anyhow!("handler panicked: {panic}")))
            }
        }
    };
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    crate::metrics::request(&method, &route, response.status(), started.elapsed());
    trace::answered(&traced, response.status());
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
pub(super) fn refuse(uri: &Uri, error: Error) -> Response {
    if uri.path().starts_with("/v1/") {
        return V1Failure::from(error).into_response();
    }
    ApiError::from(error).into_response()
}
