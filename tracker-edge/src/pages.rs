//! The answers that are not redirects, made once: a small page for people, JSON for programs.

use bytes::Bytes;
use http::StatusCode;

/// One answer in both shapes.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) html: Bytes,
    pub(crate) json: Bytes,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Pages {
    pub(crate) not_found: Page,
    pub(crate) gone: Page,
    pub(crate) wrong_method: Page,
    pub(crate) unavailable: Page,
    pub(crate) prefetch: Page,
    pub(crate) bad_request: Page,
    pub(crate) uri_too_long: Page,
    pub(crate) misdirected: Page,
}

impl Pages {
    /// `api_origin` is where the documentation is.
    pub(crate) fn new(api_origin: &str) -> Self {
        let page = |status, code, title, message, fix| page(api_origin, status, code, title, message, fix);
        Self {
            not_found: page(
                StatusCode::NOT_FOUND,
                "not_found",
                "This link leads nowhere",
                "There is no tracking link at this address.",
                "Use the tracking_url of a link as GET /api/links returns it.",
            ),
            gone: page(
                StatusCode::GONE,
                "gone",
                "This link is no longer in use",
                "The tracking link or its program was removed.",
                "Create a new link with POST /api/links.",
            ),
            wrong_method: page(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This address is for following",
                "Tracking links answer GET and HEAD.",
                "Send GET /api/track/:token.",
            ),
            unavailable: page(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "One moment, please",
                "This link cannot be looked up right now.",
                "Send the same request again after the seconds in Retry-After.",
            ),
            prefetch: page(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "Not prefetched",
                "Tracking links are not prefetched: only real clicks count.",
                "Send the request without a prefetch header when the link is followed.",
            ),
            bad_request: page(
                StatusCode::BAD_REQUEST,
                "invalid_value",
                "The request cannot be understood",
                "The request breaks HTTP: its Host, framing or line ends are not as they must be.",
                "Send one valid Host header and no Transfer-Encoding.",
            ),
            uri_too_long: page(
                StatusCode::URI_TOO_LONG,
                "invalid_value",
                "The address is too long",
                "Addresses of tracking links have at most 2,048 characters.",
                "Shorten the values of sub1 to sub5.",
            ),
            misdirected: page(
                StatusCode::MISDIRECTED_REQUEST,
                "invalid_value",
                "This connection is for another site",
                "The connection's certificate is not the one of the host asked for.",
                "Open a connection for this host and send the same request again.",
            ),
        }
    }
}

fn page(api_origin: &str, status: StatusCode, code: &str, title: &str, message: &str, fix: &str) -> Page {
    let json = serde_json::json!({
        "error": code,
        "message": message,
        "fix": fix,
        "docs": format!("{api_origin}/docs"),
    });
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\">\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:32em;margin:20vh auto;padding:0 1em}}</style>\
         <h1>{title}</h1><p>{message}</p>\n"
    );
    Page { status, html: Bytes::from(html), json: Bytes::from(format!("{json}\n")) }
}
