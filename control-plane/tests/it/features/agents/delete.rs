//! `DELETE /api/agents/:id`.

use crate::harness::TestApp;
use serde_json::{Value, json};

#[tokio::test]
async fn an_account_ends_with_its_keys_programs_and_partnerships_and_money_stays() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let sale = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 10});
    let conversion = offer.advertiser.post("/api/conversions/track", sale.clone()).await;
    let empty = app.program(&offer.advertiser).await;
    let path = format!("/api/agents/{}", offer.advertiser.id());
    offer.affiliate.delete(&path).await.is_error(403, "not_owner");
    app.anyone().delete(&path).await.is_error(401, "api_key_missing");
    let gone = offer.advertiser.delete(&path).await;
    assert_eq!(gone.expect(200), &json!({"id": offer.advertiser.id(), "deleted": true}));
    offer.advertiser.get("/api/agents/me").await.is_error(401, "api_key_invalid");
    app.anyone().get(&path).await.is_error(404, "not_found");
    let listed = app.anyone().get("/api/agents").await;
    assert!(!listed.text.contains(offer.advertiser.id()));
    let program = app.anyone().get(&format!("/api/programs/{}", offer.program)).await;
    assert!(program.status == 404 || program.body["status"] == "archived", "{program}");
    app.anyone().get(&format!("/api/programs/{empty}")).await.is_error(404, "not_found");
    let kept = format!("/api/conversions/{}", conversion.expect(201)["id"].as_str().unwrap());
    assert_eq!(offer.affiliate.get(&kept).await.expect(200)["commission_amount"], 2);
    let told: i64 = sqlx::query_scalar("SELECT count(*) FROM link_outbox WHERE subject = 'program'")
        .fetch_one(app.app.db())
        .await
        .unwrap();
    assert!(told >= 2, "edges hear of both programs");
    // The program is kept for its conversion, and nobody is its affiliate any more.
    let joined = offer.affiliate.get(&format!("/api/agents/{}/partnerships", offer.affiliate.id())).await;
    assert_eq!(joined.expect(200)["data"][0]["status"], "cancelled");
    // The name is free again, and nothing personal is left.
    let name: String = sqlx::query_scalar("SELECT name FROM agents WHERE deleted_at IS NOT NULL")
        .fetch_one(app.app.db())
        .await
        .unwrap();
    assert_eq!(name, "Deleted agent");
    assert_eq!(app.agent("Advertiser").await.me()["handle"], "advertiser");
    // An affiliate that leaves cancels what it joined.
    let other = app.offer_named("Seller", "Promoter").await;
    other.affiliate.delete(&format!("/api/agents/{}", other.affiliate.id())).await.expect(200);
    let affiliates = other.advertiser.get(&format!("/api/programs/{}/affiliates", other.program)).await;
    let statuses: Vec<&Value> =
        affiliates.expect(200)["data"].as_array().unwrap().iter().map(|row| &row["status"]).collect();
    assert_eq!(statuses, ["cancelled"]);
}
