//! `POST /api/auth/signup`, `POST /api/quickstart`, `GET /api/agents/me`.

use crate::harness::TestApp;
use serde_json::json;

#[tokio::test]
async fn a_name_is_enough_and_the_key_works() {
    let app = TestApp::start().await;
    let agent = app.agent("MyAgent").await;
    assert_eq!(agent.me()["handle"], "my-agent");
    assert_eq!(agent.me()["tier"], "free");
    assert_eq!(agent.me()["created_at"], "2026-06-15T12:00:00.000Z");
    let me = agent.get("/api/agents/me").await;
    assert_eq!(me.expect(200)["id"], agent.id());
    assert!(!me.text.contains(agent.key()), "the key is shown once");
}

#[tokio::test]
async fn clashing_names_get_numbers_and_clashing_handles_a_suggestion() {
    let app = TestApp::start().await;
    app.agent("My Agent").await;
    assert_eq!(app.agent("My Agent").await.me()["handle"], "my-agent-2");
    assert_eq!(app.agent("my agent!").await.me()["handle"], "my-agent-3");
    let taken = app.anyone().post("/api/auth/signup", json!({"name": "x", "handle": "my-agent"})).await;
    assert!(taken.is_error(409, "handle_taken").contains("my-agent-4"));
    assert_eq!(taken.body["suggestion"], "my-agent-4");
}

#[tokio::test]
async fn twenty_at_once_get_twenty_handles() {
    let app = TestApp::start().await;
    let requests = (0..20).map(|_| {
        let anyone = app.anyone();
        tokio::spawn(async move { anyone.post("/api/auth/signup", json!({"name": "Crowd"})).await })
    });
    let mut handles = std::collections::HashSet::new();
    for request in requests.collect::<Vec<_>>() {
        let reply = request.await.unwrap();
        handles.insert(reply.expect(201)["handle"].as_str().unwrap().to_owned());
    }
    assert_eq!(handles.len(), 20);
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let app = TestApp::start().await;
    let anyone = app.anyone();
    anyone.post("/api/auth/signup", json!({})).await.is_error(400, "missing_field");
    anyone.post("/api/auth/signup", json!({"name": ""})).await.is_error(400, "invalid_value");
    anyone.post("/api/auth/signup", json!({"name": 5})).await.is_error(400, "invalid_value");
    let typo = anyone.post("/api/auth/signup", json!({"nmae": "x"})).await;
    assert!(typo.is_error(400, "invalid_value").contains("`name`"));
    anyone
        .post("/api/auth/signup", json!({"name": "x", "handle": "Not A Handle"}))
        .await
        .is_error(400, "invalid_value");
    anyone
        .post("/api/auth/signup", json!({"name": "x", "website_url": "javascript:alert(1)"}))
        .await
        .is_error(400, "invalid_value");
    let broken = anyone
        .request("POST", "/api/auth/signup")
        .header("content-type", "application/json")
        .body("{\"name\":");
    anyone.send(broken).await.is_error(400, "invalid_value");
    let plain = anyone.request("POST", "/api/auth/signup").header("content-type", "text/plain").body("{}");
    anyone.send(plain).await.is_error(415, "unsupported_media_type");
    let large = anyone.request("POST", "/api/auth/signup").json(&json!({"name": "x".repeat(70_000)}));
    anyone.send(large).await.is_error(413, "payload_too_large");
    anyone.get("/api/auth/signup").await.is_error(405, "method_not_allowed");
    anyone.get("/api/nothing").await.is_error(404, "not_found");
    anyone.get("/api/agents/me").await.is_error(401, "api_key_missing");
    app.with_key("aos_live_abc").get("/api/agents/me").await.is_error(401, "api_key_invalid");
    let stranger =
        control_plane::auth::api_keys::NewKey::generate(control_plane::auth::api_keys::Kind::Agent);
    app.with_key(stranger.reveal()).get("/api/agents/me").await.is_error(401, "api_key_invalid");
}

#[tokio::test]
async fn quickstart_gives_calls_that_can_be_pasted() {
    let app = TestApp::start().await;
    let reply = app.anyone().post("/api/quickstart", json!({"name": "Starter"})).await;
    let body = reply.expect(201);
    let key = body["api_key"].as_str().unwrap();
    for role in ["advertiser", "affiliate"] {
        for step in body["next_steps"][role].as_array().unwrap() {
            let curl = step["curl"].as_str().unwrap();
            assert!(curl.contains(app.origin()) && curl.contains(key), "{curl}");
        }
    }
}
