//! Payouts the advertiser makes elsewhere: `mark-paid`, `mark-failed`.

use super::{announced, balance, process, sale};
use crate::harness::TestApp;
use serde_json::json;

#[tokio::test]
async fn marked_paid_it_settles_without_touching_a_wallet() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let conversion = sale(&offer, 99).await;
    let made = process(&offer, json!({"method": "external"})).await;
    let payout = &made.expect(201)["payouts"][0];
    assert_eq!((&payout["status"], &payout["amount"]), (&json!("pending"), &json!(19.8)));
    // What is in a payout is in no other.
    assert_eq!(process(&offer, json!({})).await.expect(200)["total"], json!(0));
    let path = format!("/api/payouts/{}/mark-paid", payout["id"].as_str().unwrap());
    let body = json!({"reference": "SEPA 42"});
    app.agent("Stranger").await.post(&path, body.clone()).await.is_error(404, "not_found");
    offer.affiliate.post(&path, body.clone()).await.is_error(403, "not_owner");
    offer.advertiser.post(&path, json!({})).await.is_error(400, "missing_field");
    offer.advertiser.post(&path, json!({"reference": " "})).await.is_error(400, "invalid_value");
    let paid = offer.advertiser.post(&path, body.clone()).await;
    assert_eq!((&paid.expect(200)["status"], &paid.body["reference"]), (&json!("paid"), &json!("SEPA 42")));
    offer.advertiser.post(&path, body).await.is_error(409, "invalid_state");
    let conversion = offer.advertiser.get(&format!("/api/conversions/{conversion}")).await;
    assert_eq!(conversion.body["status"], "paid");
    assert_eq!((balance(&offer.advertiser).await, balance(&offer.affiliate).await), (json!(0), json!(0)));
    assert_eq!(announced(&app).await, ["pending", "paid"]);
    app.audit().await;
}

#[tokio::test]
async fn marked_failed_it_frees_its_commissions() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let conversion = sale(&offer, 99).await;
    let made = process(&offer, json!({"method": "external"})).await;
    let id = made.expect(201)["payouts"][0]["id"].as_str().unwrap().to_owned();
    // In a payout it can no longer be rejected.
    let decide = format!("/api/conversions/{conversion}");
    offer.advertiser.patch(&decide, json!({"status": "rejected"})).await.is_error(409, "invalid_state");
    let failed =
        offer.advertiser.post(&format!("/api/payouts/{id}/mark-failed"), json!({"reason": "no IBAN"})).await;
    assert_eq!(
        (&failed.expect(200)["status"], &failed.body["failure"]),
        (&json!("failed"), &json!("no IBAN"))
    );
    let seen = offer.affiliate.get(&format!("/api/payouts/{id}")).await;
    assert_eq!(seen.expect(200)["commission_count"], 0);
    offer
        .advertiser
        .post(&format!("/api/payouts/{id}/mark-paid"), json!({"reference": "x"}))
        .await
        .is_error(409, "invalid_state");
    let again = process(&offer, json!({"method": "external"})).await;
    assert_eq!(again.expect(201)["total"], json!(19.8));
    app.audit().await;
}

#[tokio::test]
async fn other_methods_are_not_marked_by_hand() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    super::fund(&offer.advertiser, 20).await;
    sale(&offer, 50).await;
    let made = process(&offer, json!({})).await;
    let id = made.expect(201)["payouts"][0]["id"].as_str().unwrap().to_owned();
    for (verb, body) in [("mark-paid", json!({"reference": "x"})), ("mark-failed", json!({"reason": "x"}))] {
        offer
            .advertiser
            .post(&format!("/api/payouts/{id}/{verb}"), body)
            .await
            .is_error(409, "invalid_state");
    }
    app.audit().await;
}
