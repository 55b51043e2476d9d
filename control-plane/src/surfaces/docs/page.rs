//! The documentation page: the OpenAPI description as HTML, every text escaped.

use super::guides::{GUIDES, Guide};
use crate::error::Code;
use serde_json::Value;

/// Renders the description.
pub(super) fn render(document: &Value, origin: &str) -> String {
    let mut html = String::from(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>AffiliateOS API</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"stylesheet\" href=\"/docs/style.css\"></head><body><main><h1>AffiliateOS API</h1>",
    );
    let intro = text(&document["info"]["description"]);
    html.push_str(&format!(
        "<p>{}</p><p>Base URL: <code>{}</code>. Start with <code>POST /api/quickstart</code>. For machines: \
         <a href=\"/openapi.json\">openapi.json</a>, <a href=\"/llms.txt\">llms.txt</a>.</p><p>Guides: {}.</p><h2>Calls</h2>",
        escape(intro),
        escape(origin),
        guides()
    ));
    let paths = document["paths"].as_object().into_iter().flatten();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            if operation.get("operationId").is_some() {
                html.push_str(&call(path, method, operation));
            }
        }
    }
    html.push_str("<h2>Error codes</h2><table><tr><th>code</th><th>meaning</th></tr>");
    for code in Code::ALL {
        html.push_str(&format!(
            "<tr><td><code>{}</code></td><td>{}</td></tr>",
            code.as_str(),
            escape(code.meaning())
        ));
    }
    html.push_str("</table></main></body></html>\n");
    html
}

fn guides() -> String {
    let link = |guide: &Guide| format!("<a href=\"{}\">{}</a>", guide.path, escape(guide.title));
    GUIDES.iter().map(link).collect::<Vec<_>>().join(", ")
}

fn call(path: &str, method: &str, operation: &Value) -> String {
    let id = escape(text(&operation["operationId"]));
    let public = operation["security"]
        .as_array()
        .is_some_and(|ways| ways.iter().any(|way| *way == serde_json::json!({})));
    let mut html = format!(
        "<section id=\"{id}\"><h3><code>{} {}</code>{}</h3><p><b>{}</b> {}</p>",
        method.to_uppercase(),
        escape(path),
        if public { " <small>public</small>" } else { "" },
        escape(text(&operation["summary"])),
        escape(text(&operation["description"])),
    );
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let rows: Vec<String> = parameters
        .map(|parameter| {
            format!(
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
                escape(text(&parameter["name"])),
                escape(text(&parameter["in"])),
                escape(text(&parameter["description"])),
            )
        })
        .collect();
    if !rows.is_empty() {
        html.push_str(&format!(
            "<table><tr><th>parameter</th><th>in</th><th></th></tr>{}</table>",
            rows.concat()
        ));
    }
    let replies = operation["responses"].as_object().into_iter().flatten();
    let rows: Vec<String> = replies
        .map(|(status, reply)| {
            format!("<tr><td>{}</td><td>{}</td></tr>", escape(status), escape(text(&reply["description"])))
        })
        .collect();
    html.push_str(&format!("<table><tr><th>status</th><th></th></tr>{}</table></section>", rows.concat()));
    html
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
