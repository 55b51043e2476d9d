//! `GET /api/agents/:id/earnings`, `GET /api/programs/:id/payouts`.

use crate::harness::TestApp;
use serde_json::json;

#[tokio::test]
async fn sums_follow_every_state() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let other = app.another_affiliate(&offer, "Second").await;
    let sale = async |token: &str, amount: i64, decision: Option<&str>| {
        let body = json!({"tracking_token": token, "event_type": "sale", "revenue_amount": amount});
        let reply = offer.advertiser.post("/api/conversions/track", body).await;
        let id = reply.expect(201)["id"].as_str().unwrap().to_owned();
        if let Some(status) = decision {
            offer
                .advertiser
                .patch(&format!("/api/conversions/{id}"), json!({"status": status}))
                .await
                .expect(200);
        }
        id
    };
    sale(&offer.token, 10, None).await;
    sale(&offer.token, 20, Some("approved")).await;
    sale(&offer.token, 40, Some("rejected")).await;
    sqlx::query("UPDATE programs SET hold_days = 7").execute(app.app.db()).await.unwrap();
    sale(&offer.token, 80, Some("approved")).await;
    sale(&other.token, 100, None).await;
    let earnings = offer.affiliate.get(&format!("/api/agents/{}/earnings", offer.affiliate.id())).await;
    let sums = json!({
        "conversions": 4, "pending": 2, "approved": 20, "payable": 4, "processing": 0, "paid": 0,
        "rejected": 8, "reversed": 0
    });
    assert_eq!(earnings.expect(200)["totals"], sums);
    assert_eq!(earnings.body["currency"], "usd");
    let mut by_program = sums.clone();
    by_program["program_id"] = json!(offer.program);
    by_program["program_name"] = json!("My SaaS");
    assert_eq!(earnings.body["programs"], json!([by_program]));
    let owed = offer.advertiser.get(&format!("/api/programs/{}/payouts", offer.program)).await;
    assert_eq!(owed.expect(200)["totals"]["pending"], 22);
    assert_eq!(owed.body["totals"]["conversions"], 5);
    let affiliates = owed.body["affiliates"].as_array().unwrap();
    assert_eq!(affiliates.len(), 2);
    assert!(affiliates.iter().any(|row| row["affiliate_id"] == offer.affiliate.id() && row["payable"] == 4));
    let empty = other.advertiser.get(&format!("/api/agents/{}/earnings", offer.advertiser.id())).await;
    assert_eq!(empty.expect(200)["programs"], json!([]));
    assert_eq!(empty.body["totals"]["pending"], 0);
}

#[tokio::test]
async fn sums_are_for_their_owner() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let earnings = format!("/api/agents/{}/earnings", offer.affiliate.id());
    offer.advertiser.get(&earnings).await.is_error(403, "not_owner");
    app.anyone().get(&earnings).await.is_error(401, "api_key_missing");
    offer.affiliate.get("/api/agents/me2/earnings").await.is_error(400, "invalid_id");
    let owed = format!("/api/programs/{}/payouts", offer.program);
    offer.affiliate.get(&owed).await.is_error(403, "not_owner");
}
