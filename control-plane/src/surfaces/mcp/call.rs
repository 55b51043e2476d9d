//! Calling an operation: arguments to a request, through the API's own router, and its reply to a result.

use super::confirm::{Call, Confirmations, Confirmed, Look, Refused};
use super::tools::{CONFIRMATION, IDEMPOTENCY, Operation};
use crate::error::{Code, Error};
use crate::time::At;
use crate::web::extract::nearest;
use crate::web::respond::ApiError;
use crate::web::server::Peer;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, header};
use http_body_util::BodyExt;
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Map, Value, json};
use tower::ServiceExt;

/// Headers of the MCP request that the API reads itself.
const PASSED_ON: [HeaderName; 3] =
    [header::AUTHORIZATION, header::USER_AGENT, HeaderName::from_static("x-forwarded-for")];

/// Performs operations for the caller of one MCP request.
pub(super) struct Caller<'a> {
    pub(super) api: &'a Router,
    pub(super) confirmations: &'a Confirmations,
    pub(super) parts: &'a Parts,
    pub(super) now: DateTime<Utc>,
}

/// A reply of the API.
pub(super) struct Answer {
    ok: bool,
    body: Map<String, Value>,
}

impl Caller<'_> {
    /// Runs a tool.
    pub(super) async fn call(&self, operation: &Operation, arguments: Map<String, Value>) -> CallToolResult {
        match self.answer(operation, arguments).await {
            Ok(answer) => answer.into_result(),
            Err(error) => Answer::refusal(error).await.into_result(),
        }
    }

    async fn answer(
        &self,
        operation: &Operation,
        mut arguments: Map<String, Value>,
    ) -> Result<Answer, Error> {
        let Some(look) = &operation.look else {
            let key = arguments.remove(IDEMPOTENCY);
            return self.send(operation, arguments, key.map(plain).as_deref()).await;
        };
        let token = arguments.remove(CONFIRMATION).map(plain);
        let caller = self.parts.headers.get(header::AUTHORIZATION);
        let caller = caller.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let call = Call { operation: &operation.id, caller, arguments: &arguments };
        let Some(token) = token else {
            return self.ask(operation, look, &call).await;
        };
        let confirmed = self.confirmations.check(&call, &token, self.now).map_err(refused)?;
        self.act(operation, arguments, confirmed).await
    }

    /// Shows what it is about and hands out a token; nothing is changed.
    async fn ask(&self, operation: &Operation, look: &Look, call: &Call<'_>) -> Result<Answer, Error> {
        let mut arguments = call.arguments.clone();
        let shown = match look {
            Look::DryRun => {
                arguments.insert("dry_run".to_owned(), json!(true));
                self.send(operation, arguments, None).await?
            }
            Look::At(path) => {
                let of_path =
                    operation.path_names.iter().filter(|name| path.contains(&format!("{{{name}}}")));
                let path_names: Vec<String> = of_path.cloned().collect();
                arguments.retain(|name, _| path_names.contains(name));
                let read = Operation {
                    id: operation.id.clone(),
                    method: Method::GET,
                    path: path.clone(),
                    path_names,
                    query_names: Vec::new(),
                    body_names: None,
                    look: None,
                };
                self.send(&read, arguments, None).await?
            }
        };
        if !shown.ok {
            return Ok(shown);
        }
        let preview_token = shown.body.get("preview_token").and_then(Value::as_str);
        let (token, until) = self.confirmations.make(call, preview_token, self.now);
        let asks = json!({
            "confirmation_required": true,
            "confirmation_token": token,
            "expires_at": At(until),
            "next": format!(
                "Nothing was done yet. To go on, call {} again with the same arguments and confirmation_token.",
                operation.id
            ),
            "preview": shown.body,
        });
        let Value::Object(body) = asks else { return Err(Error::bug(anyhow::anyhow!("an object is one"))) };
        Ok(Answer { ok: true, body })
    }

    async fn act(
        &self,
        operation: &Operation,
        mut arguments: Map<String, Value>,
        confirmed: Confirmed,
    ) -> Result<Answer, Error> {
        if let Some(preview_token) = confirmed.preview_token {
            arguments.insert("preview_token".to_owned(), json!(preview_token));
            arguments.insert("dry_run".to_owned(), json!(false));
        }
        let key = (operation.method == Method::POST).then_some(confirmed.idempotency_key);
        self.send(operation, arguments, key.as_deref()).await
    }

    async fn send(
        &self,
        operation: &Operation,
        arguments: Map<String, Value>,
        idempotency_key: Option<&str>,
    ) -> Result<Answer, Error> {
        let mut request = request(operation, arguments)?;
        if let Some(key) = idempotency_key {
            let key = HeaderValue::from_str(key).map_err(|_| {
                let message = format!("`{IDEMPOTENCY}` may hold visible ASCII characters only.");
                Error::invalid(IDEMPOTENCY, message, "Send another text, such as a UUID.")
            })?;
            request.headers_mut().insert("idempotency-key", key);
        }
        self.fetch(request).await
    }

    /// Reads a path of ours as the caller.
    pub(super) async fn read(&self, path: &str) -> Result<Response, Error> {
        let request = Request::get(path).body(Body::empty()).map_err(Error::bug)?;
        Ok(self.respond(request).await)
    }

    async fn fetch(&self, request: Request<Body>) -> Result<Answer, Error> {
        Answer::read(self.respond(request).await).await
    }

    async fn respond(&self, mut request: Request<Body>) -> Response {
        for name in PASSED_ON {
            for value in self.parts.headers.get_all(&name) {
                request.headers_mut().append(name.clone(), value.clone());
            }
        }
        if let Some(peer) = self.parts.extensions.get::<Peer>() {
            request.extensions_mut().insert(*peer);
        }
        self.api.clone().oneshot(request).await.into_response()
    }
}

