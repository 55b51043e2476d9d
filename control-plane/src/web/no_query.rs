//! Refuses query parameters of reads that take none: a misspelt filter must be heard of, and so must a filter of a
//! call that has no filters.
//!
//! A read changes nothing, so it is judged last: whoever may not read hears of that first, as everywhere.

use crate::error::Error;
use crate::web::extract::first_parameter;
use crate::web::middleware;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;
use std::collections::HashSet;
use std::sync::Arc;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::ParameterIn;

/// The paths of reads without query parameters.
#[derive(Clone, Debug)]
pub struct PlainReads(Arc<HashSet<String>>);

impl PlainReads {
    /// Those of a description.
    pub fn of(document: &utoipa::openapi::OpenApi) -> Self {
        let reads = document.paths.paths.iter().filter(|(path, _)| path.starts_with("/api/"));
        let plain = reads.filter(|(_, item)| {
            item.get.as_ref().is_some_and(|read| {
                let mut parameters = read.parameters.iter().flatten();
                !parameters.any(|one| matches!(one, RefOr::T(one) if one.parameter_in == ParameterIn::Query))
            })
        });
        Self(Arc::new(plain.map(|(path, _)| path.clone()).collect()))
    }
}

/// Around the routes.
pub async fn around(State(plain): State<PlainReads>, request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    let read = matches!(*request.method(), Method::GET | Method::HEAD);
    let route = request.extensions().get::<MatchedPath>();
    let plain = read && uri.query().is_some() && route.is_some_and(|route| plain.0.contains(route.as_str()));
    let response = next.run(request).await;
    match first_parameter(&uri).filter(|_| plain && response.status().is_success()) {
        None => response,
        Some(name) => {
            let message = format!("There is no query parameter `{name}`.");
            let fix = format!("Leave out `{name}`: GET {} takes no query parameters.", uri.path());
            middleware::refuse(&uri, Error::invalid(&name, message, fix))
        }
    }
}
