//! Schemas of the description as rows of a table.

use super::page::{escape, prose, text};
use serde_json::Value;

/// What a `$ref` refers to; the value itself without one.
pub(super) fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let name = text(&value["$ref"]);
    match name.strip_prefix('#') {
        Some(pointer) => document.pointer(pointer).unwrap_or(value),
        None => value,
    }
}

/// A row: the name, what it can be, what it means.
pub(super) fn row(name: &str, kind: &str, required: bool, description: &str) -> String {
    format!(
        "<tr><th scope=\"row\"><code>{}</code>{}</th><td><span class=\"kind\">{}</span> {}</td></tr>",
        escape(name),
        if required { " <b>needed</b>" } else { "" },
        escape(kind),
        prose(description)
    )
}

/// A row for each member of an object, those of its parts included.
pub(super) fn rows(document: &Value, schema: &Value) -> Vec<String> {
    let schema = resolve(document, schema);
    let ways = ["allOf", "anyOf", "oneOf"].iter().filter_map(|word| schema[*word].as_array()).flatten();
    let mut rows: Vec<_> = ways.flat_map(|part| rows_of_part(document, part)).collect();
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let needed = required.iter().any(|one| one == name);
        let description = match text(&member["description"]) {
            "" => text(&resolve(document, member)["description"]),
            said => said,
        };
        rows.push(row(name, &kind(document, member), needed, description));
    }
    rows.dedup();
    rows
}

fn rows_of_part(document: &Value, part: &Value) -> Vec<String> {
    if part["type"] == "null" { Vec::new() } else { rows(document, part) }
}

/// What a value can be, in a few words.
pub(super) fn kind(document: &Value, schema: &Value) -> String {
    let target = resolve(document, schema);
    if let Some(values) = target["enum"].as_array() {
        let values: Vec<_> =
            values.iter().map(|value| value.as_str().map_or(value.to_string(), str::to_owned)).collect();
        return values.join(" | ");
    }
    let ways = ["oneOf", "anyOf"].iter().filter_map(|word| target[*word].as_array()).flatten();
    let mut kinds: Vec<_> = ways.map(|way| kind(document, way)).collect();
    kinds.dedup();
    if !kinds.is_empty() {
        return kinds.join(" or ");
    }
    let name = match &target["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        Value::String(name) => name.clone(),
        _ => "object".to_owned(),
    };
    match (name.as_str(), text(&target["format"])) {
        ("array", _) => format!("list of {}", kind(document, &target["items"])),
        (_, format @ ("uuid" | "date-time" | "date")) => name.replace("string", format),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds() {
        let document = json!({"components": {"schemas": {"Status": {"type": "string", "enum": ["a", "b"]}}}});
        let status = json!({"$ref": "#/components/schemas/Status"});
        let check = |schema: Value, words: &str| assert_eq!(kind(&document, &schema), words);
        check(status.clone(), "a | b");
        check(json!({"oneOf": [status.clone(), {"type": "null"}]}), "a | b or null");
        check(json!({"type": ["string", "null"], "format": "uuid"}), "uuid or null");
        check(json!({"type": "array", "items": status}), "list of a | b");
        check(json!({"type": "number", "format": "double"}), "number");
    }
}
