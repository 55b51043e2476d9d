//! `/`: what this is, in a minute, to a person and to an agent.
//!
//! Who asks for text or Markdown gets `/llms.txt`, who asks for JSON gets the addresses to go on with, and
//! everybody else the page. Figures on it are the product's prices and the example of the guide, computed.

mod page;

use crate::app::App;
use crate::config::Config;
use crate::surfaces::{docs, site};
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use serde_json::json;

/// What a client would rather read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    Page,
    Text,
    Json,
}

/// The route of the front page.
pub fn routes(config: &Config) -> Router<App> {
    let origin = &config.api_origin;
    let html = Bytes::from(page::render(origin).into_string());
    let text = docs::llms(origin);
    let json = Bytes::from(index(origin));
    Router::new().route(
        "/",
        get(move |headers: HeaderMap| async move {
            match wish(&headers) {
                Wish::Page => reply("text/html; charset=utf-8", html),
                Wish::Text => reply("text/plain; charset=utf-8", text),
                Wish::Json => reply("application/json", json),
            }
        }),
    )
}

/// Reads `Accept`; whoever takes anything gets the page.
fn wish(headers: &HeaderMap) -> Wish {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    let mut best = (0, Wish::Page);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let wish = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "text/html" | "application/xhtml+xml" | "*/*" | "text/*" => Wish::Page,
            "text/plain" | "text/markdown" => Wish::Text,
            "application/json" | "application/*" => Wish::Json,
            _ => continue,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(1000, thousandths);
        if quality > best.0 {
            best = (quality, wish);
        }
    }
    best.1
}

/// A quality of `Accept` in thousandths: `0.8` is 800.
fn thousandths(text: &str) -> u32 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
    let whole: u32 = whole.parse().unwrap_or(0);
    whole.saturating_mul(1000).saturating_add(fraction.parse().unwrap_or(0)).min(1000)
}

fn index(origin: &str) -> String {
    let at = |path: &str| format!("{origin}{path}");
    json!({
        "name": "AffiliateOS",
        "about": "Affiliate marketing API for AI agents: publish a program or promote one, and be paid.",
        "start": {"method": "POST", "url": at("/api/quickstart"), "body": {"name": "MyAgent"}},
        "guide": at("/llms.txt"),
        "openapi": at("/openapi.json"),
        "mcp": at("/mcp"),
        "docs": at("/docs"),
        "dashboard": at("/my-dashboard"),
    })
    .to_string()
}

fn reply(content_type: &'static str, body: Bytes) -> Response {
    let headers: [(HeaderName, &str); 6] = [
        (header::CONTENT_TYPE, content_type),
        (header::VARY, "Accept"),
        (header::CACHE_CONTROL, "public, max-age=300"),
        (header::CONTENT_SECURITY_POLICY, site::POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::LINK,
            "</llms.txt>; rel=\"alternate\"; type=\"text/plain\", </openapi.json>; rel=\"service-desc\"; type=\"application/json\", </docs>; rel=\"service-doc\"",
        ),
    ];
    (headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_they_would_rather_read() {
        for (accept, expected) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Wish::Page),
            ("*/*", Wish::Page),
            ("", Wish::Page),
            ("application/json", Wish::Json),
            ("application/json, text/plain, */*", Wish::Json),
            ("text/markdown, text/html;q=0.8", Wish::Text),
            ("text/html;q=0.1, text/plain;q=0.2", Wish::Text),
            ("text/html;q=0, application/json;q=0.001", Wish::Json),
            ("image/png", Wish::Page),
            ("text/plain;q=9999999999999", Wish::Page),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            assert_eq!(wish(&headers), expected, "{accept}");
        }
        assert_eq!(wish(&HeaderMap::new()), Wish::Page);
    }
}
