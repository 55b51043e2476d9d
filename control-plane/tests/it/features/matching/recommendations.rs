//! `GET /api/network/recommendations/:agent_id`: what is in it, what is not, and what it costs.

use super::{agent, names, program, used};
use crate::harness::{Client, TestApp};
use chrono::TimeDelta;
use serde_json::{Value, json};

/// An agent about saas, and programs of which one is made for it.
async fn market(app: &TestApp) -> Client {
    let advertiser = app.agent("Advertiser").await;
    program(app, &advertiser, "Plush toys", "toys", "Soft bears for children").await;
    program(app, &advertiser, "Invoice robot", "saas", "Invoices and bookkeeping for founders").await;
    program(app, &advertiser, "Ledger lines", "saas", "A newsletter").await;
    agent(app, "Reviewer", "SaaS", "I review bookkeeping and invoice software for founders").await
}

fn path(agent: &Client) -> String {
    format!("/api/network/recommendations/{}", agent.id())
}

#[tokio::test]
async fn the_program_that_suits_comes_first_with_its_reasons() {
    let app = TestApp::start().await;
    let reviewer = market(&app).await;
    let reply = reviewer.get(&path(&reviewer)).await;
    assert_eq!(names(reply.expect(200)), ["Invoice robot", "Ledger lines", "Plush toys"], "{reply}");
    let first = &reply.body["data"][0];
    let reasons: Vec<&str> =
        first["reasons"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(reasons[..2], ["Both are about SaaS", "Both reach b2b"]);
    assert_eq!(reasons[2], "Shared words: bookkeeping, founders, invoice");
    assert!(first["score"].as_f64().unwrap() > 0.5, "{first}");
    assert!(reply.body["data"].as_array().unwrap().iter().all(|one| {
        let score = one["score"].as_f64().unwrap();
        (0.0..=1.0).contains(&score) && !one["reasons"].as_array().unwrap().is_empty()
    }));
    assert!(reply.body["untrusted"].as_str().unwrap().contains("written by other parties"));
    assert_eq!(reply.body["hint"], Value::Null);
    let toys = reviewer.get(&format!("{}?niche=TOYS&limit=1", path(&reviewer))).await;
    assert_eq!(names(toys.expect(200)), ["Plush toys"]);
    let fixed = reviewer.get(&format!("{}?commission_type=fixed", path(&reviewer))).await;
    assert_eq!(fixed.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn own_joined_declined_and_closed_programs_are_left_out() {
    let app = TestApp::start().await;
    let reviewer = market(&app).await;
    let other = app.agent("Other").await;
    program(&app, &reviewer, "My own", "saas", "Invoice software").await;
    let joined = program(&app, &other, "Joined", "saas", "Invoice software").await;
    let paused = program(&app, &other, "Paused", "saas", "Invoice software").await;
    app.joined(&reviewer, &joined).await;
    other.post(&format!("/api/programs/{paused}/pause"), json!({})).await.expect(200);
    app.suggest_all().await;
    let pending = reviewer.get("/api/match-suggestions").await;
    let robot = pending.expect(200)["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["program"]["name"] == "Invoice robot");
    let id = robot.unwrap()["id"].as_str().unwrap().to_owned();
    reviewer
        .patch(&format!("/api/match-suggestions/{id}/respond"), json!({"decision": "decline"}))
        .await
        .expect(200);
    let reply = reviewer.get(&path(&reviewer)).await;
    assert_eq!(names(reply.expect(200)), ["Ledger lines", "Plush toys"]);
}

#[tokio::test]
async fn a_question_is_charged_once_in_ten_minutes() {
    let app = TestApp::start().await;
    let reviewer = market(&app).await;
    let ask = async |query: &str| reviewer.get(&format!("{}{query}", path(&reviewer))).await;
    let first = ask("").await;
    assert_eq!(first.expect(200)["charge"], json!({"amount": 0, "currency": "usd", "counted": true}));
    assert_eq!(first.headers["x-charged"], "0");
    for again in ["", "?limit=1", "?limit=50"] {
        assert_eq!(ask(again).await.expect(200)["charge"]["counted"], false, "{again}");
    }
    assert_eq!(used(&reviewer).await, 1);
    // Another question counts, one that finds nothing does not.
    assert_eq!(ask("?niche=saas").await.expect(200)["charge"]["counted"], true);
    assert_eq!(ask("?niche=SAAS").await.expect(200)["charge"]["counted"], false);
    assert_eq!(ask("?niche=nothing").await.expect(200)["charge"]["counted"], false);
    assert_eq!(used(&reviewer).await, 2);
    app.clock.advance(TimeDelta::minutes(10) - TimeDelta::milliseconds(1));
    assert_eq!(ask("").await.expect(200)["charge"]["counted"], false);
    app.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(ask("").await.expect(200)["charge"]["counted"], true);
    assert_eq!(used(&reviewer).await, 3);
    app.audit().await;
}

async fn use_allowance_up(app: &TestApp, agent: &Client) {
    sqlx::query(
        "INSERT INTO usage_months (advertiser, month, metric, used, included)
         VALUES ($1, '2026-06-01', 'matching_requests', 50, 50)",
    )
    .bind(app.number(agent).await)
    .execute(app.app.db())
    .await
    .unwrap();
}

#[tokio::test]
async fn beyond_the_allowance_it_costs_five_cents() {
    let app = TestApp::start().await;
    let reviewer = market(&app).await;
    use_allowance_up(&app, &reviewer).await;
    let refused = reviewer.get(&path(&reviewer)).await;
    refused.is_error(402, "free_tier_limit_reached");
    assert!(!refused.headers.contains_key("x-charged"));
    assert_eq!(used(&reviewer).await, 50, "a refused request costs nothing");
    assert_eq!(
        reviewer.get(&format!("{}?niche=nothing", path(&reviewer))).await.expect(200)["data"],
        json!([]),
        "what finds nothing needs no money"
    );
    reviewer.post("/api/wallet/topup", json!({"amount": 5})).await.expect(201);
    let paid = reviewer.get(&path(&reviewer)).await;
    assert_eq!(paid.expect(200)["charge"], json!({"amount": 0.05, "currency": "usd", "counted": true}));
    assert_eq!(paid.headers["x-charged"], "0.05");
    assert_eq!(reviewer.get("/api/wallet").await.expect(200)["balance"], 4.95);
    assert_eq!(reviewer.get(&path(&reviewer)).await.headers["x-charged"], "0");
    assert_eq!(reviewer.get("/api/wallet").await.expect(200)["balance"], 4.95);
    app.audit().await;
}

#[tokio::test]
async fn eight_at_once_are_charged_once() {
    let app = TestApp::start().await;
    let reviewer = market(&app).await;
    use_allowance_up(&app, &reviewer).await;
    reviewer.post("/api/wallet/topup", json!({"amount": 5})).await.expect(201);
    let path = path(&reviewer);
    let replies = futures_util::future::join_all((0..8).map(|_| reviewer.get(&path))).await;
    let charged: Vec<&str> =
        replies.iter().map(|reply| reply.headers["x-charged"].to_str().unwrap()).collect();
    assert_eq!(charged.iter().filter(|amount| **amount == "0.05").count(), 1, "{charged:?}");
    assert_eq!(charged.iter().filter(|amount| **amount == "0").count(), 7, "{charged:?}");
    assert_eq!(reviewer.get("/api/wallet").await.expect(200)["balance"], 4.95);
    app.audit().await;
}

#[tokio::test]
async fn refusals() {
    let app = TestApp::start().await;
    let reviewer = market(&app).await;
    let stranger = app.agent("Stranger").await;
    app.anyone().get(&path(&reviewer)).await.is_error(401, "api_key_missing");
    stranger.get(&path(&reviewer)).await.is_error(403, "not_owner");
    reviewer.get("/api/network/recommendations/x").await.is_error(400, "invalid_id");
    let nobody = "018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10";
    reviewer.get(&format!("/api/network/recommendations/{nobody}")).await.is_error(404, "not_found");
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=51", "limit"),
        ("niche=%E2%80%AEx", "niche"),
        ("commission_type=both", "commission_type"),
        ("nich=x", "nich"),
    ] {
        let reply = reviewer.get(&format!("{}?{query}", path(&reviewer))).await;
        reply.is_error(400, "invalid_value");
        assert_eq!(reply.body["field"], field, "{reply}");
    }
    assert_eq!(used(&reviewer).await, 0);
}
