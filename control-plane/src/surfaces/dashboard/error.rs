//! Failures as pages: what went wrong and what to do, in the API's own words. The statuses of this surface.

use super::HOME;
use super::layout::bare;
use crate::error::Error;
use crate::web::respond;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use maud::html;

/// Why there is no page.
pub(super) enum Failure {
    /// Nobody is signed in.
    SignedOut,
    /// The API, or a form's check, refused.
    Refused {
        /// The API's status.
        status: StatusCode,
        /// Its code.
        code: String,
        /// What went wrong.
        message: String,
        /// What to do.
        fix: String,
    },
}

impl Failure {
    pub(super) fn new(status: StatusCode, code: String, message: String, fix: String) -> Self {
        Self::Refused { status, code, message, fix }
    }

    /// Our own fault.
    pub(super) fn bug(source: impl Into<anyhow::Error>) -> Self {
        Error::bug(source).into()
    }

    /// A form that does not come from a page of this session.
    pub(super) fn foreign_form() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "foreign_form".to_owned(),
            "This form does not belong to your session.".to_owned(),
            "Go back to the dashboard, reload the page and press the button there.".to_owned(),
        )
    }

    /// A form without what it needs.
    pub(super) fn unreadable_form() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "unreadable_form".to_owned(),
            "The form could not be read.".to_owned(),
            "Go back, reload the page and fill it in again.".to_owned(),
        )
    }

    /// Whether it is this refusal of the API.
    pub(super) fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        respond::log_cause(&error);
        let status = respond::status(error.code.class());
        Self::new(status, error.code.as_str().to_owned(), error.message, error.fix)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self::Refused { status, code, message, fix } = self else {
            return Redirect::to(HOME).into_response();
        };
        let page = bare(
            "That did not work",
            &html! {
                p.kicker { "That did not work" }
                h1 { (message) }
                p.lead { (fix) }
                p.muted { code { (code) } }
                p { a.button href=(HOME) { "To the dashboard" } }
            },
        );
        (status, page).into_response()
    }
}
