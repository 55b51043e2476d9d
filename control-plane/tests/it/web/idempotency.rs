//! `Idempotency-Key` where it guards keys that are shown once.

use crate::harness::{Client, Reply, TestApp};
use chrono::TimeDelta;
use serde_json::{Value, json};

async fn send(client: &Client, path: &str, key: &str, address: &str, body: Value) -> Reply {
    let request = client.request("POST", path).header("idempotency-key", key);
    client.send(request.header("x-forwarded-for", address).json(&body)).await
}

#[tokio::test]
async fn a_sign_up_is_made_once_and_answered_again() {
    let app = TestApp::start().await;
    let anyone = app.anyone();
    for path in ["/api/auth/signup", "/api/quickstart"] {
        let again = async |body: Value| send(&anyone, path, &format!("k {path}"), "203.0.113.9", body).await;
        let (first, second) = tokio::join!(again(json!({"name": "Twin"})), again(json!({"name": "Twin"})));
        assert_eq!((first.status, second.status), (201, 201));
        assert_eq!(first.text, second.text);
        let replayed = |reply: &Reply| reply.headers.contains_key("idempotent-replayed");
        assert!(replayed(&first) != replayed(&second));
        let key = first.body["api_key"].as_str().unwrap();
        app.with_key(key).get("/api/agents/me").await.expect(200);
        again(json!({"name": "Other"})).await.is_error(409, "idempotency_key_reused");
    }
    let agents: i64 =
        sqlx::query_scalar("SELECT count(*) FROM agents").fetch_one(app.app.db()).await.unwrap();
    assert_eq!(agents, 2);
}

#[tokio::test]
async fn a_stranger_who_sends_the_same_gets_an_account_of_its_own() {
    let app = TestApp::start().await;
    let anyone = app.anyone();
    let copied = async |address: &str| {
        send(&anyone, "/api/auth/signup", "copied-from-the-docs", address, json!({"name": "MyAgent"})).await
    };
    let (first, stranger) = (copied("203.0.113.9").await, copied("198.51.100.1").await);
    assert_ne!(first.expect(201)["api_key"], stranger.expect(201)["api_key"]);
    assert_ne!(first.body["id"], stranger.body["id"]);
    // Nor does a signed-in agent get at it, whatever key it names.
    let agent = app.agent("Third").await;
    let path = format!("/api/agents/{}/keys", agent.id());
    let key = send(&agent, &path, "copied-from-the-docs", "203.0.113.9", json!({"kind": "publisher"})).await;
    assert_eq!(key.expect(201)["kind"], "publisher");
}

#[tokio::test]
async fn no_key_can_be_read_from_the_database() {
    let app = TestApp::start().await;
    let signed_up = send(&app.anyone(), "/api/auth/signup", "k1", "203.0.113.9", json!({"name": "A"})).await;
    let key = signed_up.expect(201)["api_key"].as_str().unwrap();
    let agent = app.with_key(key);
    let path = format!("/api/agents/{}/keys", signed_up.body["id"].as_str().unwrap());
    let made = send(&agent, &path, "k2", "203.0.113.9", json!({"kind": "merchant"})).await;
    let replay = send(&agent, &path, "k2", "203.0.113.9", json!({"kind": "merchant"})).await;
    assert_eq!(made.expect(201), replay.expect(201));
    let rows: Vec<(String, String, Vec<u8>)> =
        sqlx::query_as("SELECT scope, key, body FROM idempotency_keys")
            .fetch_all(app.app.db())
            .await
            .unwrap();
    assert_eq!(rows.len(), 2);
    for (scope, row, body) in rows {
        let text = String::from_utf8_lossy(&body);
        assert!(!text.contains("aos_live_") && !text.contains("merch_key_") && !text.contains("created_at"));
        assert!(row != "k1" && row != "k2" && !scope.contains("203.0"));
    }
}

#[tokio::test]
async fn a_refusal_is_not_kept_and_an_answer_lasts_a_day() {
    let app = TestApp::start().await;
    let anyone = app.anyone();
    let again = async |body: Value| send(&anyone, "/api/auth/signup", "k", "203.0.113.9", body).await;
    again(json!({"name": ""})).await.is_error(400, "invalid_value");
    let first = again(json!({"name": "A"})).await;
    app.clock.advance(TimeDelta::hours(24) - TimeDelta::milliseconds(1));
    assert_eq!(first.expect(201), again(json!({"name": "A"})).await.expect(201));
    app.clock.advance(TimeDelta::milliseconds(1));
    let next = again(json!({"name": "A"})).await;
    assert_ne!(first.body["id"], next.expect(201)["id"]);
    for bad in ["", "ü", &"x".repeat(256)] {
        let request = anyone.request("POST", "/api/auth/signup").json(&json!({"name": "A"}));
        let request = request
            .header("idempotency-key", reqwest::header::HeaderValue::from_bytes(bad.as_bytes()).unwrap());
        let reply = anyone.send(request).await;
        reply.is_error(400, "invalid_value");
        assert_eq!(reply.body["field"], "Idempotency-Key");
    }
}

#[tokio::test]
async fn old_answers_are_forgotten() {
    let app = TestApp::start().await;
    for number in 0..5 {
        send(&app.anyone(), "/api/auth/signup", &format!("k{number}"), "203.0.113.9", json!({"name": "A"}))
            .await
            .expect(201);
        app.clock.advance(TimeDelta::hours(1));
    }
    let now = app.clock_now() + TimeDelta::hours(20) + TimeDelta::minutes(30);
    let mut conn = app.app.db().acquire().await.unwrap();
    assert_eq!(control_plane::web::idempotency::forget_old(&mut conn, now, 1).await.unwrap(), 1);
    assert_eq!(control_plane::web::idempotency::forget_old(&mut conn, now, 10).await.unwrap(), 1);
    assert_eq!(control_plane::web::idempotency::forget_old(&mut conn, now, 10).await.unwrap(), 0);
}
