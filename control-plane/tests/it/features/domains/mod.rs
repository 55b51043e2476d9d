//! Custom domains: claims, certificates, what edges are told.

mod certificates;
mod claims;
mod publish;
mod served;

use crate::harness::{Client, NameServer, TestApp};
use control_plane::features::domains::{keeper, publish as publisher};
use control_plane::workers::jobs::Turn;
use redis::AsyncCommands;
use serde_json::{Value, json};
use shared::{DomainKey, DomainRecord};
use std::net::SocketAddr;

/// A service that asks this name server.
async fn app_with(names: SocketAddr) -> TestApp {
    TestApp::start_with(|config| config.domains.dns_server = Some(names)).await
}

/// Claims a domain; its id.
async fn claim(agent: &Client, domain: &str) -> String {
    let reply = agent.post("/api/domains", json!({"domain": domain})).await;
    reply.expect(201)["id"].as_str().unwrap().to_owned()
}

async fn get(agent: &Client, id: &str) -> Value {
    agent.get(&format!("/api/domains/{id}")).await.expect(200).clone()
}

/// Sets the records of a domain as its reply shows them.
fn set_records(names: &NameServer, domain: &Value) {
    let text = &domain["records"][0];
    assert_eq!(text["type"], "TXT");
    names.set_text(text["name"].as_str().unwrap(), text["value"].as_str().unwrap());
    names.set_address(domain["domain"].as_str().unwrap());
}

/// Lets the workers look at the claims that are due.
async fn look(app: &TestApp) {
    while keeper::claims_job(app.app.clone()).await.unwrap() == Turn::Again {}
}

/// Lets the workers get the certificates that are due.
async fn issue(app: &TestApp) {
    while keeper::certificates_job(app.app.clone()).await.unwrap() == Turn::Again {}
}

/// Tells the edges.
async fn publish(app: &TestApp) {
    while publisher::job(app.app.clone()).await.unwrap() == Turn::Again {}
}

/// What an edge reads of a host.
async fn record(app: &TestApp, host: &str) -> Option<DomainRecord> {
    let mut redis = app.app.redis().get().await.unwrap();
    let bytes: Option<Vec<u8>> = redis.hget(app.app.keys().domains(), host).await.unwrap();
    let key = DomainKey::new(&app.app.config().secret);
    bytes.map(|bytes| DomainRecord::decode(&bytes, &key).unwrap())
}

/// Hosts in the stream of changes, in their order.
async fn changes(app: &TestApp) -> Vec<String> {
    let mut redis = app.app.redis().get().await.unwrap();
    let reply: redis::streams::StreamRangeReply =
        redis.xrange_all(app.app.keys().domains_changes()).await.unwrap();
    reply.ids.iter().map(|entry| entry.get("h").unwrap()).collect()
}

/// A proven domain with a certificate that nobody issued: for tests of what comes after.
pub(crate) async fn activate(app: &TestApp, agent: &Client, domain: &str) -> String {
    let id = claim(agent, domain).await;
    sqlx::query(
        "UPDATE domains SET status = 'active', verified_at = $2, chain_pem = 'chain', sealed_key = $3, issued_at = $2,
                renew_at = $2 + INTERVAL '60 days', expires_at = $2 + INTERVAL '90 days', unpublished = TRUE,
                check_at = $2 + INTERVAL '60 days'
          WHERE id = $1::UUID",
    )
    .bind(&id)
    .bind(app.now())
    .bind(control_plane::seal::seal(
        &app.app.config().secret.derive("domain certificate keys v1"),
        b"key",
    ))
    .execute(app.app.db())
    .await
    .unwrap();
    id
}
