//! Matching, through the doors clients use.

mod always;
mod market;
mod outreach;
mod recommendations;
mod reliability;
mod suggestions;

use crate::harness::{Client, TestApp};
use serde_json::{Value, json};

/// An agent with a profile.
async fn agent(app: &TestApp, name: &str, niche: &str, description: &str) -> Client {
    let agent = app.agent(name).await;
    let profile = json!({"niche": niche, "audience_type": "b2b", "description": description});
    agent.patch(&format!("/api/agents/{}", agent.id()), profile).await.expect(200);
    agent
}

/// A program of a field; its id.
async fn program(app: &TestApp, advertiser: &Client, name: &str, niche: &str, description: &str) -> String {
    let changes = json!({"name": name, "niche": niche, "audience_type": "b2b", "description": description});
    app.program_with(advertiser, changes).await["id"].as_str().unwrap().to_owned()
}

/// The names of programs in a reply.
fn names(body: &Value) -> Vec<&str> {
    body["data"].as_array().unwrap().iter().map(|item| item["program"]["name"].as_str().unwrap()).collect()
}

/// What an agent used of its matching requests this month.
async fn used(agent: &Client) -> i64 {
    let usage = agent.get("/api/usage").await;
    usage.expect(200)["usage"]["matching_requests"]["used"].as_i64().unwrap()
}
