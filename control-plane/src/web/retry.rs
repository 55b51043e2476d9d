//! Requests that lost a race are run again before anybody hears of it.
//!
//! A request is one transaction. When Postgres ends it for a deadlock (40P01) or a serialization failure
//! (40001), nothing of it has happened, and the same request does well on a second try: [`TRIES_MAX`] in
//! all, 10 to 200 ms apart. After that the caller gets a 503 with `Retry-After`.
//!
//! Only requests whose body is announced and fits the limit are kept for another try; a body that drips in
//! without a length is run once.

use crate::web::extract::{BODY_FOR, BODY_LEN_MAX, TooSlow};
use crate::web::respond::LostRace;
use crate::workers::backoff::jittered;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header;
use std::time::Duration;

/// Tries of one request.
const TRIES_MAX: u32 = 6;
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// Around the routes.
pub async fn around(request: Request, next: Next) -> Response {
    if request.method().is_safe() || !is_short(&request) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let reading = axum::body::to_bytes(body, BODY_LEN_MAX);
    let Ok(read) = tokio::time::timeout(BODY_FOR, reading).await else {
        let mut request = Request::from_parts(parts, Body::empty());
        request.extensions_mut().insert(TooSlow);
        return next.run(request).await;
    };
    let bytes = match read {
        Ok(bytes) => bytes,
        // The handler shall see what went wrong with the body, at its place in the order of refusals.
        Err(error) => {
            let broken =
                Body::from_stream(futures_util::stream::once(async { Err::<bytes::Bytes, _>(error) }));
            return next.run(Request::from_parts(parts, broken)).await;
        }
    };
    let mut tries = 1;
    loop {
        let again = Request::from_parts(parts.clone(), Body::from(bytes.clone()));
        let response = next.clone().run(again).await;
        if response.extensions().get::<LostRace>().is_none() || tries == TRIES_MAX {
            return response;
        }
        tries += 1;
        metrics::counter!("cp_request_retries_total").increment(1);
        tokio::time::sleep(jittered(PAUSE_MIN, PAUSE_MAX)).await;
    }
}

/// Whether the body's length is known and within the limit.
fn is_short(request: &Request) -> bool {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let announced = announced.and_then(|text| text.parse::<usize>().ok());
    announced.is_some_and(|length| length <= BODY_LEN_MAX)
        || !request.headers().contains_key(header::TRANSFER_ENCODING) && announced.is_none()
}
