//! What the database refuses, though it is the owner of the tables that asks.

use crate::harness::TestApp;
use control_plane::db;
use serde_json::json;
use sqlx::AssertSqlSafe;

/// Runs a statement that must fail, in a transaction of its own, and gives its reason.
async fn refused(app: &TestApp, sql: &str) -> String {
    let mut tx = app.app.begin().await.unwrap();
    let error = sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await.expect_err(sql);
    db::violated(&error).map_or_else(|| error.to_string(), str::to_owned)
}

#[tokio::test]
async fn transfers_never_change_and_balances_only_by_transfers() {
    let app = TestApp::start().await;
    let agent = app.agent("Payer").await;
    agent.post("/api/wallet/topup", json!({"amount": 20})).await.expect(201);
    for (sql, reason) in [
        ("UPDATE ledger_transfers SET amount_micros = 1", "ledger_transfers_immutable"),
        ("UPDATE ledger_transfers SET kind = kind", "ledger_transfers_immutable"),
        ("DELETE FROM ledger_transfers", "ledger_transfers_immutable"),
        ("TRUNCATE ledger_transfers", "ledger_transfers_immutable"),
        ("UPDATE ledger_accounts SET balance_micros = 1", "ledger_accounts_immutable"),
        ("UPDATE ledger_accounts SET kind = 'pro' WHERE kind = 'wallet'", "ledger_accounts_immutable"),
        ("DELETE FROM ledger_accounts", "ledger_accounts_immutable"),
        ("TRUNCATE ledger_accounts CASCADE", "ledger_accounts_immutable"),
        (
            "INSERT INTO ledger_accounts (id, owner_id, kind, currency, balance_micros, created_at)
             SELECT gen_random_uuid(), id, 'held', 'usd', 5, now() FROM agents",
            "ledger_accounts_immutable",
        ),
    ] {
        assert_eq!(refused(&app, sql).await, reason, "{sql}");
    }
    app.audit().await;
}

#[tokio::test]
async fn a_transfer_written_past_the_door_is_refused_too() {
    let app = TestApp::start().await;
    let agent = app.agent("Payer").await;
    agent.post("/api/wallet/topup", json!({"amount": 20})).await.expect(201);
    // The last $20 once more, in every shape that is wrong.
    let insert = |columns: &str| {
        format!(
            "INSERT INTO ledger_transfers
             SELECT (jsonb_populate_record(t, jsonb_build_object('id', gen_random_uuid(), 'reference', 'x') || {columns})).*
               FROM ledger_transfers AS t"
        )
    };
    for (columns, reason) in [
        ("'{\"amount_micros\": 0}'", "ledger_transfers_amount_micros_check"),
        ("'{\"amount_micros\": -5}'", "ledger_transfers_amount_micros_check"),
        ("'{\"amount_micros\": 2000000000000000}'", "ledger_transfers_amount_micros_check"),
        ("jsonb_build_object('debit_account', t.credit_account)", "ledger_transfers_accounts_check"),
        ("'{\"quantity\": 3}'", "ledger_transfers_metered_check"),
        (
            "'{\"quantity\": 3, \"unit_micros\": 7, \"month\": \"2026-06-01\"}'",
            "ledger_transfers_metered_check",
        ),
        ("'{}'", "ledger_transfers_debit_account_version_key"),
    ] {
        assert_eq!(refused(&app, &insert(columns)).await, reason, "{columns}");
    }
    let next = "'{\"debit_version\": 2, \"credit_version\": 2}'";
    assert!(refused(&app, &insert(next)).await.contains("does not continue its debit account"));
    app.audit().await;
}

#[tokio::test]
async fn a_wallet_below_zero_is_refused_by_its_constraint() {
    let app = TestApp::start().await;
    let agent = app.agent("Payer").await;
    agent.post("/api/wallet/topup", json!({"amount": 5})).await.expect(201);
    let mut tx = app.app.begin().await.unwrap();
    // With the guards gone, the constraint is still there.
    for sql in
        ["ALTER TABLE ledger_accounts DISABLE TRIGGER USER", "UPDATE ledger_accounts SET balance_micros = 0"]
    {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap();
    }
    let error = sqlx::query("UPDATE ledger_accounts SET balance_micros = -1 WHERE kind = 'wallet'")
        .execute(&mut *tx)
        .await
        .unwrap_err();
    assert_eq!(db::violated(&error), Some("ledger_accounts_balance_micros_check"));
}

#[tokio::test]
async fn the_audit_finds_what_was_tampered_with() {
    let app = TestApp::start().await;
    let agent = app.agent("Payer").await;
    for _ in 0..3 {
        agent.post("/api/wallet/topup", json!({"amount": 20})).await.expect(201);
    }
    let mut tx = app.app.begin().await.unwrap();
    for sql in [
        "ALTER TABLE ledger_transfers DISABLE TRIGGER USER",
        "UPDATE ledger_transfers SET amount_micros = 10000000 WHERE debit_version = 2",
    ] {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap();
    }
    let broken = control_plane::features::audit::ops::broken(&mut tx).await.unwrap();
    let mut names: Vec<_> = broken.iter().map(|broken| broken.check).collect();
    names.dedup();
    assert_eq!(names, ["I2", "I4", "I22a"], "{broken:?}");
    drop(tx);
    app.audit().await;
}
