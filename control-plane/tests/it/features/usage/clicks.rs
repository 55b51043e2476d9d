//! `usage::ops::meter_clicks`: clicks are never refused; what nothing covers is counted and not billed.

use crate::harness::{Client, TestApp};
use chrono::NaiveDate;
use control_plane::features::usage::ops::{self, ClickUse};
use serde_json::{Value, json};
use std::sync::Arc;

const JUNE: NaiveDate = NaiveDate::from_ymd_opt(2026, 6, 1).expect("a day");
const JULY: NaiveDate = NaiveDate::from_ymd_opt(2026, 7, 1).expect("a day");

async fn meter(app: &TestApp, uses: &[(i32, NaiveDate, i64)]) {
    let uses: Vec<_> = uses
        .iter()
        .map(|&(advertiser, month, count)| ClickUse { advertiser, month, count, late: 0 })
        .collect();
    let mut tx = app.app.begin().await.unwrap();
    ops::meter_clicks(&mut tx, app.now(), &uses, &[]).await.unwrap();
    tx.commit().await.unwrap();
}

async fn counts(app: &TestApp, number: i32, month: NaiveDate) -> (i64, i64, i64, i64, i64) {
    sqlx::query_as(
        "SELECT used, included, billed, over_limit, amount_micros
           FROM usage_months WHERE advertiser = $1 AND month = $2 AND metric = 'clicks'",
    )
    .bind(number)
    .bind(month)
    .fetch_one(app.app.db())
    .await
    .unwrap()
}

async fn funded(app: &TestApp, name: &str, amount: i64) -> (Client, i32) {
    let agent = app.agent(name).await;
    agent.post("/api/wallet/topup", json!({"amount": amount})).await.expect(201);
    let number = app.number(&agent).await;
    (agent, number)
}

async fn balance(agent: &Client) -> Value {
    agent.get("/api/wallet").await.body["balance"].clone()
}

#[tokio::test]
async fn click_10_001_of_a_month_for_an_unfunded_a_funded_and_a_pro_agent() {
    let app = TestApp::start().await;
    let unfunded = app.agent("Unfunded").await;
    let unfunded = app.number(&unfunded).await;
    let (payer, paying) = funded(&app, "Funded", 5).await;
    let (pro_agent, pro) = funded(&app, "Pro", 5).await;
    app.set_tier(&pro_agent, "pro").await;
    meter(&app, &[(unfunded, JUNE, 10_000), (paying, JUNE, 10_000), (pro, JUNE, 10_000)]).await;
    meter(&app, &[(pro, JUNE, 1), (paying, JUNE, 1), (unfunded, JUNE, 1)]).await;
    assert_eq!(counts(&app, unfunded, JUNE).await, (10_001, 10_000, 0, 1, 0));
    assert_eq!(counts(&app, paying, JUNE).await, (10_001, 10_000, 1, 0, 2_000));
    assert_eq!(counts(&app, pro, JUNE).await, (10_001, 10_001, 0, 0, 0));
    assert_eq!(balance(&payer).await, json!(4.998));
    meter(&app, &[(pro, JUNE, 489_999 + 10)]).await;
    assert_eq!(counts(&app, pro, JUNE).await, (500_010, 500_000, 10, 0, 10_000));
    assert_eq!(balance(&pro_agent).await, json!(4.99));
    app.audit_books().await;
}

#[tokio::test]
async fn one_batch_divides_over_allowance_wallet_and_limit() {
    let app = TestApp::start().await;
    let (agent, number) = funded(&app, "Payer", 5).await;
    // $5 pays for 2,500.
    meter(&app, &[(number, JUNE, 9_000), (number, JUNE, 4_000)]).await;
    assert_eq!(counts(&app, number, JUNE).await, (13_000, 10_000, 2_500, 500, 5_000_000));
    assert_eq!(balance(&agent).await, json!(0));
    meter(&app, &[(number, JUNE, 7)]).await;
    assert_eq!(counts(&app, number, JUNE).await, (13_007, 10_000, 2_500, 507, 5_000_000));
    app.audit_books().await;
}

