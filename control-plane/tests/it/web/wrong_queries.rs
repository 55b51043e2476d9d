//! Every list with everything that can be wrong in a query, found in the description: each is a 400 that names the
//! parameter and what it may be.

use crate::harness::{Client, TestApp};
use serde_json::{Value, json};

/// A read with who may read it and where it is.
struct Read<'a> {
    who: &'a Client,
    template: &'static str,
    path: String,
}

/// A wrong query, the parameter it is wrong in, and what the cure must say.
struct Wrong {
    query: String,
    field: String,
    says: Vec<String>,
}

fn wrong(query: impl Into<String>, field: &str, says: &[&str]) -> Wrong {
    Wrong {
        query: query.into(),
        field: field.to_owned(),
        says: says.iter().map(|&word| word.to_owned()).collect(),
    }
}

/// The name with its middle letter missing.
fn misspelt(name: &str) -> String {
    let middle = name.len() / 2;
    format!("{}{}", name.get(..middle).unwrap(), name.get(middle + 1..).unwrap())
}

/// What a schema refuses, by what it says of itself.
fn wrong_values(name: &str, schema: &Value) -> Vec<Wrong> {
    let value = |value: &str, says: &[&str]| wrong(format!("{name}={value}"), name, says);
    if let Some(allowed) = schema["enum"].as_array().filter(|allowed| allowed.iter().all(Value::is_string)) {
        let all: Vec<String> = allowed.iter().map(|one| format!("`{}`", one.as_str().unwrap())).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let one = allowed[0].as_str().unwrap();
        let meant = format!("Did you mean `{one}`?");
        return vec![
            value("zzz", &all),
            value("", &all),
            value(&one.to_uppercase(), &[&meant]),
            value(&misspelt(one), &[&meant]),
        ];
    }
    let minimum = schema["minimum"].as_f64();
    let of_type = |name: &str| {
        schema["type"] == name || schema["type"].as_array().is_some_and(|all| all.contains(&json!(name)))
    };
    if of_type("integer") {
        let mut all: Vec<Wrong> = ["abc", "", "1.5", "1e3", "99999999999999999999", "-1"]
            .iter()
            .map(|bad| value(bad, &[&format!("`{name}`")]))
            .collect();
        if minimum == Some(1.0) {
            all.push(value("0", &["from 1 to "]));
        }
        if let Some(maximum) = schema["maximum"].as_f64() {
            all.push(value(&format!("{}", maximum + 1.0), &["from 1 to "]));
        }
        return all;
    }
    if schema["format"] == "uuid" {
        return ["abc", "", "018f2f6e"].iter().map(|bad| value(bad, &["a UUID such as 018f2f6e-"])).collect();
    }
    if schema["anyOf"].is_array() {
        return ["yesterday", "", "2026-02-30", "1780000000"]
            .iter()
            .map(|bad| value(bad, &["a day such as 2026-04-01"]))
            .collect();
    }
    if schema["maxLength"].is_u64() {
        let long = "x".repeat(schema["maxLength"].as_u64().unwrap() as usize + 1);
        return vec![value(&long, &[&format!("`{name}`")])];
    }
    if schema["pattern"].is_string() {
        let says = if name == "cursor" { "`pagination.next_cursor`".to_owned() } else { format!("`{name}`") };
        return vec![value("-", &[&says])];
    }
    Vec::new()
}

/// A value that may stand for itself.
fn right_value(schema: &Value) -> String {
    if let Some(first) = schema["enum"].get(0) {
        return first.as_str().map_or_else(|| first.to_string(), str::to_owned);
    }
    if schema["format"] == "uuid" {
        return "018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10".to_owned();
    }
    "1".to_owned()
}

fn all_wrong(operation: &Value, foreign_cursor: &str) -> Vec<Wrong> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let parameters: Vec<(&str, &Value)> = parameters
        .filter(|one| one["in"] == "query")
        .map(|one| (one["name"].as_str().unwrap(), &one["schema"]))
        .collect();
    let names: Vec<String> = parameters.iter().map(|(name, _)| format!("`{name}`")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut all = vec![wrong(
        "zzz=1",
        "zzz",
        if names.is_empty() { &["`zzz`", "no query parameters"] } else { &names },
    )];
    for (name, schema) in &parameters {
        if name.len() > 3 {
            all.push(wrong(
                format!("{}=x", misspelt(name)),
                &misspelt(name),
                &[&format!("Did you mean `{name}`?")],
            ));
        }
        let right = right_value(schema);
        all.push(wrong(format!("{name}={right}&{name}={right}"), name, &["once"]));
        all.extend(wrong_values(name, schema));
    }
    let has = |name: &str| parameters.iter().any(|(one, _)| *one == name);
    if has("from") {
        all.push(wrong("from=2026-04-02&to=2026-04-01", "to", &["`from`", "`to`"]));
        all.push(wrong("from=2026-04-02T00:00:00Z&to=2026-04-02T00:00:00Z", "to", &["`from`", "`to`"]));
    }
    if has("cursor") {
        all.push(wrong(format!("cursor={foreign_cursor}"), "cursor", &["`pagination.next_cursor`"]));
        all.push(wrong(format!("cursor={foreign_cursor}&page=1"), "cursor", &["without `page`"]));
    }
    if has("page") {
        all.push(wrong("page=101&per_page=100", "page", &["from 1 to 100", "cursor"]));
    }
    all
}

