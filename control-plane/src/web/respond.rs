//! Writing replies. The only place that maps failures to HTTP statuses.

use crate::error::{Class, Error};
use crate::web::x402::Lacking;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use std::sync::OnceLock;
use utoipa::ToSchema;

/// Where `docs` points; the API's origin is known once the settings are read.
static DOCS_URL: OnceLock<String> = OnceLock::new();

/// Sets the address in `docs` of every error; the first call wins.
pub fn set_docs_url(api_origin: &str) {
    DOCS_URL.get_or_init(|| format!("{api_origin}/docs"));
}

/// The address in `docs`.
pub fn docs_url() -> &'static str {
    DOCS_URL.get().map_or("/docs", String::as_str)
}

/// The status of a class.
pub const fn status(class: Class) -> StatusCode {
    match class {
        Class::Invalid => StatusCode::BAD_REQUEST,
        Class::Unauthenticated => StatusCode::UNAUTHORIZED,
        Class::PaymentRequired => StatusCode::PAYMENT_REQUIRED,
        Class::Forbidden => StatusCode::FORBIDDEN,
        Class::NotFound => StatusCode::NOT_FOUND,
        Class::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Class::Conflict => StatusCode::CONFLICT,
        Class::Gone => StatusCode::GONE,
        Class::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Class::TooLong => StatusCode::URI_TOO_LONG,
        Class::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Class::TooSlow => StatusCode::REQUEST_TIMEOUT,
        Class::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Class::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
        Class::TooMany => StatusCode::TOO_MANY_REQUESTS,
        Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Class::Bug => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Every error under `/api` has this shape. Read `fix` first: it says what to do.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// Stable code to match on.
    pub error: &'static str,
    /// What went wrong.
    pub message: String,
    /// What to do about it.
    pub fix: String,
    /// Where to read on.
    pub docs: &'static str,
    /// The field or parameter that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Further members some codes have, such as `suggestion`.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub details: serde_json::Map<String, serde_json::Value>,
}

impl From<Error> for ErrorBody {
    fn from(error: Error) -> Self {
        Self {
            error: error.code.as_str(),
            message: error.message,
            fix: error.fix,
            docs: docs_url(),
            field: error.field,
            details: error.details,
        }
    }
}

/// What a handler fails with: an error, or a stored answer that ends the handler early.
pub enum ApiError {
    /// A failure.
    Error(Box<Error>),
    /// The answer an `Idempotency-Key` has already got.
    Replay(Box<Response>),
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self::Error(Box::new(error))
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        Error::from(error).into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error = match self {
            Self::Replay(response) => return *response,
            Self::Error(error) => *error,
        };
        let class = error.code.class();
        let lost_race = error.lost_race;
        log_cause(&error);
        let (retry_after, lacking) = (error.retry_after, error.lacking);
        let mut response = json(status(class), &ErrorBody::from(error));
        if let Some(lacking) = lacking {
            response.extensions_mut().insert(Lacking(lacking));
        }
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        mark_lost_race(&mut response, lost_race);
        if class == Class::Unauthenticated {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// On an answer whose transaction lost a race: see [`crate::web::retry`].
#[derive(Clone, Copy, Debug)]
pub struct LostRace;

/// Marks an answer for another try.
pub fn mark_lost_race(response: &mut Response, lost_race: bool) {
    if lost_race {
        response.extensions_mut().insert(LostRace);
    }
}

/// Logs the cause of a failure of ours, once, on its way out; the span carries the request id.
pub fn log_cause(error: &Error) {
    match (error.code.class(), &error.source) {
        (Class::Bug, Some(source)) => {
            tracing::error!(cause = %format_args!("{source:#}"), "request failed");
        }
        (Class::Unavailable, Some(source)) => {
            tracing::warn!(cause = %format_args!("{source:#}"), "request could not be served");
        }
        _ => {}
    }
}

/// A JSON reply.
pub fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => json_bytes(status, bytes),
        Err(error) => {
            tracing::error!(%error, "reply could not be encoded");
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }
}

/// A JSON reply whose bytes are already there.
pub fn json_bytes(status: StatusCode, bytes: impl Into<Body>) -> Response {
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// 200 with a body.
pub fn ok<T: Serialize>(body: &T) -> Response {
    json(StatusCode::OK, body)
}

/// What routes return.
pub type Reply = Result<Response, ApiError>;