impl Answer {
    async fn read(response: Response) -> Result<Self, Error> {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.map_err(Error::bug)?.to_bytes();
        let body = match serde_json::from_slice(&bytes) {
            Ok(Value::Object(body)) => body,
            Ok(other) => Map::from_iter([("result".to_owned(), other)]),
            Err(_) => Map::from_iter([("result".to_owned(), json!(String::from_utf8_lossy(&bytes)))]),
        };
        let mut answer = Self { ok: parts.status.is_success(), body };
        // A tool's caller sees no headers.
        let wait =
            parts.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if let (false, Some(seconds)) = (answer.ok, wait) {
            answer.body.insert("retry_after_seconds".to_owned(), json!(seconds));
        }
        Ok(answer)
    }

    /// A refusal of our own, in the shape of all others.
    async fn refusal(error: Error) -> Self {
        match Self::read(ApiError::from(error).into_response()).await {
            Ok(answer) => answer,
            Err(_) => Self { ok: false, body: Map::new() },
        }
    }

    fn into_result(self) -> CallToolResult {
        let text = Value::Object(self.body.clone()).to_string();
        if self.ok {
            let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
            result.structured_content = Some(Value::Object(self.body));
            return result;
        }
        // An output schema describes successes; errors are told in the text.
        CallToolResult::error(vec![ContentBlock::text(text)])
    }
}

fn refused(why: Refused) -> Error {
    let message = match why {
        Refused::Expired => "The confirmation_token is older than ten minutes.",
        Refused::Foreign => {
            "The confirmation_token does not belong to this call: the tool, the arguments or the key differ."
        }
    };
    Error::invalid(
        CONFIRMATION,
        message,
        "Call without confirmation_token to get a new one, then repeat exactly that call with it.",
    )
}

/// The request an operation's arguments stand for.
fn request(operation: &Operation, mut arguments: Map<String, Value>) -> Result<Request<Body>, Error> {
    let mut url = url::Url::parse("http://api").map_err(Error::bug)?;
    {
        let mut path =
            url.path_segments_mut().map_err(|()| Error::bug(anyhow::anyhow!("http has a path")))?;
        path.clear();
        for segment in operation.path.split('/').skip(1) {
            match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) => path.push(&path_argument(name, &mut arguments)?),
                None => path.push(segment),
            };
        }
    }
    for name in &operation.query_names {
        if let Some(value) = arguments.remove(name).filter(|value| !value.is_null()) {
            url.query_pairs_mut().append_pair(name, &plain(value));
        }
    }
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let request = Request::builder().method(operation.method.clone()).uri(target);
    if operation.body_names.is_some() {
        // The API itself says what is wrong with a body, with suggestions.
        let body = Body::from(Value::Object(arguments).to_string());
        return request.header(header::CONTENT_TYPE, "application/json").body(body).map_err(Error::bug);
    }
    if let Some(name) = arguments.keys().next() {
        return Err(unknown_argument(operation, name));
    }
    request.body(Body::empty()).map_err(Error::bug)
}

