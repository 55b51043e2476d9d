//! The answers for what no route takes: 404 with the route that was meant, 405 with the methods there are.
//!
//! The table comes from the OpenAPI description, so a suggestion always exists. Limit: a path is compared
//! segment by segment, by at most [`SEGMENTS_MAX`] of them; parameters stand for any segment.

use crate::error::{Code, Error};
use crate::web::middleware;
use axum::Extension;
use axum::response::Response;
use http::{Method, Uri};
use std::sync::Arc;

/// No route has more segments than this.
const SEGMENTS_MAX: usize = 8;
/// How alike two segments must be, 0 to 1, for one to be taken for the other.
const LIKENESS_MIN: f64 = 0.8;

/// Every described route with its methods.
#[derive(Debug)]
pub struct KnownRoutes(Vec<Route>);

#[derive(Debug)]
struct Route {
    template: String,
    /// Method and what it does.
    methods: Vec<(&'static str, String)>,
}

impl KnownRoutes {
    /// The routes of a description.
    pub fn of(document: &utoipa::openapi::OpenApi) -> Self {
        let routes = document.paths.paths.iter().map(|(template, item)| {
            let methods = [
                ("GET", &item.get),
                ("POST", &item.post),
                ("PUT", &item.put),
                ("PATCH", &item.patch),
                ("DELETE", &item.delete),
            ];
            let methods = methods.into_iter().filter_map(|(method, operation)| {
                operation.as_ref().map(|one| (method, one.summary.clone().unwrap_or_default()))
            });
            Route { template: template.clone(), methods: methods.collect() }
        });
        Self(routes.collect())
    }

    /// The methods of the route that a path is on.
    fn methods(&self, path: &str) -> Option<&Route> {
        let score = |route: &&Route| route.template.matches('{').count();
        self.0.iter().filter(|route| likeness(&route.template, path) == Some(1.0)).min_by_key(score)
    }

    /// The route whose path is most like a path that no route has, a route with this method first.
    fn nearest(&self, method: &Method, path: &str) -> Option<String> {
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        let mut tidy = segments.fold(String::new(), |path, segment| path + "/" + segment);
        if !["/api", "/v1"].iter().any(|root| tidy.starts_with(root)) {
            tidy.insert_str(0, "/api");
        }
        let scored = self.0.iter().filter_map(|route| {
            let likeness = likeness(&route.template, &tidy)?;
            let suits = route.methods.iter().any(|(name, _)| *name == method.as_str());
            // Among equals: one with this method, then one with fewer parameters.
            Some((likeness + if suits { 0.001 } else { 0.0 }, route.template.matches('{').count(), route))
        });
        let best = scored.max_by(|left, right| left.0.total_cmp(&right.0).then(right.1.cmp(&left.1)));
        best.map(|(_, _, route)| {
            let suits = route.methods.iter().any(|(name, _)| *name == method.as_str());
            let method =
                if suits { method.as_str() } else { route.methods.first().map_or("GET", |one| one.0) };
            format!("{method} {}", filled(&route.template, &tidy))
        })
    }
}

/// The template with the path's own values for its parameters, cut to what is sane to show.
fn filled(template: &str, path: &str) -> String {
    let given: Vec<&str> = path.split('/').collect();
    let parts = template.split('/').enumerate().map(|(at, segment)| match given.get(at) {
        Some(value) if segment.starts_with('{') && value.len() <= 64 => (*value).to_owned(),
        _ if segment.starts_with('{') => format!(":{}", segment.trim_matches(['{', '}'])),
        _ => segment.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

/// How alike a template and a path are: 1 when the path is on it, `None` when it is another altogether.
fn likeness(template: &str, path: &str) -> Option<f64> {
    let (wanted, given): (Vec<&str>, Vec<&str>) =
        (template.split('/').collect(), path.split('/').take(SEGMENTS_MAX + 1).collect());
    if wanted.len() != given.len() {
        return None;
    }
    let mut sum = 0.0;
    for (wanted, given) in wanted.iter().zip(&given) {
        let alike = if wanted.starts_with('{') && !given.is_empty() {
            1.0
        } else if given.len() > 64 {
            return None;
        } else {
            strsim::jaro_winkler(wanted, &given.to_lowercase().replace('_', "-"))
        };
        if alike < LIKENESS_MIN {
            return None;
        }
        sum += alike;
    }
    Some(sum / wanted.len() as f64)
}

/// 404 for a path that no route has.
pub async fn unknown_route(
    Extension(known): Extension<Arc<KnownRoutes>>,
    method: Method,
    uri: Uri,
) -> Response {
    let path: String = uri.path().chars().take(64).collect();
    let fix = match known.nearest(&method, uri.path()) {
        Some(nearest) => format!("Did you mean {nearest}? Every call is in /openapi.json and /docs."),
        None => {
            "Look the call up in /openapi.json or /docs; paths are under /api or /v1 and have no slash at the end."
                .to_owned()
        }
    };
    middleware::refuse(&uri, Error::new(Code::NotFound, format!("There is no route {method} {path}."), fix))
}

/// 405 for a route with another method.
pub async fn wrong_method(
    Extension(known): Extension<Arc<KnownRoutes>>,
    method: Method,
    uri: Uri,
) -> Response {
    let path: String = uri.path().chars().take(64).collect();
    let fix = match known.methods(uri.path()) {
        Some(route) => {
            let path = filled(&route.template, uri.path());
            let calls = route.methods.iter().map(|(method, what)| format!("{method} {path} ({what})"));
            format!("Send {} instead.", calls.collect::<Vec<_>>().join(" or "))
        }
        None => "Use one of the methods in the Allow header of this reply.".to_owned(),
    };
    let message = format!("{path} does not answer {method}.");
    middleware::refuse(&uri, Error::new(Code::MethodNotAllowed, message, fix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> KnownRoutes {
        KnownRoutes::of(&crate::web::router::described().into_openapi())
    }

    #[test]
    fn the_route_that_was_meant_is_named() {
        let known = known();
        let check = |method: Method, path: &str, meant: Option<&str>| {
            assert_eq!(known.nearest(&method, path).as_deref(), meant, "{method} {path}");
        };
        check(Method::GET, "/api/programs/", Some("GET /api/programs"));
        check(Method::POST, "/api/program", Some("POST /api/programs"));
        check(Method::GET, "/agents/me", Some("GET /api/agents/me"));
        check(Method::GET, "//api//agents//me/", Some("GET /api/agents/me"));
        check(Method::POST, "/api/sign-up", None);
        check(Method::POST, "/api/auth/sign-up", Some("POST /api/auth/signup"));
        check(Method::POST, "/api/programs/7/paused", Some("POST /api/programs/7/pause"));
        check(Method::POST, "/api/Conversions/track_click", Some("POST /api/conversions/track-click"));
        check(Method::GET, "/favicon.ico", None);
        check(Method::GET, &"/a".repeat(4000), None);
        check(Method::GET, &format!("/api/{}", "x".repeat(60_000)), None);
    }

    #[test]
    fn the_methods_of_a_path_are_those_of_its_own_route() {
        let known = known();
        let methods =
            |path: &str| known.methods(path).map(|route| route.methods.iter().map(|one| one.0).collect());
        assert_eq!(methods("/api/conversions/track"), Some(vec!["POST"]));
        assert_eq!(methods("/api/programs"), Some(vec!["GET", "POST"]));
        assert_eq!(methods("/api/nothing/at/all"), None);
    }
}
