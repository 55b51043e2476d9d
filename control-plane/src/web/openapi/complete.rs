//! What any call can answer besides what it lists itself, so that no route repeats it: common errors with
//! their codes, headers, `Idempotency-Key`, the key it needs.
//!
//! A route names the codes of a status in the reply's description (`"not_owner: another agent"`); they
//! become `x-error-codes` here, for programs to read.

use crate::error::Code;
use serde_json::{Map, Value, json};
use shared::ClickClass;

/// The methods an operation can stand under.
pub(super) const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Completes every operation.
pub(super) fn add_what_every_call_has(document: &mut Value, origin: &str) {
    document["servers"] = json!([{"url": origin, "description": "This service"}]);
    document["info"]["contact"] = json!({"name": "AffiliateOS", "url": format!("{origin}/docs")});
    add_components(document);
    add_what_text_is(document);
    for (path, method, operation) in operations(document) {
        add_what_filters_are(operation);
        if operation.get("security").is_none() {
            operation["security"] = json!([{"agent_key": []}]);
        }
        if method == "post" {
            let parameters = operation.as_object_mut().map(|members| members.entry("parameters"));
            let parameters = parameters.map(|entry| entry.or_insert_with(|| json!([])));
            if let Some(list) = parameters.and_then(Value::as_array_mut) {
                list.push(json!({"$ref": "#/components/parameters/IdempotencyKey"}));
            }
        }
        add_common_errors(&path, &method, operation);
        for (status, reply) in replies(operation) {
            add_codes(status, reply);
            add_headers(&path, &method, status, reply);
        }
    }
    // What an agent sees of itself has all that others see, so `oneOf` would never hold of it.
    for (_, schema) in document["components"]["schemas"].as_object_mut().into_iter().flatten() {
        if let Some(ways) = schema.as_object_mut().and_then(|members| members.remove("oneOf")) {
            schema["anyOf"] = ways;
        }
    }
    for (.., operation) in operations(document) {
        // A body that may be left out is not one that may be `null`.
        if let Some(schema) = operation.pointer_mut("/requestBody/content/application~1json/schema")
            && let Some(body) =
                schema["oneOf"].as_array().and_then(|ways| ways.iter().find(|way| way.get("$ref").is_some()))
        {
            *schema = body.clone();
        }
        // `{}` means the same; generators of clients understand the empty list.
        if operation["security"] == json!([{}]) {
            operation["security"] = json!([]);
        }
    }
    drop_unused(document);
}

/// Drops the schemas nothing refers to: those that stand for a list's rows, which are written out in it.
fn drop_unused(document: &mut Value) {
    loop {
        let text = document.to_string();
        let Some(schemas) = document["components"]["schemas"].as_object_mut() else { return };
        let before = schemas.len();
        schemas.retain(|name, _| text.contains(&format!("\"#/components/schemas/{name}\"")));
        if schemas.len() == before {
            return;
        }
    }
}

/// Every operation with its path and method.
pub(super) fn operations(document: &mut Value) -> impl Iterator<Item = (String, String, &mut Value)> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths.flat_map(|(path, item)| {
        let methods = item.as_object_mut().into_iter().flatten();
        methods
            .filter(|(method, _)| METHODS.contains(&method.as_str()))
            .map(|(method, operation)| (path.clone(), method.clone(), operation))
    })
}

/// Every reply of an operation with its status.
pub(super) fn replies(operation: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    operation.get_mut("responses").and_then(Value::as_object_mut).into_iter().flatten()
}

fn add_components(document: &mut Value) {
    let components = &mut document["components"];
    components["parameters"]["IdempotencyKey"] = json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "Any text of your own, such as a UUID: for 24 hours the same key with the same request \
            gets the first answer again and does nothing twice. With another request it is 409 `idempotency_key_reused`.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        "example": "6f1c4a5e-order-456",
    });
    let texts = [
        ("RequestId", "Names this request in our logs; the caller's own X-Request-Id when it sent one."),
        ("IdempotentReplayed", "`true` when this answer was given before, to the same Idempotency-Key."),
    ];
    for (name, description) in texts {
        components["headers"][name] = json!({"description": description, "schema": {"type": "string"}});
    }
    let numbers = [
        ("RetryAfter", "Seconds until trying again makes sense."),
        ("RateLimitLimit", "Requests of a window."),
        ("RateLimitRemaining", "Requests left in this window."),
        ("RateLimitReset", "When the window ends, in seconds of Unix time."),
    ];
    for (name, description) in numbers {
        components["headers"][name] = json!({"description": description, "schema": {"type": "integer"}});
    }
}

/// What [`crate::text::line`] takes: something visible, and nothing that misleads a reader.
const LINE: &str = "^[^BAD]*[^BAD\\s][^BAD]*$";
/// What [`crate::text::paragraph`] takes: the same with line breaks and tabs, or nothing.
const PARAGRAPH: &str = "^([^BAD]|[\\n\\r\\t])*$";
/// Control characters, invisible ones, and those that turn the direction of writing.
const BAD: &str = r"\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb";