fn path_argument(name: &str, arguments: &mut Map<String, Value>) -> Result<String, Error> {
    let value = arguments.remove(name).filter(|value| !value.is_null());
    let Some(value) = value else {
        return Err(Error::missing(name, format!("Pass `{name}`, as another tool returned it.")));
    };
    let value = plain(value);
    // Dots would climb to another path.
    if value.is_empty() || value.chars().all(|letter| letter == '.') || value.len() > 256 {
        let message = format!("`{name}` is no id.");
        return Err(Error::new(
            Code::InvalidId,
            message,
            format!("Pass `{name}` as another tool returned it."),
        )
        .on_field(name));
    }
    Ok(value)
}

fn unknown_argument(operation: &Operation, name: &str) -> Error {
    let known: Vec<&String> = operation.path_names.iter().chain(&operation.query_names).collect();
    let fix = match (nearest(name, &known), known.is_empty()) {
        (Some(meant), _) => format!("Did you mean `{meant}`?"),
        (None, true) => "Call it without arguments.".to_owned(),
        (None, false) => {
            let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            format!("Use only {}.", known.join(", "))
        }
    };
    let name: String = name.chars().take(64).collect();
    Error::new(Code::InvalidValue, format!("{} takes no argument `{name}`.", operation.id), fix)
        .on_field(&name)
}

/// A value as it stands in a path or a query.
fn plain(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(method: Method, path: &str, query: &[&str], body: bool) -> Operation {
        Operation {
            id: "an_operation".to_owned(),
            method,
            path: path.to_owned(),
            path_names: vec!["id".to_owned()],
            query_names: query.iter().map(|name| (*name).to_owned()).collect(),
            body_names: body.then(Vec::new),
            look: None,
        }
    }

    fn arguments(value: Value) -> Map<String, Value> {
        let Value::Object(arguments) = value else { panic!("an object") };
        arguments
    }

    #[test]
    fn arguments_find_their_places() {
        let list = operation(Method::GET, "/api/links/{id}/clicks", &["page", "q"], false);
        let made = request(&list, arguments(json!({"id": "a/b?c", "page": 2, "q": "x&y=z", }))).unwrap();
        assert_eq!(made.uri(), "/api/links/a%2Fb%3Fc/clicks?page=2&q=x%26y%3Dz");
        let patch = operation(Method::PATCH, "/api/links/{id}", &[], true);
        let made = request(&patch, arguments(json!({"id": "1", "sub_id": null}))).unwrap();
        assert_eq!((made.uri().path(), made.method()), ("/api/links/1", &Method::PATCH));
    }

    #[test]
    fn no_argument_leaves_its_path() {
        let get = operation(Method::GET, "/api/links/{id}", &[], false);
        for id in ["..", ".", "", "..."] {
            let error = request(&get, arguments(json!({"id": id}))).unwrap_err();
            assert_eq!(error.code, Code::InvalidId, "{id}");
        }
        let climbing = request(&get, arguments(json!({"id": "../agents"}))).unwrap();
        assert_eq!(climbing.uri().path(), "/api/links/..%2Fagents");
        assert_eq!(request(&get, Map::new()).unwrap_err().code, Code::MissingField);
    }

    #[test]
    fn an_unknown_argument_is_named_with_the_one_that_was_meant() {
        let list = operation(Method::GET, "/api/links/{id}", &["per_page"], false);
        let error = request(&list, arguments(json!({"id": "1", "perpage": 5}))).unwrap_err();
        assert_eq!(error.code, Code::InvalidValue);
        assert_eq!(error.fix, "Did you mean `per_page`?");
    }
}
