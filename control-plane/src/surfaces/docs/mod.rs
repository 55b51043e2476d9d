//! Documentation that the service carries with it: `/docs` for people, `/llms.txt` for agents, and
//! guides under `/docs/`.
//!
//! Both are made once, at start: `/docs` from the OpenAPI description, so it cannot differ from what is
//! served. Everything it needs comes from here, under a policy that refuses any other address, inline
//! scripts and inline styles. It reads without its script; the script only sends calls to this origin.

mod guides;
mod page;
mod schema;

use crate::app::App;
use crate::config::Config;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderName, header};

const LLMS: &str = include_str!("../../../assets/llms.txt");
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const STYLE: &str = include_str!("../../../assets/docs.css");
const SCRIPT: &str = include_str!("../../../assets/docs.js");

/// What an agent reads first, as served from `origin`.
pub(crate) fn llms(origin: &str) -> Bytes {
    Bytes::from(LLMS.replace("{origin}", origin))
}

/// The guides.
fn guides() -> Router<App> {
    guides::GUIDES.iter().fold(Router::new(), |router, guide| {
        let page = Bytes::from(guide.render());
        router.route(guide.path, get(move || async move { reply("text/html; charset=utf-8", page) }))
    })
}

/// The routes of the documentation.
pub fn routes(document: &serde_json::Value, config: &Config) -> Router<App> {
    let origin = &config.api_origin;
    let page = Bytes::from(page::render(document, origin));
    let llms = llms(origin);
    guides()
        .route("/docs", get(move || async move { reply("text/html; charset=utf-8", page) }))
        .route(
            "/docs/style.css",
            get(|| async { reply("text/css; charset=utf-8", Bytes::from_static(STYLE.as_bytes())) }),
        )
        .route(
            "/docs/docs.js",
            get(|| async { reply("text/javascript; charset=utf-8", Bytes::from_static(SCRIPT.as_bytes())) }),
        )
        .route("/llms.txt", get(move || async move { reply("text/plain; charset=utf-8", llms) }))
}

fn reply(content_type: &'static str, body: Bytes) -> Response {
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "public, max-age=300"),
    ];
    (headers, body).into_response()
}
