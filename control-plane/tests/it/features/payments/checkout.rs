//! A top-up from request to credited wallet, and what happens when Stripe does not answer.

use super::{Shop, account, balance};
use crate::harness::{Answer, Receiver, TestApp};
use chrono::TimeDelta;
use control_plane::features::payments::stripe::{apply, recover};
use serde_json::json;

#[tokio::test]
async fn a_wallet_cannot_fill_itself_from_a_card_and_says_so() {
    let shop = Shop::open().await;
    let agent = shop.app.agent("Careless").await;
    let wish = json!({"auto_topup": {"threshold": 5, "amount": 20}});
    let refused = agent.patch("/api/wallet", wish).await;
    assert!(refused.is_error(400, "invalid_value").contains("POST /api/wallet/topup"), "{refused}");
    assert_eq!(refused.body["field"], "auto_topup");
    // The rest of the settings can be changed, and an old wish be cleared.
    let settings = json!({"auto_topup": null, "monthly_spend_cap": 10});
    let changed = agent.patch("/api/wallet", settings).await;
    assert_eq!(changed.expect(200)["auto_topup"]["enabled"], false);
}

#[tokio::test]
async fn show_4_a_top_up_from_request_to_credited_wallet_through_checkout() {
    let shop = Shop::open().await;
    let agent = shop.app.agent("Payer").await;
    assert_eq!(agent.get("/api/wallet").await.body["provider"], "stripe");
    let started = agent.post("/api/wallet/topup", json!({"amount": 20})).await;
    let topup = started.expect(201).clone();
    assert_eq!(
        (&topup["status"], &topup["provider"], &topup["sandbox"], &topup["balance"]),
        (&json!("pending"), &json!("stripe"), &json!(false), &json!(0))
    );
    let page = topup["checkout_url"].as_str().unwrap();
    assert_eq!(shop.pay(page).await, 302, "the page sends the person back");
    let path = format!("/api/wallet/topups/{}", topup["id"].as_str().unwrap());
    let paid = agent.get(&path).await;
    assert_eq!((&paid.body["status"], &paid.body["balance"]), (&json!("paid"), &json!(20)), "{paid}");
    let moved = agent.get("/api/wallet/transactions").await;
    assert_eq!(moved.body["pagination"]["total"], 1);
    assert_eq!(
        (&moved.body["data"][0]["kind"], &moved.body["data"][0]["amount"]),
        (&json!("topup"), &json!(20))
    );
    println!("top-up: 201 pending -> pay page -> {}; wallet {}", paid.body["status"], paid.body["balance"]);
    shop.app.audit().await;
}

#[tokio::test]
async fn the_same_request_is_one_top_up_and_one_page() {
    let shop = Shop::open().await;
    let agent = shop.app.agent("Payer").await;
    let send = |amount: i64| {
        let request = agent.request("POST", "/api/wallet/topup").header("idempotency-key", "once");
        agent.send(request.json(&json!({"amount": amount})))
    };
    let first = send(20).await.expect(201).clone();
    let again = send(20).await;
    assert_eq!((again.expect(201), again.headers.contains_key("idempotent-replayed")), (&first, true));
    send(25).await.is_error(409, "idempotency_key_reused");
    shop.pay(first["checkout_url"].as_str().unwrap()).await;
    assert_eq!(balance(&agent).await, json!([20, 0]));
    // What was paid is looked at, not paid again.
    assert_eq!(send(20).await.expect(201), &first);
    shop.app.audit().await;
}

