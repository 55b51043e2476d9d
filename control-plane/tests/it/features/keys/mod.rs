//! Keys: rotating, making, listing, revoking.

use crate::harness::{Client, TestApp};
use control_plane::auth::api_keys::{Kind, kind_of};
use serde_json::json;

fn keys_of(agent: &Client) -> String {
    format!("/api/agents/{}/keys", agent.id())
}

#[tokio::test]
async fn a_rotated_key_is_dead_at_once_and_the_new_one_lives() {
    let app = TestApp::start().await;
    let agent = app.agent("MyAgent").await;
    let made = agent.post(&keys_of(&agent), json!({"kind": "publisher"})).await;
    let mut client = agent.clone();
    for name in ["rotate-key", "regenerate-key"] {
        let path = format!("/api/agents/{}/{name}", agent.id());
        let reply = client.send(client.request("POST", &path)).await;
        let key = reply.expect(200)["api_key"].as_str().unwrap().to_owned();
        assert_eq!(kind_of(&key), Some(Kind::Agent));
        client.get("/api/agents/me").await.is_error(401, "api_key_invalid");
        client = app.with_key(&key);
        assert_eq!(client.get("/api/agents/me").await.expect(200)["id"], agent.id());
    }
    let keys = client.get(&keys_of(&agent)).await;
    let ids: Vec<_> = keys.expect(200)["data"].as_array().unwrap().iter().map(|key| &key["id"]).collect();
    assert!(ids.contains(&&made.expect(201)["id"]), "other keys stay: {keys}");
}

#[tokio::test]
async fn rotating_at_once_leaves_one_key_that_works() {
    let app = TestApp::start().await;
    let agent = app.agent("MyAgent").await;
    let requests: Vec<_> = (0..8)
        .map(|_| {
            let (client, path) = (agent.clone(), format!("/api/agents/{}/rotate-key", agent.id()));
            tokio::spawn(async move { client.post(&path, json!({})).await })
        })
        .collect();
    let mut keys = Vec::new();
    for request in requests {
        let reply = request.await.unwrap();
        match reply.status {
            200 => keys.push(reply.body["api_key"].as_str().unwrap().to_owned()),
            _ => drop(reply.is_error(401, "api_key_invalid").len()),
        }
    }
    assert_eq!(keys.len(), 1);
    app.with_key(&keys[0]).get("/api/agents/me").await.expect(200);
}

#[tokio::test]
async fn further_keys_are_shown_once_listed_and_revoked() {
    let app = TestApp::start().await;
    let agent = app.agent("MyAgent").await;
    for (kind, prefix) in [("publisher", "aff_agent_"), ("merchant", "merch_key_")] {
        let made = agent.post(&keys_of(&agent), json!({"kind": kind})).await;
        let key = made.expect(201)["key"].as_str().unwrap();
        assert!(key.starts_with(prefix) && kind_of(key).is_some());
        assert_eq!(made.body["kind"], kind);
        assert_eq!(made.body["created_at"], "2026-06-15T12:00:00.000Z");
        // It opens nothing under /api.
        app.with_key(key).get("/api/agents/me").await.is_error(401, "api_key_invalid");
        let list = agent.get(&keys_of(&agent)).await;
        assert!(!list.text.contains(key));
        let last_four: String = key.chars().skip(key.len() - 4).collect();
        assert_eq!(list.expect(200)["data"][0]["last_four"], last_four);
        let path = format!("{}/{}", keys_of(&agent), made.body["id"].as_str().unwrap());
        assert_eq!(agent.delete(&path).await.expect(200), &json!({"id": made.body["id"], "deleted": true}));
        agent.delete(&path).await.is_error(404, "not_found");
    }
    let list = agent.get(&keys_of(&agent)).await;
    let keys = list.expect(200)["data"].as_array().unwrap();
    assert_eq!((keys.len(), &keys[0]["kind"]), (1, &json!("agent")));
    let path = format!("{}/{}", keys_of(&agent), keys[0]["id"].as_str().unwrap());
    agent.delete(&path).await.is_error(409, "invalid_state");
    agent.post(&keys_of(&agent), json!({"kind": "agent"})).await.is_error(400, "invalid_value");
    agent.post(&keys_of(&agent), json!({})).await.is_error(400, "missing_field");
}

#[tokio::test]
async fn keys_are_their_owners_alone() {
    let app = TestApp::start().await;
    let (agent, stranger) = (app.agent("MyAgent").await, app.agent("Stranger").await);
    let made = agent.post(&keys_of(&agent), json!({"kind": "merchant"})).await;
    let path = format!("{}/{}", keys_of(&agent), made.expect(201)["id"].as_str().unwrap());
    stranger.get(&keys_of(&agent)).await.is_error(403, "not_owner");
    stranger.post(&keys_of(&agent), json!({"kind": "merchant"})).await.is_error(403, "not_owner");
    stranger.delete(&path).await.is_error(403, "not_owner");
    // Under the stranger's own id another's key does not exist.
    let crossed = format!("{}/{}", keys_of(&stranger), made.body["id"].as_str().unwrap());
    stranger.delete(&crossed).await.is_error(404, "not_found");
    stranger
        .post(&format!("/api/agents/{}/rotate-key", agent.id()), json!({}))
        .await
        .is_error(403, "not_owner");
    agent.delete(&format!("{}/42", keys_of(&agent))).await.is_error(400, "invalid_id");
    agent.delete(&path).await.expect(200);
}

#[tokio::test]
async fn an_agent_has_fifty_further_keys_at_most() {
    let app = TestApp::start().await;
    let agent = app.agent("MyAgent").await;
    let requests: Vec<_> = (0..55)
        .map(|_| {
            let (client, path) = (agent.clone(), keys_of(&agent));
            tokio::spawn(async move { client.post(&path, json!({"kind": "publisher"})).await })
        })
        .collect();
    let mut made = 0;
    for request in requests {
        let reply = request.await.unwrap();
        match reply.status {
            201 => made += 1,
            _ => drop(reply.is_error(409, "invalid_state").len()),
        }
    }
    assert_eq!(made, 50);
}
