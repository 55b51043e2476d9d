//! Requests that lose a race in Postgres.

use crate::harness::TestApp;
use serde_json::json;
use std::time::Duration;

/// Somebody locks two accounts the other way round and never gives way, so that the request is the one
/// Postgres ends.
#[tokio::test]
async fn f37_a_request_that_loses_a_deadlock_is_run_again() {
    let app = TestApp::start().await;
    let agent = app.agent("Payer").await;
    agent.post("/api/wallet/topup", json!({"amount": 5})).await.expect(201);
    let accounts: Vec<uuid::Uuid> = sqlx::query_scalar("SELECT id FROM ledger_accounts ORDER BY id")
        .fetch_all(app.app.db())
        .await
        .unwrap();
    let (first, last) = (accounts[0], accounts[accounts.len() - 1]);
    assert_ne!(first, last, "a top-up moves money between two accounts");
    let mut rival = app.app.db_worker().begin().await.unwrap();
    sqlx::query("SET LOCAL deadlock_timeout = '60s'").execute(&mut *rival).await.unwrap();
    let lock = "SELECT 1 FROM ledger_accounts WHERE id = $1 FOR UPDATE";
    sqlx::query(lock).bind(last).execute(&mut *rival).await.unwrap();
    let request = {
        let agent = agent.clone();
        tokio::spawn(async move { agent.post("/api/wallet/topup", json!({"amount": 10})).await })
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let waits = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(app.app.db_worker()).await.unwrap() == 0 {
        assert!(tokio::time::Instant::now() < deadline, "the request does not wait for the rival");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sqlx::query(lock).bind(first).execute(&mut *rival).await.unwrap();
    rival.rollback().await.unwrap();
    assert_eq!(request.await.unwrap().expect(201)["balance"], json!(15));
    let logged = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    // The sessions' counts reach the view with a delay of their own.
    while sqlx::query_scalar::<_, i64>(logged).fetch_one(app.app.db_worker()).await.unwrap() == 0 {
        assert!(tokio::time::Instant::now() < deadline, "there was no deadlock");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    app.audit().await;
}