#[tokio::test]
async fn a_payment_whose_event_never_came_is_looked_up() {
    let shop = Shop::open_signing_with("whsec_of_another_endpoint").await;
    let app = &shop.app;
    let agent = app.agent("Payer").await;
    let paid = agent.post("/api/wallet/topup", json!({"amount": 20})).await.expect(201).clone();
    let left = agent.post("/api/wallet/topup", json!({"amount": 5})).await.expect(201).clone();
    shop.pay(paid["checkout_url"].as_str().unwrap()).await;
    assert_eq!(balance(&agent).await, json!([0, 0]), "its event was refused");
    let look = || recover::job(app.app.clone());
    look().await.unwrap();
    assert_eq!(balance(&agent).await, json!([0, 0]), "events take a while; nobody looks at once");
    app.clock.advance(TimeDelta::minutes(11));
    look().await.unwrap();
    look().await.unwrap();
    assert_eq!(balance(&agent).await, json!([20, 0]));
    // A page that Stripe closed is over.
    let session: String = sqlx::query_scalar("SELECT provider_ref FROM topups WHERE id = $1::UUID")
        .bind(left["id"].as_str())
        .fetch_one(app.app.db())
        .await
        .unwrap();
    let close = format!("{}/v1/checkout/sessions/{session}/expire", shop.emulate.origin);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(http.post(close).bearer_auth("sk_test_12345").send().await.unwrap().status(), 200);
    app.clock.advance(TimeDelta::minutes(11));
    look().await.unwrap();
    let path = format!("/api/wallet/topups/{}", left["id"].as_str().unwrap());
    assert_eq!(agent.get(&path).await.body["status"], "expired");
    app.audit().await;
}

#[tokio::test]
async fn events_are_forgotten_after_ninety_days() {
    let shop = Shop::open().await;
    let app = &shop.app;
    let agent = app.agent("Payer").await;
    let paid = agent.post("/api/wallet/topup", json!({"amount": 20})).await.expect(201).clone();
    shop.pay(paid["checkout_url"].as_str().unwrap()).await;
    let kept = async || {
        let count = "SELECT count(*) FROM stripe_events";
        sqlx::query_scalar::<_, i64>(count).fetch_one(app.app.db()).await.unwrap()
    };
    app.clock.advance(TimeDelta::days(89));
    apply::forget_job(app.app.clone()).await.unwrap();
    assert_eq!(kept().await, 1);
    app.clock.advance(TimeDelta::days(2));
    apply::forget_job(app.app.clone()).await.unwrap();
    assert_eq!(kept().await, 0);
}

#[tokio::test]
async fn an_unknown_outcome_is_asked_again_with_the_same_key() {
    let stripe = Receiver::start().await;
    let base = stripe.url("");
    let app = TestApp::start_with(|config| config.stripe = Some(account(&base))).await;
    let agent = app.agent("Payer").await;
    stripe.answers(|_| Answer::Status(500));
    let send = || {
        let request = agent.request("POST", "/api/wallet/topup").header("idempotency-key", "mine");
        agent.send(request.json(&json!({"amount": 20})))
    };
    let lost = send().await;
    lost.is_error(503, "unavailable");
    assert_eq!(lost.headers["retry-after"], "5");
    send().await.is_error(503, "unavailable");
    let calls = stripe.received();
    assert_eq!(calls.len(), 6, "three tries for each request");
    let key = calls[0].header("idempotency-key").to_owned();
    assert!(key.starts_with("topup:"), "{key}");
    for call in &calls {
        assert_eq!(call.path, "/v1/checkout/sessions");
        assert_eq!(call.header("idempotency-key"), key, "the same key for the same top-up");
        assert_eq!(call.header("stripe-version"), "2026-10-28.endive");
        assert_eq!(call.header("authorization"), "Bearer sk_test_12345");
        let form = String::from_utf8(call.body.to_vec()).unwrap();
        assert!(form.contains("line_items%5B0%5D%5Bquantity%5D=4"), "four times $5: {form}");
    }
    // Without a key of the caller's, another request is another top-up.
    stripe.answers(|_| Answer::Status(400));
    agent.post("/api/wallet/topup", json!({"amount": 20})).await.is_error(503, "unavailable");
    let calls = stripe.received();
    assert_eq!(calls.len(), 7, "a refusal is not tried again");
    assert_ne!(calls[6].header("idempotency-key"), key);
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT status, count(*) FROM topups GROUP BY status ORDER BY status")
            .fetch_all(app.app.db())
            .await
            .unwrap();
    assert_eq!(rows, [("failed".to_owned(), 1), ("pending".to_owned(), 1)]);
    assert_eq!(balance(&agent).await, json!([0, 0]));
    app.audit().await;
}
