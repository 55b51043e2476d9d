//! Errors in the shape of `/v1`: `{"error":{"code","message","details"}}`.

use crate::error::{Class, Error};
use crate::web::respond::{self, ApiError};
use crate::web::x402::Lacking;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use serde::Serialize;
use utoipa::ToSchema;

/// Every error under `/v1`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct V1ErrorBody {
    /// What went wrong.
    error: V1Error,
}

#[derive(Debug, Serialize, ToSchema)]
struct V1Error {
    /// Stable code to match on.
    code: &'static str,
    /// What went wrong, in a sentence.
    message: String,
    /// What to do (`fix`), the field that is wrong (`field`), and what the code adds.
    #[schema(value_type = Object)]
    details: serde_json::Map<String, serde_json::Value>,
}

/// A failure on its way out of `/v1`.
pub enum V1Failure {
    /// An error.
    Error(Box<Error>),
    /// The answer an `Idempotency-Key` has already got.
    Replay(Box<Response>),
}

impl<E: Into<Error>> From<E> for V1Failure {
    fn from(error: E) -> Self {
        Self::Error(Box::new(error.into()))
    }
}

impl IntoResponse for V1Failure {
    fn into_response(self) -> Response {
        let error = match self {
            Self::Replay(response) => return *response,
            Self::Error(error) => *error,
        };
        respond::log_cause(&error);
        let lost_race = error.lost_race;
        let mut details = error.details;
        details.insert("fix".to_owned(), error.fix.into());
        if let Some(field) = error.field {
            details.insert("field".to_owned(), field.into());
        }
        let body =
            V1ErrorBody { error: V1Error { code: error.code.as_str(), message: error.message, details } };
        let class = error.code.class();
        let mut response = respond::json(respond::status(class), &body);
        if let Some(lacking) = error.lacking {
            response.extensions_mut().insert(Lacking(lacking));
        }
        if let Some(seconds) = error.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if class == Class::Unauthenticated {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        respond::mark_lost_race(&mut response, lost_race);
        response
    }
}

impl V1Failure {
    /// What the API's own plumbing ended with, said in our words.
    pub(super) fn from_api(error: ApiError) -> Self {
        match error {
            ApiError::Error(error) => Self::Error(error),
            ApiError::Replay(response) => Self::Replay(response),
        }
    }
}
