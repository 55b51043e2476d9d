//! `POST /api/programs`.

use crate::harness::TestApp;
use serde_json::json;

#[tokio::test]
async fn the_documented_body_makes_a_program() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    let reply = advertiser
        .post(
            "/api/programs",
            json!({"name": "My SaaS", "commission_type": "percentage", "commission_value": 20}),
        )
        .await;
    let program = reply.expect(201);
    assert_eq!(
        *program,
        json!({
            "id": program["id"],
            "advertiser_id": advertiser.id(),
            "advertiser": {"id": advertiser.id(), "name": "Advertiser", "handle": "advertiser"},
            "name": "My SaaS", "description": null, "url": null, "niche": null, "audience_type": null,
            "commission_type": "percentage", "commission_value": 20, "currency": "usd",
            "approval_mode": "manual", "auto_approve_affiliates": false,
            "attribution_days": 30, "hold_days": 0, "auto_approve_days": 45,
            "pay_classes": ["human", "agent", "agent_verified", "tool"], "dedup_seconds": 10,
            "min_payout": 0, "click_id_param": null, "allowed_hosts": [],
            "status": "active", "affiliates": 0, "epc": null,
            "created_at": "2026-06-15T12:00:00.000Z", "updated_at": "2026-06-15T12:00:00.000Z",
        })
    );
    let path = format!("/api/programs/{}", program["id"].as_str().unwrap());
    assert_eq!(app.anyone().get(&path).await.expect(200), program, "anyone may read it");
}
