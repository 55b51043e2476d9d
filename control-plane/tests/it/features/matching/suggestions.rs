//! Suggestions: made by themselves, answered once, and told to both sides.

use super::{agent, names, program};
use crate::harness::{Client, TestApp};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

async fn pending(agent: &Client) -> Value {
    agent.get("/api/match-suggestions").await.expect(200).clone()
}

fn id_of(list: &Value, name: &str) -> String {
    let found = list["data"].as_array().unwrap().iter().find(|one| one["program"]["name"] == name);
    found.unwrap_or_else(|| panic!("{name} in {list}"))["id"].as_str().unwrap().to_owned()
}

async fn respond(agent: &Client, id: &str, body: Value) -> crate::harness::Reply {
    agent.patch(&format!("/api/match-suggestions/{id}/respond"), body).await
}

#[tokio::test]
async fn made_at_sign_up_at_a_change_and_for_a_new_program() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    for (name, niche) in
        [("A", "saas"), ("B", "games"), ("C", "games"), ("D", "toys"), ("E", "toys"), ("F", "toys")]
    {
        program(&app, &advertiser, name, niche, "").await;
    }
    let fan = app.agent("Fan").await;
    app.suggest_all().await;
    let first = pending(&fan).await;
    assert_eq!(
        (&first["count"], first["data"].as_array().unwrap().len()),
        (&json!(5), 5),
        "without a profile"
    );
    assert_eq!(first["action"], "PATCH /api/match-suggestions/:id/respond");
    fan.patch(&format!("/api/agents/{}", fan.id()), json!({"niche": "games"})).await.expect(200);
    app.suggest_all().await;
    let second = pending(&fan).await;
    assert_eq!(names(&second)[..2].iter().collect::<std::collections::BTreeSet<_>>().len(), 2);
    assert!(names(&second)[..2].iter().all(|name| ["B", "C"].contains(name)), "{second}");
    program(&app, &advertiser, "Chess club", "games", "").await;
    app.suggest_all().await;
    assert!(names(&pending(&fan).await).contains(&"Chess club"));
    assert!(names(&pending(&advertiser).await).is_empty(), "its own are not suggested to anybody's owner");
    assert!(second["data"].as_array().unwrap().iter().all(|one| one["status"] == "pending"));
}

#[tokio::test]
async fn accepting_joins_the_program() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    program(&app, &advertiser, "Auto", "saas", "").await;
    let manual = app.program_with(&advertiser, json!({"name": "Manual", "approval_mode": "manual"})).await;
    let fan = agent(&app, "Fan", "saas", "").await;
    app.suggest_all().await;
    let list = pending(&fan).await;
    let auto = id_of(&list, "Auto");
    let body = json!({"decision": "accept", "message": "I can distribute this to AI founders."});
    let reply = respond(&fan, &auto, body.clone()).await;
    assert_eq!(
        (&reply.expect(200)["status"], &reply.body["partnership"]["status"]),
        (&json!("accepted"), &json!("approved"))
    );
    assert_eq!(reply.body["partnership"]["message"], "I can distribute this to AI founders.");
    let again = respond(&fan, &auto, body).await;
    assert_eq!(again.expect(200), &reply.body, "the same answer twice changes nothing");
    respond(&fan, &auto, json!({"decision": "decline"})).await.is_error(409, "invalid_state");
    let waits = respond(&fan, &id_of(&list, "Manual"), json!({"decision": "accept"})).await;
    assert_eq!(waits.expect(200)["partnership"]["status"], "pending");
    assert_eq!(waits.body["program"]["id"], manual["id"]);
    assert_eq!(pending(&fan).await["count"], 0);
    let all = fan.get(&format!("/api/agents/{}/match-suggestions", fan.id())).await;
    assert_eq!(all.expect(200)["pagination"]["total"], 2);
    let accepted =
        fan.get(&format!("/api/agents/{}/match-suggestions?status=accepted&per_page=1", fan.id())).await;
    assert_eq!(accepted.expect(200)["data"].as_array().unwrap().len(), 1);
    let next = accepted.body["pagination"]["next_cursor"].as_str().unwrap();
    let rest = fan
        .get(&format!("/api/agents/{}/match-suggestions?status=accepted&per_page=1&cursor={next}", fan.id()))
        .await;
    assert_eq!(rest.expect(200)["data"].as_array().unwrap().len(), 1);
    app.audit().await;
}