/// Says of every text that clients write what it may contain, unless the text has a form of its own.
fn add_what_text_is(document: &mut Value) {
    let mut texts: Vec<(String, &mut Value)> = Vec::new();
    let schemas = document["components"]["schemas"].as_object_mut().into_iter().flatten();
    for (_, schema) in schemas.filter(|(name, _)| name.ends_with("Request")) {
        let members = schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten();
        texts.extend(members.map(|(name, member)| (name.clone(), member)));
    }
    for (name, text) in texts {
        let items = match name.as_str() {
            "pay_classes" => json!({"type": "string", "enum": ClickClass::ALL.map(ClickClass::name)}),
            "allowed_hosts" => json!({"type": "string", "maxLength": 253}),
            _ => Value::Null,
        };
        if !items.is_null() {
            text["items"] = items;
        }
        if name == "pay_classes" {
            text["minItems"] = json!(1);
        }
        let string = text["type"] == "string" || text["type"] == json!(["string", "null"]);
        let free = ["pattern", "format", "enum", "const"].iter().all(|form| text.get(form).is_none());
        if string && free {
            let pattern = if name == "description" { PARAGRAPH } else { LINE };
            text["pattern"] = pattern.replace("BAD", BAD).into();
        }
    }
}

/// The same of filters: those with a greatest length are lines of text.
fn add_what_filters_are(operation: &mut Value) {
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        let schema = &mut parameter["schema"];
        if schema.get("maxLength").is_some() && schema.get("pattern").is_none() {
            schema["pattern"] = LINE.replace("BAD", BAD).into();
        }
    }
}

/// The errors no route lists: they come from what stands around the routes.
fn add_common_errors(path: &str, method: &str, operation: &mut Value) {
    let keeps_answers = method == "post";
    let takes_body = keeps_answers || operation.get("requestBody").is_some();
    let reads = method == "get" && path.starts_with("/api/");
    let needs_key = !operation["security"].as_array().is_some_and(|ways| ways.contains(&json!({})));
    let errors = [
        (needs_key, "401", "api_key_missing, api_key_invalid"),
        (reads, "400", "invalid_value: a query parameter is unknown, given twice or not what it should be"),
        (takes_body, "400", "invalid_value: the body, or the Idempotency-Key, is not what it should be"),
        (keeps_answers, "409", "idempotency_key_reused"),
        (takes_body, "408", "request_timeout: the body did not arrive in time"),
        (takes_body, "413", "payload_too_large: more than 64 KiB"),
        (true, "414", "uri_too_long: more than 8 KiB"),
        (takes_body, "415", "unsupported_media_type: the body is not application/json"),
        (true, "500", "internal: our fault; the X-Request-Id helps us to find it"),
        (true, "503", "unavailable: a part is away; send the same again after Retry-After seconds"),
    ];
    let schema = if path.starts_with("/v1/") { "V1ErrorBody" } else { "ErrorBody" };
    let Some(listed) = operation["responses"].as_object_mut() else { return };
    for (_, status, description) in errors.into_iter().filter(|(applies, ..)| *applies) {
        let Some(reply) = listed.get_mut(status) else {
            let content =
                json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{schema}")}}});
            listed.insert(status.to_owned(), json!({"description": description, "content": content}));
            continue;
        };
        let said = reply["description"].as_str().unwrap_or_default();
        let missing: Vec<_> =
            codes_of(description).filter(|code| !codes_of(said).any(|c| c == *code)).collect();
        if !missing.is_empty() {
            let names: Vec<_> = missing.into_iter().map(Code::as_str).collect();
            reply["description"] = format!("{said}; {}", names.join(", ")).into();
        }
    }
}

/// The codes a description names.
pub(super) fn codes_of(description: &str) -> impl Iterator<Item = Code> {
    let words = description.split(|letter: char| !letter.is_ascii_lowercase() && letter != '_');
    words.filter_map(|word| Code::ALL.iter().copied().find(|code| code.as_str() == word))
}

fn add_codes(status: &str, reply: &mut Value) {
    if status.starts_with('2') {
        return;
    }
    let class = |code: Code| crate::web::respond::status(code.class()).as_str() == status;
    let description = reply["description"].as_str().unwrap_or_default().to_owned();
    let mut codes: Vec<_> = codes_of(&description).filter(|code| class(*code)).map(Code::as_str).collect();
    codes.dedup();
    reply["x-error-codes"] = json!(codes);
}

fn add_headers(path: &str, method: &str, status: &str, reply: &mut Value) {
    let limited = path.starts_with("/v1/") || ["/api/auth/signup", "/api/quickstart"].contains(&path);
    let done = status.starts_with('2');
    let headers = [
        (true, "X-Request-Id", "RequestId"),
        (done && method == "post", "Idempotent-Replayed", "IdempotentReplayed"),
        (["429", "503"].contains(&status), "Retry-After", "RetryAfter"),
        (limited, "X-RateLimit-Limit", "RateLimitLimit"),
        (limited, "X-RateLimit-Remaining", "RateLimitRemaining"),
        (limited, "X-RateLimit-Reset", "RateLimitReset"),
    ];
    let headers = headers.into_iter().filter(|(applies, ..)| *applies);
    let headers: Map<_, _> = headers
        .map(|(_, name, component)| {
            (name.to_owned(), json!({"$ref": format!("#/components/headers/{component}")}))
        })
        .collect();
    reply["headers"] = headers.into();
}
