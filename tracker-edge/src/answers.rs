//! What the edge answers: redirects, pages, and what an ACME server reads. Every answer says that nobody may keep it.

use crate::pages::Page;
use crate::runtime::Worker;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::Full;

pub(crate) type Answer = Response<Full<Bytes>>;

const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("private, no-store");
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// The redirect itself: the request's header map, emptied, becomes the answer's, which saves its
/// allocation here and in hyper.
#[inline]
pub(crate) fn redirect(parts: Parts, location: Vec<u8>, close: bool) -> Answer {
    let mut headers = parts.headers;
    headers.clear();
    let location = HeaderValue::from_maybe_shared(Bytes::from(location));
    // Records hold printable ASCII only, and what is put into them is percent-encoded.
    headers.insert(header::LOCATION, location.expect("a decoded record is printable ASCII"));
    headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
    if close {
        headers.insert(header::CONNECTION, CLOSE);
    }
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::FOUND;
    *answer.headers_mut() = headers;
    answer
}

/// Any other answer.
pub(crate) fn page(worker: &Worker, page: &Page, parts: Parts, close: bool) -> Answer {
    let wants_json = parts
        .headers
        .get_all(header::ACCEPT)
        .iter()
        .any(|accept| accept.as_bytes().windows(4).any(|window| window.eq_ignore_ascii_case(b"json")));
    let mut headers = parts.headers;
    headers.clear();
    let (body, content_type) = if wants_json {
        (page.json.clone(), HeaderValue::from_static("application/json"))
    } else {
        (page.html.clone(), HeaderValue::from_static("text/html; charset=utf-8"))
    };
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
    match page.status {
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    if close || worker.draining.get() {
        headers.insert(header::CONNECTION, CLOSE);
    }
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = page.status;
    *answer.headers_mut() = headers;
    answer
}

/// A line of text.
pub(crate) fn text(worker: &Worker, text: String, close: bool) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
    if close || worker.draining.get() {
        headers.insert(header::CONNECTION, CLOSE);
    }
    answer
}
