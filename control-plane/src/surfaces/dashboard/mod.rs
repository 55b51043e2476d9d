//! `/my-dashboard`: the product for people, in a browser.
//!
//! The dashboard is a client of the API and nothing else: every figure is read and every button is pressed
//! through the API's own router, as the signed-in agent. So it has no rule, no SQL and no right of its own,
//! and cannot show what the API would not.
//!
//! Two things are read straight from a feature: nothing of the API streams, so clicks as they arrive are
//! asked of `clicks` ([`live`]), and the session itself of `auth`.
//!
//! Must stay true: the key is in no page, address, referrer or log ([`sign`]); pages work without scripts,
//! which only add copying, and clicks as they arrive; no markup comes from data (templates escape); every
//! form carries its session's token ([`visit`]); nothing is loaded from elsewhere.
//! Limits: [`PER_PAGE`] rows a page, the [`PICKED_MAX`] newest to pick from; see [`export`] and [`live`].

mod advertiser;
mod affiliate;
mod api;
mod chart;
mod error;
mod export;
mod layout;
mod live;
mod parts;
mod shapes;
mod sign;
mod visit;
pub(crate) mod words;

use crate::app::App;
use crate::surfaces::site;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::{HeaderValue, header};

/// Where it lives.
pub(crate) const HOME: &str = "/my-dashboard";
/// Rows of a page of a list.
const PER_PAGE: i64 = 25;
/// Programs and partnerships to pick from.
const PICKED_MAX: i64 = 100;

/// The pages, which ask `api` for everything.
pub fn routes(api: Router) -> Router<App> {
    Router::new()
        .route(HOME, get(sign::home))
        .route("/my-dashboard/sign-in", get(sign::form).post(sign::sign_in))
        .route("/my-dashboard/sign-out", post(sign::sign_out))
        .merge(affiliate::routes())
        .merge(advertiser::routes())
        .merge(export::routes())
        .merge(live::routes())
        .layer(Extension(api::ApiRouter(api)))
        .layer(middleware::from_fn(headers))
}

/// What every reply of the dashboard says to the browser.
async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(site::POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in [
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=()"),
        ("x-robots-tag", "noindex"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
