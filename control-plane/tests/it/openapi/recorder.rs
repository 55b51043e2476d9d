//! Writes down what was sent and what came back, with everything that differs from run to run made the same.

use crate::harness::{Client, TestApp, contract};
use chrono::TimeDelta;
use regex::{Captures, Regex};
use reqwest::Method;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};

/// Members whose text is random.
const RANDOM: [&str; 11] = [
    "token",
    "tracking_token",
    "click_id",
    "preview_token",
    "slat_token",
    "secret",
    "key",
    "api_key",
    "next_cursor",
    "last_four",
    "kid",
];

/// Calls without an example: two that only a deployment with a Stripe account answers, and two whose
/// figures tell the time of day.
const WITHOUT_EXAMPLE: [&str; 4] =
    ["open_billing_portal", "receive_stripe_event", "get_stats", "get_weekly_digest"];

/// Calls operations and keeps the examples.
pub(super) struct Recorder<'a> {
    app: &'a TestApp,
    /// Operation → status → example.
    examples: BTreeMap<String, BTreeMap<String, Value>>,
    /// Random text → what stands for it.
    names: HashMap<String, String>,
    /// Other texts to replace, such as an origin with a port.
    places: Vec<(String, String)>,
    uuids: usize,
}

/// One call.
pub(super) struct Call<'a> {
    pub(super) operation: &'a str,
    pub(super) status: u16,
    pub(super) path: &'a [(&'a str, &'a str)],
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) body: Option<Value>,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(app: &'a TestApp) -> Self {
        let places = vec![(app.origin().to_owned(), "{origin}".to_owned())];
        Self { app, examples: BTreeMap::new(), names: HashMap::new(), places, uuids: 0 }
    }

    /// Has `text` written as `name`.
    pub(super) fn place(&mut self, text: &str, name: &str) {
        self.places.push((text.to_owned(), name.to_owned()));
    }

    /// Sends a call, checks its status, keeps the first example of each status, gives the reply.
    pub(super) async fn call(&mut self, who: &Client, call: Call<'_>) -> Value {
        self.app.clock.advance(TimeDelta::seconds(1));
        let (template, method) = route(call.operation);
        let path =
            call.path.iter().fold(template, |path, (name, id)| path.replace(&format!("{{{name}}}"), id));
        let query = serde_urlencoded::to_string(call.query).unwrap();
        let mut request = who.request(method.as_str(), &format!("{path}?{query}"));
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let reply = who.send(request).await;
        contract::check(&method, &path, &reply);
        assert_eq!(reply.status, call.status, "{}: {reply}", call.operation);
        let parameters: Map<_, _> = call
            .path
            .iter()
            .chain(call.query)
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let mut example = Map::new();
        if let Some(body) = call.body {
            example.insert("request".to_owned(), body);
        }
        if !parameters.is_empty() {
            example.insert("parameters".to_owned(), parameters.into());
        }
        example.insert("reply".to_owned(), reply.body.clone());
        let example = self.made_same(example.into());
        let kept = self.examples.entry(call.operation.to_owned()).or_default();
        kept.entry(call.status.to_string()).or_insert(example);
        reply.body
    }

    /// The examples as they are stored, and the operations that have none for one of their successes.
    pub(super) fn finish(self) -> (String, Vec<String>) {
        let mut missing = Vec::new();
        for (_, operation) in operations() {
            let id = operation["operationId"].as_str().unwrap();
            if WITHOUT_EXAMPLE.contains(&id) {
                continue;
            }
            let statuses = operation["responses"].as_object().unwrap().keys().filter(|s| s.starts_with('2'));
            let kept =
                |status: &&String| self.examples.get(id).is_some_and(|kept| kept.contains_key(*status));
            missing.extend(statuses.filter(|status| !kept(status)).map(|status| format!("{id} {status}")));
        }
        (format!("{}\n", serde_json::to_string_pretty(&self.examples).unwrap()), missing)
    }

    fn made_same(&mut self, mut example: Value) -> Value {
        self.name_random(&mut example);
        let mut text = example.to_string();
        let mut names: Vec<_> = self.names.iter().collect();
        names.sort_by_key(|(random, _)| std::cmp::Reverse(random.len()));
        for (random, name) in names {
            text = text.replace(random.as_str(), name);
        }
        for (place, name) in &self.places {
            text = text.replace(place, name);
        }
        serde_json::from_str(&text).unwrap()
    }

    /// Finds what is random and gives each a name of the same shape.
    fn name_random(&mut self, value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (member, value) in members {
                    if member == "duration_ms" && value.is_number() {
                        *value = json!(100);
                    }
                    match value.as_str() {
                        Some(text) if RANDOM.contains(&member.as_str()) => self.name(text),
                        _ => self.name_random(value),
                    }
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.name_random(value)),
            Value::String(text) => self.name_uuids(text),
            _ => {}
        }
    }

    fn name(&mut self, text: &str) {
        self.name_uuids(text);
        let number = self.names.len();
        if is_uuid(text) || text.len() < 4 || self.names.contains_key(text) {
            return;
        }
        self.names.insert(text.to_owned(), lookalike(text, number));
    }

    fn name_uuids(&mut self, text: &str) {
        let uuid =
            Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|_[0-9a-f]{32}").unwrap();
        for found in uuid.find_iter(text) {
            let plain = found.as_str().trim_start_matches('_').replace('-', "");
            if self.names.contains_key(&plain) {
                continue;
            }
            self.uuids += 1;
            let name = format!("018f2f6e7c1a7bd39d531c2a6f6e{:04x}", 0x8a00 + self.uuids);
            self.names.insert(hyphenated(&plain), hyphenated(&name));
            self.names.insert(plain, name);
        }
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.matches('-').count() == 4
}

fn hyphenated(plain: &str) -> String {
    let groups = Regex::new("(.{8})(.{4})(.{4})(.{4})(.{12})").unwrap();
    groups
        .replace(plain, |found: &Captures<'_>| {
            format!("{}-{}-{}-{}-{}", &found[1], &found[2], &found[3], &found[4], &found[5])
        })
        .into_owned()
}

/// A text of the same length, with the same prefix and padding.
fn lookalike(text: &str, number: usize) -> String {
    let prefixes = ["aos_live_", "aff_agent_", "merch_key_", "whsec_", "slat_v1_"];
    let prefix = prefixes.iter().find(|prefix| text.starts_with(**prefix)).copied().unwrap_or_default();
    let digest = Sha256::digest(format!("{number} {}", text.len()));
    let letters = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let other = |(at, letter): (usize, char)| match letter {
        '=' => '=',
        _ => char::from(letters[usize::from(digest[at % 32].wrapping_add((at / 32) as u8)) % letters.len()]),
    };
    let rest = text.chars().skip(prefix.len()).enumerate().map(other);
    prefix.chars().chain(rest).collect()
}

/// Every operation of the description, with its path.
pub(super) fn operations() -> impl Iterator<Item = (&'static str, &'static Value)> {
    let paths = contract::description()["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().values();
        methods
            .filter(|operation| operation["operationId"].is_string())
            .map(|operation| (path.as_str(), operation))
    })
}

fn route(operation: &str) -> (String, Method) {
    let paths = contract::description()["paths"].as_object().unwrap();
    let mut all = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(method, one)| (path, method, one))
    });
    let (path, method, _) = all
        .find(|(.., one)| one["operationId"] == operation)
        .unwrap_or_else(|| panic!("the description has no operation {operation}"));
    (path.clone(), method.to_uppercase().parse().unwrap())
}
