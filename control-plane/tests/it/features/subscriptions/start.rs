//! `POST /api/subscription/pro`, `GET` and `DELETE /api/subscription`.

use super::renew;
use crate::harness::TestApp;
use serde_json::json;

const JULY_15: &str = "2026-07-15T12:00:00.000Z";

#[tokio::test]
async fn the_sandbox_starts_pro_at_once() {
    let app = TestApp::start().await;
    let agent = app.agent("Upgrader").await;
    let none = agent.get("/api/subscription").await;
    assert_eq!(
        (&none.expect(200)["plan"], &none.body["status"], &none.body["upgrade_url"]),
        (&json!("free"), &json!("none"), &json!("POST /api/subscription/pro"))
    );
    agent.delete("/api/subscription").await.is_error(404, "not_found");
    let started = agent.post("/api/subscription/pro", json!({})).await;
    let body = started.expect(201);
    assert_eq!(
        (&body["plan"], &body["status"], &body["price"], &body["sandbox"], &body["payment"]),
        (&json!("pro"), &json!("active"), &json!(99), &json!(true), &json!("sandbox"))
    );
    assert_eq!(body["current_period_end"], JULY_15);
    assert_eq!(agent.get("/api/subscription").await.expect(200), body);
    assert_eq!(agent.get("/api/agents/me").await.body["tier"], "pro");
    agent.post("/api/subscription/pro", json!({})).await.is_error(409, "already_active");
    // The wallet is not part of it.
    assert_eq!(agent.get("/api/wallet").await.body["balance"], 0);
    app.audit().await;
}

#[tokio::test]
async fn paid_from_the_wallet_it_takes_the_price_or_nothing() {
    let app = TestApp::start().await;
    let agent = app.agent("Upgrader").await;
    agent.post("/api/wallet/topup", json!({"amount": 95})).await.expect(201);
    let short = agent.post("/api/subscription/pro", json!({"payment": "wallet"})).await;
    short.is_error(402, "insufficient_credits");
    assert_eq!((&short.body["price"], &short.body["balance"]), (&json!(99), &json!(95)));
    assert_eq!(agent.get("/api/subscription").await.body["status"], "none");
    agent.post("/api/wallet/topup", json!({"amount": 5})).await.expect(201);
    let started = agent.post("/api/subscription/pro", json!({"payment": "wallet"})).await;
    assert_eq!(
        (&started.expect(201)["payment"], &started.body["sandbox"]),
        (&json!("wallet"), &json!(false))
    );
    assert_eq!(agent.get("/api/wallet").await.body["balance"], 1);
    app.audit().await;
}

#[tokio::test]
async fn cancelled_it_runs_to_its_end_and_can_be_taken_up_again() {
    let app = TestApp::start().await;
    let agent = app.agent("Leaver").await;
    agent.post("/api/subscription/pro", json!({})).await.expect(201);
    for _ in 0..2 {
        let ending = agent.delete("/api/subscription").await;
        assert_eq!(
            (&ending.expect(200)["status"], &ending.body["cancel_at_period_end"], &ending.body["plan"]),
            (&json!("active"), &json!(true), &json!("pro"))
        );
    }
    let resumed = agent.post("/api/subscription/pro", json!({})).await;
    assert_eq!(resumed.expect(200)["cancel_at_period_end"], false);
    agent.delete("/api/subscription").await.expect(200);
    app.clock.set("2026-07-15T11:59:59.999Z".parse().unwrap());
    assert_eq!(renew(&app).await, 0);
    assert_eq!(agent.get("/api/agents/me").await.body["tier"], "pro");
    app.clock.set("2026-07-15T12:00:00Z".parse().unwrap());
    assert_eq!(renew(&app).await, 1);
    let over = agent.get("/api/subscription").await;
    assert_eq!((&over.body["status"], &over.body["ended_at"]), (&json!("canceled"), &json!(JULY_15)));
    assert_eq!(agent.get("/api/agents/me").await.body["tier"], "free");
    agent.delete("/api/subscription").await.is_error(404, "not_found");
    let anew = agent.post("/api/subscription/pro", json!({})).await;
    assert_ne!(anew.expect(201)["id"], over.body["id"]);
    app.audit().await;
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let app = TestApp::start().await;
    let agent = app.agent("Upgrader").await;
    for bad in [json!({"payment": "cash"}), json!({"plan": "pro"}), json!([])] {
        agent.post("/api/subscription/pro", bad).await.is_error(400, "invalid_value");
    }
    // No body at all is fine too.
    agent.send(agent.request("POST", "/api/subscription/pro")).await.expect(201);
    let anyone = app.anyone();
    for (method, path) in
        [("POST", "/api/subscription/pro"), ("GET", "/api/subscription"), ("DELETE", "/api/subscription")]
    {
        anyone.send(anyone.request(method, path)).await.is_error(401, "api_key_missing");
    }
    let stranger = app.agent("Stranger").await;
    assert_eq!(stranger.get("/api/subscription").await.body["status"], "none");
    stranger.delete("/api/subscription").await.is_error(404, "not_found");
}

#[tokio::test]
async fn thirty_two_at_once_start_one_and_pay_once() {
    let app = TestApp::start().await;
    let agent = app.agent("Upgrader").await;
    agent.post("/api/wallet/topup", json!({"amount": 500})).await.expect(201);
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let agent = agent.clone();
            tokio::spawn(
                async move { agent.post("/api/subscription/pro", json!({"payment": "wallet"})).await },
            )
        })
        .collect();
    let mut started = 0;
    for task in tasks {
        let reply = task.await.unwrap();
        if reply.status == 201 {
            started += 1;
        } else {
            reply.is_error(409, "already_active");
        }
    }
    assert_eq!((started, &agent.get("/api/wallet").await.body["balance"]), (1, &json!(401)));
    app.audit().await;
}
