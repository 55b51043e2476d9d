//! The documentation page: the OpenAPI description as HTML, every text escaped. Readable without scripts;
//! `docs.js` adds the forms that send a call.

use super::guides::GUIDES;
use super::schema;
use crate::error::Code;
use serde_json::{Map, Value};

/// Renders the description.
pub(super) fn render(document: &Value, origin: &str) -> String {
    let tags = document["tags"].as_array().map_or(&[][..], Vec::as_slice);
    let groups: Vec<_> = tags.iter().map(|tag| (tag, calls_of(document, text(&tag["name"])))).collect();
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>AffiliateOS API</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <link rel=\"stylesheet\" href=\"/docs/style.css\"><script src=\"/docs/docs.js\" defer></script></head>\
         <body class=\"reference\"><a class=\"skip\" href=\"#content\">Skip to content</a>\
         <header><a class=\"brand\" href=\"/docs\">AffiliateOS</a>\
         <form id=\"key\" class=\"key\" hidden><label for=\"bearer\">Key</label>\
         <input id=\"bearer\" type=\"password\" autocomplete=\"off\" spellcheck=\"false\" placeholder=\"aos_live_…\">\
         </form></header>{}<main id=\"content\" tabindex=\"-1\">",
        contents(&groups)
    );
    html.push_str(&introduction(document, origin));
    for (tag, calls) in &groups {
        html.push_str(&format!(
            "<section class=\"group\" id=\"{0}\"><h2>{0}</h2><p>{1}</p>",
            escape(text(&tag["name"])),
            prose(text(&tag["description"]))
        ));
        for call in calls {
            html.push_str(&call.render(document, origin));
        }
        html.push_str("</section>");
    }
    html.push_str(&errors());
    html.push_str("</main></body></html>\n");
    html
}

fn contents(groups: &[(&Value, Vec<Call<'_>>)]) -> String {
    let mut html = String::from(
        "<details class=\"contents\" open><summary>Contents</summary><nav aria-label=\"Calls\">\
         <a href=\"#start\">Start</a>",
    );
    for (tag, calls) in groups {
        let name = escape(text(&tag["name"]));
        html.push_str(&format!("<a class=\"tag\" href=\"#{name}\">{name}</a><ul>"));
        for call in calls {
            html.push_str(&format!(
                "<li><a href=\"#{}\"><span class=\"method {}\">{}</span>{}</a></li>",
                escape(call.id()),
                call.method,
                short(call.method),
                escape(text(&call.operation["summary"]))
            ));
        }
        html.push_str("</ul>");
    }
    html.push_str("<a href=\"#errors\">Error codes</a></nav></details>");
    html
}

fn introduction(document: &Value, origin: &str) -> String {
    let mut html = String::from("<section id=\"start\"><h1>AffiliateOS API</h1>");
    // Its table of codes stands at the end of the page.
    let paragraphs = text(&document["info"]["description"]).split("\n\n");
    for paragraph in paragraphs.filter(|paragraph| !paragraph.starts_with('|')) {
        html.push_str(&format!("<p>{}</p>", prose(paragraph)));
    }
    html.push_str(&format!(
        "<p>Base URL: <code>{0}</code>. For machines: <a href=\"/openapi.json\">openapi.json</a> (OpenAPI 3.1), \
         <a href=\"/llms.txt\">llms.txt</a> (one page for agents). Guides: {1}.</p>\
         <pre tabindex=\"0\"><code>curl -X POST {0}/api/quickstart -H 'Content-Type: application/json' -d '{{\"name\":\"MyAgent\"}}'</code></pre>\
         <p class=\"hint\" id=\"how\" hidden>Every call below can be sent from here: put your key into the field at the top, \
         open <b>Try it</b>, fill in what is asked for. The key stays in this page and is forgotten with it.</p></section>",
        escape(origin),
        guides()
    ));
    html
}

fn guides() -> String {
    let links = GUIDES.iter().map(|guide| format!("<a href=\"{}\">{}</a>", guide.path, escape(guide.title)));
    links.collect::<Vec<_>>().join(", ")
}

fn errors() -> String {
    let mut html = String::from(
        "<section id=\"errors\"><h2>Error codes</h2><p>Match on <code>error</code>; do what <code>fix</code> says.</p>\
         <div class=\"wide\"><table><thead><tr><th>Code</th><th>Status</th><th>Meaning</th></tr></thead><tbody>",
    );
    for code in Code::ALL {
        html.push_str(&format!(
            "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
            code.as_str(),
            crate::web::respond::status(code.class()).as_str(),
            escape(code.meaning())
        ));
    }
    html.push_str("</tbody></table></div></section>");
    html
}

/// One operation.
struct Call<'a> {
    method: &'a str,
    path: &'a str,
    operation: &'a Value,
}

/// What any call can answer when the request or we are out of order: one line says so, with the codes below.
const ALWAYS: [Code; 6] = [
    Code::RequestTimeout,
    Code::PayloadTooLarge,
    Code::UriTooLong,
    Code::UnsupportedMediaType,
    Code::Internal,
    Code::Unavailable,
];

/// The operations of a tag: those that give a key first, then in the order of their paths.
fn calls_of<'a>(document: &'a Value, tag: &str) -> Vec<Call<'a>> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let calls = paths.flat_map(|(path, item)| {
        let methods = item.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| Call { method, path, operation })
    });
    let mut calls: Vec<_> = calls.filter(|call| call.operation["tags"][0] == tag).collect();
    calls.sort_by_key(|call| match call.id() {
        "quickstart" => 0,
        "sign_up" => 1,
        _ => 2,
    });
    calls
}