#[tokio::test]
async fn a_declined_one_does_not_come_back() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    let id = program(&app, &advertiser, "Persistent", "saas", "").await;
    let fan = agent(&app, "Fan", "saas", "").await;
    app.suggest_all().await;
    let suggestion = id_of(&pending(&fan).await, "Persistent");
    let reply = respond(&fan, &suggestion, json!({"decision": "decline"})).await;
    assert_eq!(
        (&reply.expect(200)["status"], &reply.body["partnership"]),
        (&json!("declined"), &Value::Null)
    );
    assert_eq!(respond(&fan, &suggestion, json!({"decision": "decline"})).await.expect(200), &reply.body);
    let fix = respond(&fan, &suggestion, json!({"decision": "accept"})).await;
    assert!(fix.is_error(409, "invalid_state").contains("/api/network/join/"));
    for change in [json!({"description": "Now with more words"}), json!({"name": "Persistent 2"})] {
        advertiser.patch(&format!("/api/programs/{id}"), change).await.expect(200);
        fan.patch(&format!("/api/agents/{}", fan.id()), json!({"description": "New"})).await.expect(200);
        app.suggest_all().await;
        assert_eq!(pending(&fan).await["count"], 0);
    }
    // Joining it by oneself is still open.
    app.joined(&fan, &id).await;
}

#[tokio::test]
async fn what_can_no_longer_be_accepted_is_not_pending() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    let (paused, joined, gone) = (
        program(&app, &advertiser, "Paused", "saas", "").await,
        program(&app, &advertiser, "Joined", "saas", "").await,
        program(&app, &advertiser, "Gone", "saas", "").await,
    );
    let fan = agent(&app, "Fan", "saas", "").await;
    app.suggest_all().await;
    let list = pending(&fan).await;
    advertiser.post(&format!("/api/programs/{paused}/pause"), json!({})).await.expect(200);
    app.joined(&fan, &joined).await;
    advertiser.delete(&format!("/api/programs/{gone}")).await.expect(200);
    assert_eq!(pending(&fan).await["count"], 0);
    let accept = || json!({"decision": "accept"});
    respond(&fan, &id_of(&list, "Paused"), accept()).await.is_error(409, "invalid_state");
    respond(&fan, &id_of(&list, "Joined"), accept()).await.is_error(409, "already_affiliated");
    respond(&fan, &id_of(&list, "Gone"), accept()).await.is_error(404, "not_found");
}

#[tokio::test]
async fn two_acceptances_at_once_join_once() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    let id = program(&app, &advertiser, "Wanted", "saas", "").await;
    let fan = agent(&app, "Fan", "saas", "").await;
    app.suggest_all().await;
    let suggestion = id_of(&pending(&fan).await, "Wanted");
    let accept = || respond(&fan, &suggestion, json!({"decision": "accept"}));
    let (one, two) = tokio::join!(accept(), accept());
    assert_eq!(one.expect(200)["partnership"]["id"], two.expect(200)["partnership"]["id"]);
    let affiliates = advertiser.get(&format!("/api/programs/{id}/affiliates")).await;
    assert_eq!(affiliates.expect(200)["pagination"]["total"], 1);
}

#[tokio::test]
async fn refusals() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    program(&app, &advertiser, "Wanted", "saas", "").await;
    let fan = agent(&app, "Fan", "saas", "").await;
    app.suggest_all().await;
    let id = id_of(&pending(&fan).await, "Wanted");
    for stranger in [&advertiser, &app.agent("Stranger").await] {
        respond(stranger, &id, json!({"decision": "accept"})).await.is_error(404, "not_found");
        stranger.get(&format!("/api/agents/{}/match-suggestions", fan.id())).await.is_error(403, "not_owner");
    }
    app.anyone().get("/api/match-suggestions").await.is_error(401, "api_key_missing");
    respond(&fan, &id, json!({})).await.is_error(400, "missing_field");
    respond(&fan, &id, json!({"decision": "maybe"})).await.is_error(400, "invalid_value");
    respond(&fan, &id, json!({"decision": "accept", "message": "a\u{202e}b"}))
        .await
        .is_error(400, "invalid_value");
    respond(&fan, "x", json!({"decision": "accept"})).await.is_error(400, "invalid_id");
    let list = fan.get(&format!("/api/agents/{}/match-suggestions?status=open", fan.id())).await;
    list.is_error(400, "invalid_value");
    assert_eq!(pending(&fan).await["count"], 1, "nothing was answered");
}

