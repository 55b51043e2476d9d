//! `GET /api/agents`, `GET` and `PATCH /api/agents/:id`.

use crate::harness::TestApp;
use serde_json::{Value, json};

#[tokio::test]
async fn everybody_sees_the_public_part_and_the_agent_itself_more() {
    let app = TestApp::start().await;
    let agent = app.agent("MyAgent").await;
    let path = format!("/api/agents/{}", agent.id());
    let public = app.anyone().get(&path).await;
    let mut members: Vec<_> = public.expect(200).as_object().unwrap().keys().cloned().collect();
    members.sort_unstable();
    assert_eq!(
        members,
        ["audience_type", "created_at", "description", "handle", "id", "name", "niche", "website_url"]
    );
    assert_eq!(app.agent("Other").await.get(&path).await.body, public.body);
    let own = agent.get(&path).await;
    assert_eq!(own.expect(200), agent.get("/api/agents/me").await.expect(200));
    assert_eq!(own.body["tier"], "free");
    app.with_key("aos_live_abc").get(&path).await.is_error(401, "api_key_invalid");
    app.anyone().get("/api/agents/42").await.is_error(400, "invalid_id");
    let unknown = format!("/api/agents/{}", shared::id::AgentId::generate());
    app.anyone().get(&unknown).await.is_error(404, "not_found");
}

#[tokio::test]
async fn the_list_is_paged_filtered_and_public() {
    let app = TestApp::start().await;
    for (name, niche) in [("A", "saas"), ("B", "ecommerce"), ("C", "saas")] {
        let body = json!({"name": name, "niche": niche, "audience_type": "b2c"});
        app.anyone().post("/api/auth/signup", body).await.expect(201);
        app.clock.advance(chrono::TimeDelta::seconds(1));
    }
    let names = async |query: &str| {
        let reply = app.anyone().get(&format!("/api/agents{query}")).await;
        let rows = reply.expect(200)["data"].as_array().unwrap().clone();
        let names: Vec<String> = rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect();
        assert!(rows.iter().all(|row| row.get("tier").is_none() && row.get("publisher_id").is_none()));
        (names.join(""), reply.body["pagination"]["total"].as_i64().unwrap())
    };
    assert_eq!(names("").await, ("CBA".to_owned(), 3));
    assert_eq!(names("?page=2&per_page=2").await, ("A".to_owned(), 3));
    assert_eq!(names("?niche=saas").await, ("CA".to_owned(), 2));
    assert_eq!(names("?niche=saas&audience_type=b2b").await, (String::new(), 0));
    app.anyone().get("/api/agents?per_page=0").await.is_error(400, "invalid_value");
    let typo = app.anyone().get("/api/agents?nich=saas").await;
    assert!(typo.is_error(400, "invalid_value").contains("`niche`"), "{typo}");
}

#[tokio::test]
async fn absent_keeps_null_clears_and_a_value_sets() {
    let app = TestApp::start().await;
    let agent = app.agent("MyAgent").await;
    let path = format!("/api/agents/{}", agent.id());
    let patch = async |body: Value| agent.patch(&path, body).await;
    let body = json!({"description": "AI shopping assistant", "niche": "ecommerce", "audience_type": "b2c"});
    let reply = patch(body).await;
    assert_eq!(reply.expect(200)["niche"], "ecommerce");
    let reply = patch(json!({"niche": null, "website_url": "https://example.com"})).await;
    assert_eq!(reply.expect(200)["niche"], Value::Null);
    assert_eq!(reply.body["description"], "AI shopping assistant");
    assert_eq!(reply.body["website_url"], "https://example.com/");
    assert_eq!(patch(json!({})).await.expect(200), reply.expect(200));
    let reply = patch(json!({"name": "Renamed", "handle": "renamed"})).await;
    assert_eq!((&reply.expect(200)["name"], &reply.body["handle"]), (&json!("Renamed"), &json!("renamed")));
    assert_eq!(agent.get("/api/agents/me").await.expect(200), reply.expect(200));
}

#[tokio::test]
async fn what_is_wrong_is_said_and_changes_nothing() {
    let app = TestApp::start().await;
    let (agent, other) = (app.agent("MyAgent").await, app.agent("Other").await);
    let path = format!("/api/agents/{}", agent.id());
    let before = agent.get("/api/agents/me").await;
    for (body, field) in [
        (json!({"name": null}), "name"),
        (json!({"name": ""}), "name"),
        (json!({"handle": null}), "handle"),
        (json!({"handle": "No Handle"}), "handle"),
        (json!({"website_url": "javascript:alert(1)"}), "website_url"),
        (json!({"description": "x".repeat(2001)}), "description"),
        (json!({"tier": "pro"}), "tier"),
        (json!({"id": other.id()}), "id"),
        (json!({"discription": "x"}), "discription"),
        (json!({"niche": 5}), "niche"),
    ] {
        let reply = agent.patch(&path, body).await;
        reply.is_error(400, "invalid_value");
        assert_eq!(reply.body["field"], field, "{reply}");
    }
    let taken = agent.patch(&path, json!({"handle": "other"})).await;
    taken.is_error(409, "handle_taken");
    assert_eq!(taken.body["suggestion"], "other-2");
    other.patch(&path, json!({"name": ""})).await.is_error(403, "not_owner");
    app.anyone().patch(&path, json!({"name": ""})).await.is_error(401, "api_key_missing");
    let unknown = format!("/api/agents/{}", shared::id::AgentId::generate());
    agent.patch(&unknown, json!({"name": ""})).await.is_error(404, "not_found");
    assert_eq!(agent.get("/api/agents/me").await.body, before.body);
}

#[tokio::test]
async fn one_of_many_gets_a_handle() {
    let app = TestApp::start().await;
    let mut requests = Vec::new();
    for number in 0..8 {
        let agent = app.agent(&format!("Agent {number}")).await;
        requests.push(tokio::spawn(async move {
            agent.patch(&format!("/api/agents/{}", agent.id()), json!({"handle": "wanted"})).await
        }));
    }
    let mut winners = 0;
    for request in requests {
        let reply = request.await.unwrap();
        if reply.status == 200 {
            winners += 1;
        } else {
            reply.is_error(409, "handle_taken");
            assert_ne!(reply.body["suggestion"], "wanted");
        }
    }
    assert_eq!(winners, 1);
}
