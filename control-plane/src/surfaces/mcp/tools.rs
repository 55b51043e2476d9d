//! Tools, one per operation, made once from the OpenAPI description.

use super::confirm::{self, Look};
use super::schema::Gatherer;
use http::Method;
use rmcp::model::{Tool, ToolAnnotations};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The argument that carries a confirmation.
pub(super) const CONFIRMATION: &str = "confirmation_token";
/// The argument that makes a repeated call harmless.
pub(super) const IDEMPOTENCY: &str = "idempotency_key";

/// How a tool's arguments become a request.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    /// The name of both.
    pub(super) id: String,
    pub(super) method: Method,
    /// As described: `/api/links/{id}`.
    pub(super) path: String,
    pub(super) path_names: Vec<String>,
    pub(super) query_names: Vec<String>,
    /// The members of the body; `None` for an operation without one.
    pub(super) body_names: Option<Vec<String>>,
    /// What to show before it is done, for what must be confirmed.
    pub(super) look: Option<Look>,
}

/// Every operation an agent key, or no key, opens.
pub(super) fn all(document: &Value) -> Vec<(Tool, Operation)> {
    let mut tools = Vec::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, described) in methods.as_object().into_iter().flatten() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes());
            if let (Ok(method), true) = (method, is_for_agents(path, described)) {
                tools.push(tool(document, path, method, described));
            }
        }
    }
    tools
}

/// Operations of `/v1` take other keys, and those of payment providers are not for agents to call.
fn is_for_agents(path: &str, described: &Value) -> bool {
    let opens = |way: &Value| *way == json!({}) || way.get("agent_key").is_some();
    path.starts_with("/api/")
        && described["operationId"].is_string()
        && described["x-not-a-tool"] != true
        && described
            .get("security")
            .and_then(Value::as_array)
            .is_none_or(|ways| ways.is_empty() || ways.iter().any(opens))
}

fn tool(document: &Value, path: &str, method: Method, described: &Value) -> (Tool, Operation) {
    let id = text(&described["operationId"]).to_owned();
    let names = |place: &str| -> Vec<String> {
        let parameters = described["parameters"].as_array().into_iter().flatten();
        parameters
            .filter(|parameter| parameter["in"] == place)
            .map(|parameter| text(&parameter["name"]).to_owned())
            .collect()
    };
    let body = &described["requestBody"]["content"]["application/json"]["schema"];
    let operation = Operation {
        look: confirm::look(&id, &method, path),
        path: path.to_owned(),
        path_names: names("path"),
        query_names: names("query"),
        body_names: body.is_object().then(|| body_names(document, body)),
        method: method.clone(),
        id: id.clone(),
    };
    let mut said = format!("{}\n\n{}", text(&described["summary"]), text(&described["description"]));
    said.truncate(said.trim_end().len());
    if operation.look.is_some() {
        said.push_str(
            "\n\nAsks before it acts: the first call changes nothing, it shows what would happen and returns a \
             confirmation_token. To go on, call again with the same arguments and that token.",
        );
    }
    let reads = method == Method::GET;
    let annotations = ToolAnnotations::with_title(text(&described["summary"]))
        .read_only(reads)
        .destructive(!reads && operation.look.is_some())
        .idempotent(reads || method == Method::PUT || method == Method::DELETE || method == Method::PATCH)
        .open_world(false);
    let tool = Tool::new(id, said, Arc::new(input(document, described, &operation)))
        .with_title(text(&described["summary"]))
        .with_raw_output_schema(Arc::new(output(document, described, &operation)))
        .with_annotations(annotations);
    (tool, operation)
}

fn body_names(document: &Value, body: &Value) -> Vec<String> {
    let members = Gatherer::new(document).resolved(body)["properties"].as_object();
    members.into_iter().flat_map(|members| members.keys().cloned()).collect()
}

/// Path, query and body as one object.
fn input(document: &Value, described: &Value, operation: &Operation) -> Map<String, Value> {
    let mut gatherer = Gatherer::new(document);
    let mut properties = Map::new();
    let mut required: Vec<Value> = Vec::new();
    let body = &described["requestBody"]["content"]["application/json"]["schema"];
    let body = gatherer.resolved(body).clone();
    for (name, schema) in body["properties"].as_object().into_iter().flatten() {
        properties.insert(name.clone(), gatherer.local(schema));
    }
    required.extend(body["required"].as_array().into_iter().flatten().cloned());
    for parameter in described["parameters"].as_array().into_iter().flatten() {
        if !["path", "query"].contains(&text(&parameter["in"])) {
            continue;
        }
        let mut schema = gatherer.local(&parameter["schema"]);
        if let (Some(members), Some(said)) = (schema.as_object_mut(), parameter["description"].as_str()) {
            members.insert("description".to_owned(), json!(said));
        }
        properties.insert(text(&parameter["name"]).to_owned(), schema);
        if parameter["required"] == true {
            required.push(parameter["name"].clone());
        }
    }
    let extra = match (&operation.look, &operation.method) {
        (Some(_), _) => {
            Some((CONFIRMATION, "What the first call returned. Leave it out to see what would happen."))
        }
        (None, &Method::POST) => Some((
            IDEMPOTENCY,
            "Any text of 1 to 255 characters. The same text with the same arguments acts once.",
        )),
        _ => None,
    };
    if let Some((name, said)) = extra {
        properties.insert(name.to_owned(), json!({"type": "string", "description": said}));
    }
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    if !required.is_empty() {
        schema.insert("required".to_owned(), Value::Array(required));
    }
    schema.insert("additionalProperties".to_owned(), json!(false));
    gatherer.finish(schema)
}

/// What a success looks like; a confirmable operation may answer with what it would do.
fn output(document: &Value, described: &Value, operation: &Operation) -> Map<String, Value> {
    let mut gatherer = Gatherer::new(document);
    let mut answers: Vec<Value> = Vec::new();
    for (status, reply) in described["responses"].as_object().into_iter().flatten() {
        let schema = &reply["content"]["application/json"]["schema"];
        if status.starts_with('2') && schema.is_object() {
            let schema = gatherer.local(schema);
            if !answers.contains(&schema) {
                answers.push(schema);
            }
        }
    }
    if operation.look.is_some() {
        answers.push(confirm::schema());
    }
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    if !answers.is_empty() {
        schema.insert("anyOf".to_owned(), Value::Array(answers));
    }
    gatherer.finish(schema)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