#[tokio::test]
async fn two_months_in_one_batch_share_the_wallet_and_not_the_allowance() {
    let app = TestApp::start().await;
    let (agent, number) = funded(&app, "Payer", 5).await;
    meter(&app, &[(number, JULY, 11_500), (number, JUNE, 12_000)]).await;
    assert_eq!(counts(&app, number, JUNE).await, (12_000, 10_000, 2_000, 0, 4_000_000));
    assert_eq!(counts(&app, number, JULY).await, (11_500, 10_000, 500, 1_000, 1_000_000));
    assert_eq!(balance(&agent).await, json!(0));
    app.audit_books().await;
}

#[tokio::test]
async fn a_change_of_plan_in_mid_month_keeps_what_was_used() {
    let app = TestApp::start().await;
    let (agent, number) = funded(&app, "Mover", 5).await;
    meter(&app, &[(number, JUNE, 10_100)]).await;
    app.set_tier(&agent, "pro").await;
    meter(&app, &[(number, JUNE, 20_000)]).await;
    assert_eq!(counts(&app, number, JUNE).await, (30_100, 30_000, 100, 0, 200_000));
    app.set_tier(&agent, "free").await;
    meter(&app, &[(number, JUNE, 100)]).await;
    assert_eq!(counts(&app, number, JUNE).await, (30_200, 30_000, 200, 0, 400_000));
    app.audit_books().await;
}

#[tokio::test]
async fn a_spend_cap_counts_clicks_and_requests_together() {
    let app = TestApp::start().await;
    let (agent, number) = funded(&app, "Careful", 20).await;
    agent.patch("/api/wallet", json!({"monthly_spend_cap": 1.001})).await.expect(200);
    meter(&app, &[(number, JUNE, 10_300)]).await;
    assert_eq!(counts(&app, number, JUNE).await, (10_300, 10_000, 300, 0, 600_000));
    meter(&app, &[(number, JUNE, 300)]).await;
    assert_eq!(counts(&app, number, JUNE).await, (10_600, 10_000, 500, 100, 1_000_000));
    // Another month has a cap of its own.
    meter(&app, &[(number, JULY, 10_001)]).await;
    assert_eq!(counts(&app, number, JULY).await, (10_001, 10_000, 1, 0, 2_000));
    app.audit_books().await;
}

#[tokio::test]
async fn clicks_of_nobody_do_not_stop_the_others() {
    let app = TestApp::start().await;
    let (_, number) = funded(&app, "Payer", 5).await;
    meter(&app, &[(i32::MAX, JUNE, 5), (number, JUNE, 5), (-1, JUNE, 5), (number, JUNE, 0)]).await;
    assert_eq!(counts(&app, number, JUNE).await.0, 5);
    meter(&app, &[]).await;
    app.audit_books().await;
}

#[tokio::test]
async fn opposed_batches_at_once_neither_deadlock_nor_overdraw() {
    let app = Arc::new(TestApp::start().await);
    let mut numbers = Vec::new();
    let mut agents = Vec::new();
    for name in ["A", "B", "C", "D"] {
        let (agent, number) = funded(&app, name, 5).await;
        agents.push(agent);
        numbers.push(number);
    }
    let all: Vec<_> = numbers.iter().map(|number| (*number, JUNE, 10_000)).collect();
    meter(&app, &all).await;
    let tasks: Vec<_> = (0..24)
        .map(|turn| {
            let app = app.clone();
            let mut uses: Vec<_> = numbers.iter().map(|number| (*number, JUNE, 150)).collect();
            if turn % 2 == 0 {
                uses.reverse();
            }
            tokio::spawn(async move { meter(&app, &uses).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for (agent, number) in agents.iter().zip(&numbers) {
        assert_eq!(counts(&app, *number, JUNE).await, (13_600, 10_000, 2_500, 1_100, 5_000_000));
        assert_eq!(balance(agent).await, json!(0));
    }
    app.audit_books().await;
}