#[tokio::test]
async fn every_wrong_query_is_answered_with_what_is_allowed() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let (anyone, affiliate, advertiser) = (app.anyone(), &offer.affiliate, &offer.advertiser);
    advertiser.post("/api/subscription/pro", json!({})).await;
    let hook = advertiser.post("/api/webhooks", json!({"url": "http://127.0.0.1:9/"})).await;
    let hook = hook.expect(201)["id"].as_str().unwrap().to_owned();
    let key =
        affiliate.post(&format!("/api/agents/{}/keys", affiliate.id()), json!({"kind": "publisher"})).await;
    let publisher = app.with_key(key.expect(201)["key"].as_str().unwrap());
    // Well-formed, and of no list there is.
    let foreign = "_".repeat(44);
    let read = |who, template, id: &str| Read {
        who,
        template,
        path: template.replace("{id}", id).replace("{agent_id}", id),
    };
    let reads = [
        read(&anyone, "/api/agents", ""),
        read(&anyone, "/api/agents/{id}", affiliate.id()),
        read(affiliate, "/api/agents/me", ""),
        read(affiliate, "/api/agents/me/stats", ""),
        read(affiliate, "/api/agents/me/weekly-digest", ""),
        read(affiliate, "/api/agents/{id}/conversions", affiliate.id()),
        read(affiliate, "/api/agents/{id}/earnings", affiliate.id()),
        read(affiliate, "/api/agents/{id}/keys", affiliate.id()),
        read(affiliate, "/api/agents/{id}/match-suggestions", affiliate.id()),
        read(affiliate, "/api/agents/{id}/partnerships", affiliate.id()),
        read(advertiser, "/api/conversions", ""),
        read(advertiser, "/api/events", ""),
        read(affiliate, "/api/links/{id}", &offer.link),
        read(affiliate, "/api/match-suggestions", ""),
        read(&anyone, "/api/network/discover", ""),
        read(affiliate, "/api/network/discover", ""),
        read(&anyone, "/api/network/niches", ""),
        read(affiliate, "/api/network/recommendations/{agent_id}", affiliate.id()),
        read(&anyone, "/api/network/stats", ""),
        read(affiliate, "/api/partnerships/{id}", &offer.partnership),
        read(affiliate, "/api/partnerships/{id}/links", &offer.partnership),
        read(advertiser, "/api/payouts", ""),
        read(&anyone, "/api/programs", ""),
        read(&anyone, "/api/programs/{id}", &offer.program),
        read(advertiser, "/api/programs/{id}/affiliates", &offer.program),
        read(advertiser, "/api/programs/{id}/agent-runtimes", &offer.program),
        read(advertiser, "/api/programs/{id}/attribution-events", &offer.program),
        read(advertiser, "/api/programs/{id}/conversions", &offer.program),
        read(advertiser, "/api/programs/{id}/payouts", &offer.program),
        read(advertiser, "/api/subscription", ""),
        read(advertiser, "/api/usage", ""),
        read(advertiser, "/api/wallet", ""),
        read(advertiser, "/api/wallet/transactions", ""),
        read(advertiser, "/api/webhooks", ""),
        read(advertiser, "/api/webhooks/{id}", &hook),
        read(advertiser, "/api/webhooks/{id}/deliveries", &hook),
        read(&publisher, "/v1/commissions", ""),
    ];
    let description = anyone.get("/openapi.json").await;
    let paths = &description.expect(200)["paths"];
    let mut unlike = Vec::new();
    let mut asked = 0;
    for read in &reads {
        for wrong in all_wrong(&paths[read.template]["get"], &foreign) {
            let reply = read.who.get(&format!("{}?{}", read.path, wrong.query)).await;
            // `/v1` has its error in an object of its own.
            let error =
                if read.template.starts_with("/v1/") { &reply.body["error"]["details"] } else { &reply.body };
            let fix = error["fix"].as_str().unwrap_or_default();
            let well = reply.status == 400
                && error["field"] == wrong.field
                && wrong.says.iter().all(|word| fix.contains(word.as_str()));
            if !well {
                unlike.push(format!(
                    "{}?{}: {} {} says {:?}",
                    read.template, wrong.query, reply.status, reply.body, wrong.says
                ));
            }
            asked += 1;
        }
    }
    assert!(unlike.is_empty(), "{} of {asked}:\n{}", unlike.len(), unlike.join("\n"));
    assert!(asked > 300, "{asked} wrong queries");
}

#[tokio::test]
async fn lists_describe_how_to_page_through_them() {
    let app = TestApp::start().await;
    let description = app.anyone().get("/openapi.json").await;
    let document = description.expect(200);
    let mut lists = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let reply = &item["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        let name = reply["$ref"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        let schema = if name.is_empty() { reply } else { &document["components"]["schemas"][name] };
        if schema["properties"]["pagination"].is_null() {
            continue;
        }
        let parameters = item["get"]["parameters"].as_array().unwrap();
        for wanted in ["page", "per_page"] {
            assert!(
                parameters.iter().any(|one| one["name"] == wanted),
                "{path} does not describe `{wanted}`"
            );
        }
        lists += 1;
    }
    assert!(lists > 15, "{lists} lists");
}

#[tokio::test]
async fn what_writes_takes_nothing_from_the_address() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let body = json!({"program_id": offer.program, "method": "external"});
    let reply = offer.advertiser.post("/api/payouts/process?dry_run=true", body).await;
    let fix = reply.is_error(400, "invalid_value");
    assert!(fix.contains("`dry_run`") && fix.contains("JSON body"), "{reply}");
    assert_eq!(reply.body["field"], "dry_run");
    let unknown = app.anyone().post("/api/payouts/process?dry_run=true", json!({})).await;
    unknown.is_error(401, "api_key_missing");
}
