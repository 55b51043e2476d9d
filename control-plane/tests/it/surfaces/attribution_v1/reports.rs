//! What a merchant sees of the agents behind its orders.

use super::{Market, market, v1_key};
use control_plane::auth::api_keys::Kind;
use serde_json::{Value, json};

impl Market {
    async fn event(&self, kind: &str, metadata: Value) -> String {
        let body = json!({"event": kind, "merchant_id": self.merchant_id, "metadata": metadata});
        self.track.post("/v1/track", body).await.expect(201)["slat_token"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn events_orders_and_money_by_runtime() {
    let market = market().await;
    let langchain =
        market.event("recommendation", json!({"agent_runtime": "langchain", "session_id": "s1"})).await;
    market.event("impression", json!({"agent_runtime": "langchain"})).await;
    market.event("click", json!({"agent_runtime": "crewai", "turn": 3})).await;
    market.event("recommendation", json!({})).await;
    let second = market.app.agent("Second").await;
    let second = v1_key(&market.app, &second, Kind::Publisher).await;
    let body = json!({"event": "click", "merchant_id": market.merchant_id, "metadata": {"agent_runtime": "langchain"}});
    let other = second.post("/v1/track", body).await.expect(201)["slat_token"].as_str().unwrap().to_owned();
    market.verified("order_1", &langchain).await.expect(200);
    market.verified("order_2", &other).await.expect(200);
    let program = market.program().await;
    let report = market.merchant.get(&format!("/api/programs/{program}/agent-runtimes")).await;
    let rows = report.expect(200)["data"].as_array().unwrap();
    assert_eq!(report.body["pagination"]["total"], 3);
    assert_eq!(
        rows[0],
        json!({"agent_runtime": "langchain", "events": 3, "recommendations": 1, "clicks": 1, "impressions": 1,
               "publishers": 2, "orders": 2, "revenue_amount": 198, "commission_amount": 19.8, "currency": "usd"})
    );
    assert_eq!((&rows[1]["agent_runtime"], &rows[1]["orders"]), (&json!("crewai"), &json!(0)));
    assert_eq!((&rows[2]["agent_runtime"], &rows[2]["events"]), (&Value::Null, &json!(1)));
    // A rejected order earns nothing.
    let conversions =
        market.merchant.get(&format!("/api/programs/{program}/conversions?external_id=order_2")).await;
    let id = conversions.expect(200)["data"][0]["id"].as_str().unwrap().to_owned();
    market.merchant.patch(&format!("/api/conversions/{id}"), json!({"status": "rejected"})).await.expect(200);
    let report = market.merchant.get(&format!("/api/programs/{program}/agent-runtimes?per_page=1")).await;
    assert_eq!(report.expect(200)["data"][0]["commission_amount"], json!(9.9));
    assert_eq!(report.body["pagination"]["total_pages"], 3);
    let tomorrow =
        market.merchant.get(&format!("/api/programs/{program}/agent-runtimes?from=2026-06-16")).await;
    assert_eq!(tomorrow.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn events_with_their_metadata_and_nobody_elses() {
    let market = market().await;
    let token = market.tracked().await;
    market.event("click", json!({"agent_runtime": "crewai", "cached": true})).await;
    market.verified("order_1", &token).await.expect(200);
    let program = market.program().await;
    let path = format!("/api/programs/{program}/attribution-events");
    let events = market.merchant.get(&format!("{path}?agent_runtime=langchain")).await;
    let rows = events.expect(200)["data"].as_array().unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["metadata"], json!({"agent_runtime": "langchain", "session_id": "sess_789"}));
    assert_eq!(
        (&rows[0]["product_id"], &rows[0]["order_id"], &rows[0]["event"], &rows[0]["publisher_id"]),
        (&json!("prod_456"), &json!("order_1"), &json!("recommendation"), &json!(market.publisher_id))
    );
    assert!(rows[0]["conversion_id"].is_string() && rows[0]["click_id"].is_string());
    // Page by page.
    let first = market.merchant.get(&format!("{path}?per_page=1")).await;
    let cursor = first.expect(200)["pagination"]["next_cursor"].as_str().unwrap().to_owned();
    let second = market.merchant.get(&format!("{path}?per_page=1&cursor={cursor}")).await;
    assert_eq!(second.expect(200)["pagination"].get("next_cursor"), None);
    assert_ne!(first.body["data"][0]["event_id"], second.body["data"][0]["event_id"]);
    // Others' reports, and wrong questions.
    for path in [path, format!("/api/programs/{program}/agent-runtimes")] {
        market.publisher.get(&path).await.is_error(403, "not_owner");
        market.app.anyone().get(&path).await.is_error(401, "api_key_missing");
        market.merchant.get(&format!("{path}?from=yesterday")).await.is_error(400, "invalid_value");
        market.merchant.get(&format!("{path}?runtime=x")).await.is_error(400, "invalid_value");
        let missing = path.replace(&program, "018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10");
        market.merchant.get(&missing).await.is_error(404, "not_found");
    }
}
