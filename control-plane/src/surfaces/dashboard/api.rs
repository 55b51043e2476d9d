//! The API as the pages call it: in this process, as the agent whose session it is.

use super::error::Failure;
use crate::auth::{Agent, SignedIn};
use crate::web::server::Peer;
use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::ServiceExt;

/// The API's router, as every request of the dashboard carries it.
#[derive(Clone)]
pub(super) struct ApiRouter(pub(super) Router);

/// The API for one agent.
pub(super) struct Api {
    router: Router,
    agent: Agent,
    peer: Option<Peer>,
}

/// What the API says when it refuses.
#[derive(Deserialize)]
struct Refusal {
    error: String,
    message: String,
    fix: String,
}

impl Api {
    pub(super) fn new(router: &ApiRouter, agent: Agent, peer: Option<Peer>) -> Self {
        Self { router: router.0.clone(), agent, peer }
    }

    /// Reads a path.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.answer(Request::get(path).body(Body::empty())).await
    }

    /// Does something; `once` names this press of a button, so that a second one does nothing more.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        once: &str,
    ) -> Result<T, Failure> {
        let mut request = Request::builder().method(method).uri(path);
        if !once.is_empty() {
            request = request.header("idempotency-key", once);
        }
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.answer(request.body(Body::from(body.to_string()))).await
    }

    /// Does something that takes no body.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        once: &str,
    ) -> Result<T, Failure> {
        let mut request = Request::builder().method(method).uri(path);
        if !once.is_empty() {
            request = request.header("idempotency-key", once);
        }
        self.answer(request.body(Body::empty())).await
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        request: Result<Request<Body>, http::Error>,
    ) -> Result<T, Failure> {
        let mut request = request.map_err(Failure::bug)?;
        request.extensions_mut().insert(SignedIn(self.agent));
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        let (parts, body) = self.router.clone().oneshot(request).await.into_response().into_parts();
        let bytes = body.collect().await.map_err(Failure::bug)?.to_bytes();
        if parts.status.is_success() {
            return serde_json::from_slice(&bytes).map_err(Failure::bug);
        }
        Err(Self::refused(parts.status, &bytes))
    }

    fn refused(status: StatusCode, bytes: &[u8]) -> Failure {
        match serde_json::from_slice::<Refusal>(bytes) {
            Ok(refusal) => Failure::new(status, refusal.error, refusal.message, refusal.fix),
            Err(error) => Failure::bug(error),
        }
    }
}

/// A path with a query, percent-encoded.
pub(super) fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()));
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}
