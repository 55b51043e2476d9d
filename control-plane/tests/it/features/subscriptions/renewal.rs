//! What happens when a paid month is over.

use super::renew;
use crate::harness::{Client, TestApp};
use serde_json::{Value, json};
use std::sync::Arc;

async fn on_wallet(app: &TestApp, dollars: i64) -> Client {
    let agent = app.agent("Subscriber").await;
    agent.post("/api/wallet/topup", json!({"amount": dollars})).await.expect(201);
    agent.post("/api/subscription/pro", json!({"payment": "wallet"})).await.expect(201);
    agent
}

async fn state(agent: &Client) -> (Value, Value, Value) {
    let body = agent.get("/api/subscription").await.body;
    (body["status"].clone(), body["plan"].clone(), body["current_period_end"].clone())
}

#[tokio::test]
async fn each_month_is_paid_once_however_many_workers_there_are() {
    let app = Arc::new(TestApp::start().await);
    let agent = on_wallet(&app, 500).await;
    app.clock.set("2026-08-15T12:00:00Z".parse().unwrap());
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { renew(&app).await })
        })
        .collect();
    let mut handled = 0;
    for worker in workers {
        handled += worker.await.unwrap();
    }
    // June, then July and August: two were due.
    assert_eq!(handled, 2);
    assert_eq!(state(&agent).await, (json!("active"), json!("pro"), json!("2026-09-15T12:00:00.000Z")));
    assert_eq!(agent.get("/api/wallet").await.body["balance"], 203);
    app.audit().await;
}

#[tokio::test]
async fn a_failed_renewal_keeps_pro_for_a_week_and_is_tried_daily() {
    let app = TestApp::start().await;
    let agent = on_wallet(&app, 100).await;
    app.clock.set("2026-07-15T12:00:00Z".parse().unwrap());
    assert_eq!(renew(&app).await, 1);
    assert_eq!(state(&agent).await.0, json!("past_due"));
    let kept = agent.get("/api/subscription").await;
    assert_eq!(
        (&kept.body["plan"], &kept.body["grace_until"]),
        (&json!("pro"), &json!("2026-07-22T12:00:00.000Z"))
    );
    assert_eq!(renew(&app).await, 0, "not before tomorrow");
    app.audit().await;
    agent.post("/api/wallet/topup", json!({"amount": 100})).await.expect(201);
    app.clock.set("2026-07-16T12:00:00Z".parse().unwrap());
    assert_eq!(renew(&app).await, 1);
    // Paid late, the month still ends when it would have.
    assert_eq!(state(&agent).await, (json!("active"), json!("pro"), json!("2026-08-15T12:00:00.000Z")));
    assert_eq!(agent.get("/api/wallet").await.body["balance"], 2);
    app.audit().await;
}

#[tokio::test]
async fn when_the_week_is_over_so_is_pro() {
    let app = TestApp::start().await;
    let agent = on_wallet(&app, 100).await;
    for day in 15..22 {
        app.clock.set(format!("2026-07-{day}T12:00:00Z").parse().unwrap());
        assert_eq!(renew(&app).await, 1);
        assert_eq!(state(&agent).await.0, json!("past_due"), "{day}");
    }
    app.clock.set("2026-07-22T12:00:00Z".parse().unwrap());
    assert_eq!(renew(&app).await, 1);
    assert_eq!(state(&agent).await.0, json!("canceled"));
    assert_eq!(agent.get("/api/agents/me").await.body["tier"], "free");
    assert_eq!(agent.get("/api/wallet").await.body["balance"], 1);
    app.audit().await;
}

#[tokio::test]
async fn the_subscription_of_a_deleted_agent_ends() {
    let app = TestApp::start().await;
    let agent = on_wallet(&app, 500).await;
    sqlx::query("UPDATE agents SET deleted_at = $2 WHERE id = $1")
        .bind(agent.agent_id())
        .bind(app.now())
        .execute(app.app.db())
        .await
        .unwrap();
    app.clock.set("2026-07-15T12:00:00Z".parse().unwrap());
    assert_eq!(renew(&app).await, 1);
    let status: String =
        sqlx::query_scalar("SELECT status FROM subscriptions").fetch_one(app.app.db()).await.unwrap();
    assert_eq!(status, "canceled");
    app.audit().await;
}
