//! An HTTP client in a role, and replies as tests look at them.

use super::contract;
use serde_json::Value;
use std::fmt;

/// Sends requests with one key, or none.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    origin: String,
    key: Option<String>,
    me: Value,
}

/// A reply; displays as status and body.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl Client {
    pub(super) fn new(http: reqwest::Client, origin: String, key: Option<String>) -> Self {
        Self { http, origin, key, me: Value::Null }
    }

    pub(crate) fn known_as(self, me: Value) -> Self {
        Self { me, ..self }
    }

    /// The sign-up's reply.
    pub(crate) fn me(&self) -> &Value {
        &self.me
    }

    /// The agent's id.
    pub(crate) fn id(&self) -> &str {
        self.me["id"].as_str().expect("the client has signed up")
    }

    /// The same, typed.
    pub(crate) fn agent_id(&self) -> shared::id::AgentId {
        self.id().parse().expect("an id is a UUID")
    }

    /// The key shown.
    pub(crate) fn key(&self) -> &str {
        self.key.as_deref().expect("the client has a key")
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(self.request("GET", path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(self.request("POST", path).json(&body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Reply {
        self.send(self.request("PATCH", path).json(&body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send(self.request("DELETE", path)).await
    }

    /// A request to add to before it is sent.
    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.origin));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        let (http, request) = request.build_split();
        let request = request.expect("the request can be sent");
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = http.execute(request).await.expect("the service answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("the reply is whole");
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        let reply = Reply { status, headers, body, text };
        if contract::is_enforced(&path) {
            contract::check(&method, &path, &reply);
        }
        reply
    }
}

impl Reply {
    /// Checks that the reply is this error, in the documented shape, and gives its `fix`.
    #[track_caller]
    pub(crate) fn is_error(&self, status: u16, code: &str) -> &str {
        assert_eq!((self.status, self.body["error"].as_str()), (status, Some(code)), "{self}");
        for member in ["message", "fix", "docs"] {
            assert!(self.body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {self}");
        }
        assert!(self.headers.contains_key("x-request-id"), "{self}");
        self.body["fix"].as_str().unwrap_or_default()
    }

    /// Checks the status and gives the body.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> &Value {
        assert_eq!(self.status, status, "{self}");
        &self.body
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.text)
    }
}
