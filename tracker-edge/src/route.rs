//! Method and path to what is asked for. Pure: no allocation, no I/O.

use http::Method;

/// Where tracking links live.
const TRACK: &str = "/api/track/";

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Route<'a> {
    /// A click on this token.
    Click(&'a str),
    /// The same, to be answered but not recorded.
    Look(&'a str),
    /// A tracking link, by a method it does not have.
    WrongMethod,
    /// Nothing we have.
    Nowhere,
}

/// Finds the route. The query is not part of the path.
#[inline]
pub(crate) fn route<'a>(method: &Method, path: &'a str) -> Route<'a> {
    path.strip_prefix(TRACK).map_or(Route::Nowhere, |token| by_method(method, token))
}

/// The same on a custom domain, where a token alone is enough.
pub(crate) fn route_on_domain<'a>(method: &Method, path: &'a str) -> Route<'a> {
    let short = || path.strip_prefix('/').filter(|token| !token.is_empty() && !token.contains('/'));
    path.strip_prefix(TRACK).or_else(short).map_or(Route::Nowhere, |token| by_method(method, token))
}

#[inline]
fn by_method<'a>(method: &Method, token: &'a str) -> Route<'a> {
    match *method {
        Method::GET => Route::Click(token),
        Method::HEAD => Route::Look(token),
        _ => Route::WrongMethod,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_and_path_has_its_route() {
        for (method, path, expected) in [
            (Method::GET, "/api/track/abc", Route::Click("abc")),
            (Method::HEAD, "/api/track/abc", Route::Look("abc")),
            (Method::POST, "/api/track/abc", Route::WrongMethod),
            (Method::OPTIONS, "/api/track/abc", Route::WrongMethod),
            (Method::GET, "/api/track/", Route::Click("")),
            (Method::GET, "/api/track", Route::Nowhere),
            (Method::GET, "/", Route::Nowhere),
            (Method::GET, "//api/track/abc", Route::Nowhere),
            (Method::POST, "/api/agents", Route::Nowhere),
        ] {
            assert_eq!(route(&method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_custom_domain_takes_tokens_alone_too() {
        for (method, path, expected) in [
            (Method::GET, "/abc", Route::Click("abc")),
            (Method::HEAD, "/abc", Route::Look("abc")),
            (Method::POST, "/abc", Route::WrongMethod),
            (Method::GET, "/api/track/abc", Route::Click("abc")),
            (Method::GET, "/", Route::Nowhere),
            (Method::GET, "/abc/", Route::Nowhere),
            (Method::GET, "/.well-known/acme-challenge/abc", Route::Nowhere),
        ] {
            assert_eq!(route_on_domain(&method, path), expected, "{method} {path}");
        }
    }
}