/// The events of these names in an agent's feed, once there are `count`.
async fn events(agent: &Client, name: &str, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let feed = agent.get("/api/events").await;
        let list = feed.expect(200)["data"].as_array().unwrap().clone();
        let found: Vec<_> = list.into_iter().filter(|event| event["type"] == name).collect();
        if found.len() >= count {
            return found;
        }
        assert!(Instant::now() < deadline, "{name} did not come: {feed}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn both_sides_are_told_once() {
    let app = TestApp::start().await;
    app.deliver();
    let advertiser = app.agent("Advertiser").await;
    let id = program(&app, &advertiser, "Told", "saas", "").await;
    let fan = agent(&app, "Fan", "saas", "").await;
    app.suggest_all().await;
    // Matched again, nothing is new.
    fan.patch(&format!("/api/agents/{}", fan.id()), json!({"description": "Words"})).await.expect(200);
    app.suggest_all().await;
    let to_fan = events(&fan, "match.program_suggested", 1).await;
    let to_advertiser = events(&advertiser, "match.suggested", 1).await;
    assert_eq!((to_fan.len(), to_advertiser.len()), (1, 1));
    let suggestion = id_of(&pending(&fan).await, "Told");
    for (event, to) in [(&to_fan[0], &fan), (&to_advertiser[0], &advertiser)] {
        let object = &event["data"]["object"];
        let object = if object.is_object() { object } else { &event["data"] };
        assert_eq!(
            (&object["id"], &object["agent_id"], &object["program_id"], &object["affiliate_id"]),
            (&json!(suggestion), &json!(to.id()), &json!(id), &json!(fan.id())),
            "{event}"
        );
        assert!(object["reasons"].as_array().unwrap().contains(&json!("Both are about saas")), "{event}");
    }
}

#[tokio::test]
async fn quickstart_answers_with_the_best_two() {
    let app = TestApp::start().await;
    let none = app.anyone().post("/api/quickstart", json!({"name": "First"})).await;
    assert_eq!(
        (&none.expect(201)["pending_suggestions"]["count"], &none.body["pending_suggestions"]["top"]),
        (&json!(0), &json!([]))
    );
    let advertiser = app.agent("Advertiser").await;
    for (name, niche) in [("A", "games"), ("B", "games"), ("C", "toys"), ("D", "saas")] {
        program(&app, &advertiser, name, niche, "").await;
    }
    let body = json!({"name": "Gamer", "niche": "games"});
    let request =
        || app.anyone().request("POST", "/api/quickstart").header("idempotency-key", "gamer-1").json(&body);
    let reply = app.anyone().send(request()).await;
    let suggestions = &reply.expect(201)["pending_suggestions"];
    assert_eq!(
        (&suggestions["count"], &suggestions["action"]),
        (&json!(4), &json!("GET /api/match-suggestions"))
    );
    let top: Vec<_> = suggestions["top"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["program"]["name"].as_str().unwrap())
        .collect();
    assert!(top == ["A", "B"] || top == ["B", "A"], "{suggestions}");
    let gamer = app.with_key(reply.body["api_key"].as_str().unwrap());
    let list = pending(&gamer).await;
    assert_eq!(list["data"][0]["id"], suggestions["top"][0]["id"]);
    assert_eq!(
        app.anyone().send(request()).await.text,
        reply.text,
        "the same request again is the same account"
    );
    // It is not matched a second time by the job.
    app.suggest_all().await;
    assert_eq!(pending(&gamer).await, list);
}
