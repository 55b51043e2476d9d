//! What all pages for people share: the style sheet, the script, the mark, and what browsers may do with them.
//!
//! Everything is served by us. Addresses carry a digest of what they give, so browsers keep it for good.

use crate::app::App;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderName, header};
use maud::{Markup, html};
use std::sync::LazyLock;

/// Nothing but what is served by us, no inline script or style, no frame around it.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("../../assets/site/style.css");
const SCRIPT: &str = include_str!("../../assets/site/dashboard.js");
const MARK: &str = include_str!("../../assets/site/mark.svg");

static STYLE_PATH: LazyLock<String> = LazyLock::new(|| addressed("/site/style.css", STYLE));
static SCRIPT_PATH: LazyLock<String> = LazyLock::new(|| addressed("/site/dashboard.js", SCRIPT));

fn addressed(path: &str, text: &str) -> String {
    format!("{path}?v={:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
}

/// Where the style sheet is.
pub(crate) fn style_path() -> &'static str {
    &STYLE_PATH
}

/// Where the script is.
pub(crate) fn script_path() -> &'static str {
    &SCRIPT_PATH
}

/// The mark: a click that goes out and comes back as a coin.
pub(crate) fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 32 32" aria-hidden="true" focusable="false" {
            path.way d="M5 21 C 9 6, 19 6, 22 13" {}
            circle.from cx="5" cy="21" r="3" {}
            circle.coin cx="23" cy="19" r="6" {}
        }
    }
}

/// The files.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/site/style.css", get(|| async { file("text/css; charset=utf-8", STYLE) }))
        .route("/site/dashboard.js", get(|| async { file("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/favicon.svg", get(|| async { file("image/svg+xml", MARK) }))
}

fn file(content_type: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    (headers, Bytes::from_static(text.as_bytes())).into_response()
}