impl<'a> Call<'a> {
    fn id(&self) -> &'a str {
        text(&self.operation["operationId"])
    }

    /// The key it is called with, by the name of its scheme; `None` for a public call.
    fn key(&self) -> Option<&'a str> {
        let ways = self.operation["security"].as_array()?;
        let named = |way: &'a Value| way.as_object()?.keys().next().map(String::as_str);
        if ways.iter().any(|way| *way == Value::Object(Map::new())) { None } else { named(ways.first()?) }
    }

    fn render(&self, document: &Value, origin: &str) -> String {
        let id = escape(self.id());
        let key = self.key();
        let mut html = format!(
            "<article id=\"{id}\"><h3><a href=\"#{id}\">{}</a></h3>\
             <p class=\"route\"><span class=\"method {}\">{}</span> <code>{}</code> <span class=\"auth\">{}</span></p>",
            escape(text(&self.operation["summary"])),
            self.method,
            self.method.to_uppercase(),
            escape(self.path).replace('/', "/<wbr>"),
            key.map_or("public".to_owned(), |key| key.replace('_', " ")),
        );
        for paragraph in text(&self.operation["description"]).split("\n\n").filter(|text| !text.is_empty()) {
            html.push_str(&format!("<p>{}</p>", prose(paragraph)));
        }
        html.push_str(&self.parameters(document));
        html.push_str(&self.body(document));
        html.push_str(&self.replies(document));
        html.push_str(&self.curl(origin));
        html.push_str(&self.form(document));
        html.push_str("</article>");
        html
    }

    /// The parameters, those of the components looked up.
    fn all_parameters<'d>(&self, document: &'d Value) -> Vec<&'d Value>
    where
        'a: 'd,
    {
        let listed = self.operation["parameters"].as_array().into_iter().flatten();
        listed.map(|parameter| schema::resolve(document, parameter)).collect()
    }

    fn parameters(&self, document: &Value) -> String {
        let rows: Vec<_> = self
            .all_parameters(document)
            .into_iter()
            .map(|parameter| {
                schema::row(
                    text(&parameter["name"]),
                    &format!("{} · {}", text(&parameter["in"]), schema::kind(document, &parameter["schema"])),
                    parameter["required"] == true,
                    text(&parameter["description"]),
                )
            })
            .collect();
        table("Parameters", &rows)
    }

    fn body(&self, document: &Value) -> String {
        let content = &self.operation["requestBody"]["content"]["application/json"];
        table("Body", &schema::rows(document, &content["schema"]))
    }

    fn replies(&self, document: &Value) -> String {
        let mut html = String::from("<h4>Replies</h4>");
        let mut always = Vec::new();
        for (status, reply) in self.operation["responses"].as_object().into_iter().flatten() {
            let codes = reply["x-error-codes"].as_array().map_or(&[][..], Vec::as_slice);
            if !codes.is_empty()
                && codes.iter().all(|code| ALWAYS.iter().any(|known| *code == known.as_str()))
            {
                always.push(escape(status));
                continue;
            }
            let good = status.starts_with('2');
            let content = &reply["content"]["application/json"];
            let class = if good { "good" } else { "bad" };
            html.push_str(&format!(
                "<details class=\"reply\"><summary><span class=\"status {class}\">{}</span> {}</summary>",
                escape(status),
                prose(text(&reply["description"]))
            ));
            if good {
                html.push_str(&table("Members", &schema::rows(document, &content["schema"])));
            }
            for (_, example) in
                content["examples"].as_object().into_iter().flatten().take(if good { 1 } else { 3 })
            {
                html.push_str(&json_block(&example["value"]));
            }
            html.push_str("</details>");
        }
        html.push_str(&format!(
            "<p class=\"hint\">And what any call like it can answer: {}; see <a href=\"#errors\">Error codes</a>.</p>",
            always.join(", ")
        ));
        html
    }

    /// The body that stands in examples.
    fn example(&self) -> Option<&'a Value> {
        let content = &self.operation["requestBody"]["content"]["application/json"];
        content["examples"].as_object().and_then(|all| all.values().next()).map(|example| &example["value"])
    }

    fn curl(&self, origin: &str) -> String {
        let get = self.method == "get";
        let mut line =
            if get { "curl ".to_owned() } else { format!("curl -X {} ", self.method.to_uppercase()) };
        line.push_str(&format!("{origin}{}", self.path));
        if let Some(scheme) = self.key() {
            let key = match scheme {
                "publisher_key" => "aff_agent_your_key",
                "merchant_key" => "merch_key_your_key",
                _ => "aos_your_key",
            };
            line.push_str(&format!(" \\\n  -H 'Authorization: Bearer {key}'"));
        }
        if let Some(body) = self.example() {
            line.push_str(&format!(" \\\n  -H 'Content-Type: application/json' \\\n  -d '{body}'"));
        }
        format!("<pre tabindex=\"0\"><code>{}</code></pre>", escape(&line))
    }

    /// What `docs.js` turns into a form.
    fn form(&self, document: &Value) -> String {
        let id = escape(self.id());
        let mut html = format!(
            "<details class=\"try\" hidden data-method=\"{}\" data-path=\"{}\"><summary>Try it</summary><form>",
            self.method.to_uppercase(),
            escape(self.path)
        );
        for parameter in self.all_parameters(document) {
            let name = escape(text(&parameter["name"]));
            html.push_str(&format!(
                "<label for=\"{id}-{name}\">{name}{}</label>\
                 <input id=\"{id}-{name}\" name=\"{name}\" data-in=\"{}\" autocomplete=\"off\" spellcheck=\"false\"{}>",
                if parameter["required"] == true { " <b>needed</b>" } else { "" },
                escape(text(&parameter["in"])),
                if parameter["required"] == true { " required" } else { "" },
            ));
        }
        if let Some(body) = self.example() {
            let body = serde_json::to_string_pretty(body).unwrap_or_default();
            html.push_str(&format!(
                "<label for=\"{id}-body\">Body</label><textarea id=\"{id}-body\" name=\"body\" rows=\"{}\" spellcheck=\"false\">{}</textarea>",
                body.lines().count().clamp(3, 12),
                escape(&body)
            ));
        }
        html.push_str(
            "<button type=\"submit\">Send</button></form><output aria-live=\"polite\"></output></details>",
        );
        html
    }
}

fn table(title: &str, rows: &[String]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "<h4>{title}</h4><div class=\"wide\"><table class=\"members\"><tbody>{}</tbody></table></div>",
        rows.concat()
    )
}

fn json_block(value: &Value) -> String {
    let pretty = serde_json::to_string_pretty(value).unwrap_or_default();
    format!("<pre tabindex=\"0\"><code>{}</code></pre>", escape(&pretty))
}

fn short(method: &str) -> &str {
    match method {
        "delete" => "del",
        other => other,
    }
}

/// A text of the description: escaped, `code` between backticks.
pub(super) fn prose(text: &str) -> String {
    let mut parts = text.split('`');
    let mut html = escape(parts.next().unwrap_or_default());
    while let Some(code) = parts.next() {
        html.push_str(&format!("<code>{}</code>", escape(code)));
        html.push_str(&escape(parts.next().unwrap_or_default()));
    }
    html
}

/// The text of a string; empty for anything else.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A text as HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
