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
    assert_eq!(
        body["pagination"],
        json!({"page": 1, "per_page": 2, "total": 5, "total_pages": 3, "next_cursor": body["pagination"]["next_cursor"]})
    );
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
    // By cursor the same, also when a newer one has come in between.
    let (mut seen, mut path) = (Vec::new(), "/api/wallet/transactions?per_page=2".to_owned());
    loop {
        let page = agent.get(&path).await;
        let body = page.expect(200);
        seen.extend(body["data"].as_array().unwrap().iter().map(|row| row["amount"].clone()));
        let Some(cursor) = body["pagination"]["next_cursor"].as_str() else { break };
        path = format!("/api/wallet/transactions?per_page=2&cursor={cursor}");
        if seen.len() == 2 {
            agent.post("/api/wallet/topup", json!({"amount": 30})).await.expect(201);
        }
    }
    assert_eq!(seen, [25, 20, 15, 10, 5]);
    let credits = agent.get("/api/wallet/transactions?type=credit").await;
    assert_eq!(credits.expect(200)["pagination"]["total"], 6);
    assert_eq!(credits.body["query"], json!({"type": "credit"}));
    let debits = agent.get("/api/wallet/transactions?page=1&per_page=20&type=debit").await;
    assert_eq!(
        *debits.expect(200),
        json!({"data": [], "pagination": {"page": 1, "per_page": 20, "total": 0, "total_pages": 0}, "query": {"type": "debit"}})
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
        "cursor=x",
        "page=2&cursor=x",
        "type=debit&type=credit",
    ] {
        agent.get(&format!("/api/wallet/transactions?{query}")).await.is_error(400, "invalid_value");
    }
}

#[tokio::test]
async fn a_cursor_of_one_list_is_refused_by_another() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    for amount in [5, 10] {
        offer.advertiser.post("/api/wallet/topup", json!({"amount": amount})).await.expect(201);
        let sale = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": amount});
        offer.advertiser.post("/api/conversions/track", sale).await.expect(201);
    }
    let lists =
        ["/api/wallet/transactions".to_owned(), format!("/api/programs/{}/conversions", offer.program)];
    for (one, other) in [(&lists[0], &lists[1]), (&lists[1], &lists[0])] {
        let first = offer.advertiser.get(&format!("{one}?per_page=1")).await;
        let cursor = first.expect(200)["pagination"]["next_cursor"].as_str().unwrap().to_owned();
        offer.advertiser.get(&format!("{one}?per_page=1&cursor={cursor}")).await.expect(200);
        let refused = offer.advertiser.get(&format!("{other}?per_page=1&cursor={cursor}")).await;
        refused.is_error(400, "invalid_value");
        assert_eq!(refused.body["field"], "cursor");
    }
}
