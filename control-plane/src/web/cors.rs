//! Browsers of other origins may call the API: it is authorised by a key in a header, never by a cookie,
//! so there is nothing a foreign page could ride on.
//!
//! `OPTIONS` of a known path answers 204 with its methods, with or without a preflight's headers.

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderValue, Method, StatusCode, header};

/// What a page may read of a reply beside the body.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "X-Request-Id, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, Idempotent-Replayed, X-Charged, Payment-Required, Payment-Response, X-Payment-Response",
);
/// What a page may send.
const ALLOWED: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Idempotency-Key, X-Request-Id, X-SL-Attribution, Payment-Signature, X-Payment",
);
/// Browsers ask again after a day.
const KEPT_FOR_SECONDS: HeaderValue = HeaderValue::from_static("86400");

/// Around the routes.
pub async fn around(request: Request, next: Next) -> Response {
    let asked = request.method() == Method::OPTIONS;
    let mut response = next.run(request).await;
    if asked && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response = options(response);
    }
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    response
}

/// The router refused `OPTIONS` and listed the methods the path has; that list is the answer.
fn options(refusal: Response) -> Response {
    let (mut parts, _) = refusal.into_parts();
    parts.status = StatusCode::NO_CONTENT;
    let headers = &mut parts.headers;
    let allow = headers.get(header::ALLOW).and_then(|allow| allow.to_str().ok()).unwrap_or_default();
    let allow = HeaderValue::try_from(format!("{allow},OPTIONS").trim_start_matches(','));
    if let Ok(allow) = allow {
        headers.insert(header::ALLOW, allow.clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow);
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, KEPT_FOR_SECONDS);
    for of_the_body in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        headers.remove(of_the_body);
    }
    Response::from_parts(parts, Body::empty())
}
