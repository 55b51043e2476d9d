//! `GET /api/wallet/transactions`.

use crate::harness::TestApp;
use serde_json::json;

#[tokio::test]
async fn pages_are_stable_filtered_and_newest_first() {
    let app = TestApp::start().await;
    let agent = app.agent("Payer").await;
    for amount in [5, 10, 15, 20, 25] {
        agent.post("/api/wallet/topup", json!({"amount": amount})).await.expect(201);
    }
    let page = agent.get("/api/wallet/transactions?page=1&per_page=2").await;
    let body = page.expect(200);
    assert_eq!(body["pagination"], json!({"page": 1, "per_page": 2, "total": 5, "total_pages": 3}));
    let newest = &body["data"][0];
    assert_eq!(
        (&newest["type"], &newest["kind"], &newest["amount"], &newest["balance_after"]),
        (&json!("credit"), &json!("topup"), &json!(25), &json!(75))
    );
    let mut seen = Vec::new();
    for number in 1..=3 {
        let page = agent.get(&format!("/api/wallet/transactions?page={number}&per_page=2")).await;
        seen.extend(page.expect(200)["data"].as_array().unwrap().iter().map(|row| row["amount"].clone()));
    }
    assert_eq!(seen, [25, 20, 15, 10, 5]);
    let credits = agent.get("/api/wallet/transactions?type=credit").await;
    assert_eq!(credits.expect(200)["pagination"]["total"], 5);
    let debits = agent.get("/api/wallet/transactions?page=1&per_page=20&type=debit").await;
    assert_eq!(
        *debits.expect(200),
        json!({"data": [], "pagination": {"page": 1, "per_page": 20, "total": 0, "total_pages": 0}})
    );
}

#[tokio::test]
async fn a_bad_query_is_answered_in_our_words() {
    let app = TestApp::start().await;
    let agent = app.agent("Payer").await;
    for query in [
        "page=0",
        "page=-1",
        "page=x",
        "per_page=0",
        "per_page=101",
        "page=9223372036854775807",
        "type=both",
        "typ=debit",
        "type=debit&type=credit",
    ] {
        agent.get(&format!("/api/wallet/transactions?{query}")).await.is_error(400, "invalid_value");
    }
}
