//! Replies that tests get are what the description says: a listed status, a listed error code, a
//! body that its schema allows and that has no member the schema does not know.

use super::client::Reply;
use control_plane::web::openapi;
use jsonschema::Validator;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

/// The description as tests check it.
pub(crate) fn description() -> &'static Value {
    static DESCRIPTION: OnceLock<Value> = OnceLock::new();
    DESCRIPTION.get_or_init(|| openapi::described("https://affiliateos.example"))
}

/// The operation that answers a path: its template and itself.
pub(crate) fn operation(method: &Method, path: &str) -> Option<(&'static str, &'static Value)> {
    let paths = description()["paths"].as_object().expect("the description has paths");
    let fits = |template: &str| {
        template.split('/').count() == path.split('/').count()
            && template
                .split('/')
                .zip(path.split('/'))
                .all(|(left, right)| left.starts_with('{') || left == right)
    };
    // A path spelt out stands before one with a parameter.
    let mut fitting: Vec<_> = paths.iter().filter(|(template, _)| fits(template)).collect();
    fitting.sort_by_key(|(template, _)| template.matches('{').count());
    let (template, item) = fitting.first()?;
    Some((template, item.get(method.as_str().to_lowercase())?))
}

/// Calls whose every reply in every test is checked. The others are checked where the tour calls them.
pub(crate) fn is_enforced(path: &str) -> bool {
    [
        "/api/agents",
        "/api/programs",
        "/api/network",
        "/api/partnerships",
        "/api/links",
        "/api/domains",
        "/api/conversions",
    ]
    .iter()
    .any(|start| path.starts_with(start))
}

/// Checks a reply; routes that are not described (`/docs`) and methods that no route has are not looked at.
#[track_caller]
pub(crate) fn check(method: &Method, path: &str, reply: &Reply) {
    let Some((template, operation)) = operation(method, path) else { return };
    let call = format!("{method} {template}");
    let status = reply.status.to_string();
    let listed = &operation["responses"][&status];
    assert!(
        listed.is_object(),
        "{call} answered {reply}: add `(status = {status}, description = …)` to its #[utoipa::path]"
    );
    if reply.status >= 400 {
        let code = reply.body["error"].as_str().or(reply.body["error"]["code"].as_str());
        let code = code.unwrap_or_else(|| panic!("{call} answered an error without a code: {reply}"));
        assert!(
            listed["x-error-codes"].as_array().is_some_and(|codes| codes.contains(&json!(code))),
            "{call} answered {reply}: name `{code}` in the description of its {status} in #[utoipa::path]"
        );
    }
    let schema = &listed["content"]["application/json"]["schema"];
    if schema.is_null() {
        assert!(reply.text.is_empty() || method == Method::HEAD, "{call} describes no body: {reply}");
        return;
    }
    let validator = validator(&format!("{call} {status}"), schema);
    let broken: Vec<_> = validator
        .iter_errors(&reply.body)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(
        broken.is_empty(),
        "{call} answered {reply}, which its schema does not allow:\n{}",
        broken.join("\n")
    );
}

/// The check of a schema of the description, made once per process.
fn validator(name: &str, schema: &Value) -> Arc<Validator> {
    static MADE: OnceLock<Mutex<HashMap<String, Arc<Validator>>>> = OnceLock::new();
    let mut made = MADE.get_or_init(Mutex::default).lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    made.entry(name.to_owned())
        .or_insert_with(|| {
            let mut root = json!({"allOf": [schema], "components": description()["components"]});
            close(&mut root["components"]["schemas"]);
            root["unevaluatedProperties"] = json!(name.contains("/v1/") || is_error(schema));
            Arc::new(
                jsonschema::draft202012::options()
                    .should_validate_formats(true)
                    .build(&root)
                    .expect("a schema"),
            )
        })
        .clone()
}

/// Errors may say more than their four members.
fn is_error(schema: &Value) -> bool {
    schema["$ref"].as_str().is_some_and(|name| name.ends_with("ErrorBody"))
}

/// Lets the objects that stand in lists and members have no members but those described.
fn close(schemas: &mut Value) {
    match schemas {
        Value::Object(members) => {
            for (name, value) in members.iter_mut() {
                close(value);
                let of_object = name != "schemas" && name != "oneOf" && name != "allOf" && name != "anyOf";
                if of_object && value.get("$ref").is_some() {
                    *value = json!({"allOf": [value.clone()], "unevaluatedProperties": false});
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(close),
        _ => {}
    }
}
