//! `POST /api/conversions/:id/refunds`.

use crate::harness::{Offer, Reply, TestApp};
use serde_json::{Value, json};

async fn sale(offer: &Offer, amount: Value) -> String {
    let body = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": amount});
    let reply = offer.advertiser.post("/api/conversions/track", body).await;
    reply.expect(201)["id"].as_str().unwrap().to_owned()
}

async fn refund(offer: &Offer, id: &str, body: Value) -> Reply {
    offer.advertiser.post(&format!("/api/conversions/{id}/refunds"), body).await
}

#[tokio::test]
async fn before_its_payout_the_commission_shrinks_to_nothing_exactly() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let id = sale(&offer, json!(99.99)).await;
    let first =
        refund(&offer, &id, json!({"amount": 33.33, "reason": "Returned one", "external_refund_id": "r1"}))
            .await;
    assert_eq!(first.expect(201)["commission_amount"], 6.67);
    assert_eq!(first.body["conversion"]["commission_amount"], 13.33);
    assert_eq!(first.body["conversion"]["refunded_amount"], 33.33);
    assert_eq!(first.body["conversion"]["status"], "pending");
    let again = refund(&offer, &id, json!({"amount": 33.33, "external_refund_id": "r1"})).await;
    again.is_error(409, "duplicate_refund");
    assert_eq!(again.body["refund_id"], first.body["id"]);
    let too_much = refund(&offer, &id, json!({"amount": 66.67})).await;
    assert!(too_much.is_error(400, "invalid_value").contains("66.66"));
    let rest = refund(&offer, &id, json!({})).await;
    assert_eq!(rest.expect(201)["amount"], 66.66);
    assert_eq!(rest.body["commission_amount"], 13.33);
    assert_eq!(rest.body["conversion"]["commission_amount"], 0);
    assert_eq!(rest.body["conversion"]["status"], "rejected");
    refund(&offer, &id, json!({})).await.is_error(409, "invalid_state");
}

#[tokio::test]
async fn after_its_payout_the_next_one_nets_it_off() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let id = sale(&offer, json!(100)).await;
    let path = format!("/api/conversions/{id}");
    offer.advertiser.patch(&path, json!({"status": "approved"})).await.expect(200);
    let process = json!({"program_id": offer.program, "dry_run": false, "method": "external"});
    let payouts = offer.advertiser.post("/api/payouts/process", process).await;
    let payout = payouts.expect(201)["payouts"][0]["id"].as_str().unwrap().to_owned();
    let mark = format!("/api/payouts/{payout}/mark-paid");
    offer.advertiser.post(&mark, json!({"reference": "wire-1"})).await.expect(200);
    let part = refund(&offer, &id, json!({"amount": 25})).await;
    assert_eq!(part.expect(201)["commission_amount"], 5);
    assert_eq!(part.body["conversion"]["status"], "paid");
    let whole = refund(&offer, &id, json!({"reason": "Returned"})).await;
    assert_eq!(whole.expect(201)["commission_amount"], 15);
    assert_eq!(whole.body["conversion"]["status"], "reversed");
    let earnings = offer.affiliate.get(&format!("/api/agents/{}/earnings", offer.affiliate.id())).await;
    let totals = &earnings.expect(200)["totals"];
    assert_eq!(
        (&totals["paid"], &totals["approved"], &totals["reversed"]),
        (&json!(20), &json!(-20), &json!(20))
    );
    offer.advertiser.patch(&path, json!({"status": "rejected"})).await.is_error(409, "invalid_state");
}

#[tokio::test]
async fn refunds_at_once_never_exceed_the_sale() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let id = sale(&offer, json!(10)).await;
    let requests: Vec<_> = (0..8)
        .map(|_| {
            let (client, path) = (offer.advertiser.clone(), format!("/api/conversions/{id}/refunds"));
            tokio::spawn(async move { client.post(&path, json!({"amount": 4})).await.status })
        })
        .collect();
    let mut made = 0;
    for request in requests {
        made += usize::from(request.await.unwrap() == 201);
    }
    assert_eq!(made, 2);
}

#[tokio::test]
async fn only_the_advertiser_refunds_and_a_lead_as_a_whole() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let id = sale(&offer, json!(10)).await;
    let path = format!("/api/conversions/{id}/refunds");
    offer.affiliate.post(&path, json!({"x": 1})).await.is_error(403, "not_owner");
    app.agent("Stranger").await.post(&path, json!({})).await.is_error(404, "not_found");
    for amount in [json!(0), json!(-1), json!(0.001), json!("4")] {
        refund(&offer, &id, json!({"amount": amount})).await.is_error(400, "invalid_value");
    }
    let lead = json!({"tracking_token": offer.token, "event_type": "lead"});
    let lead = offer.advertiser.post("/api/conversions/track", lead).await;
    let lead = lead.expect(201)["id"].as_str().unwrap().to_owned();
    refund(&offer, &lead, json!({"amount": 1})).await.is_error(400, "invalid_value");
    assert_eq!(refund(&offer, &lead, json!({})).await.expect(201)["conversion"]["status"], "rejected");
}

/// Puts everything due into an external payout; its id.
async fn external_payout(offer: &Offer) -> String {
    let body = json!({"program_id": offer.program, "method": "external"});
    let made = offer.advertiser.post("/api/payouts/process", body).await;
    made.expect(201)["payouts"][0]["id"].as_str().unwrap().to_owned()
}

async fn approved(offer: &Offer, body: Value) -> String {
    let id = offer.advertiser.post("/api/conversions/track", body).await.expect(201)["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/api/conversions/{id}");
    offer.advertiser.patch(&path, json!({"status": "approved"})).await.expect(200);
    id
}

#[tokio::test]
async fn refunds_around_a_payout_that_fails_take_back_exactly_the_commission() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let body = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 100});
    let id = approved(&offer, body).await;
    let payout = external_payout(&offer).await;
    // In the payout: ten of the twenty are taken back beside it.
    assert_eq!(refund(&offer, &id, json!({"amount": 50})).await.expect(201)["commission_amount"], 10);
    let failed = format!("/api/payouts/{payout}/mark-failed");
    offer.advertiser.post(&failed, json!({"reason": "returned"})).await.expect(200);
    app.audit().await;
    // Free again, but what was taken back stays so, and so it can't be rejected any more.
    let path = format!("/api/conversions/{id}");
    offer.advertiser.patch(&path, json!({"status": "rejected"})).await.is_error(409, "invalid_state");
    assert_eq!(refund(&offer, &id, json!({"amount": 25})).await.expect(201)["commission_amount"], 5);
    app.audit().await;
    // 20 - 10 - 5 are due.
    let payout = external_payout(&offer).await;
    let paid = format!("/api/payouts/{payout}/mark-paid");
    assert_eq!(offer.advertiser.post(&paid, json!({"reference": "wire 1"})).await.expect(200)["amount"], 5);
    assert_eq!(refund(&offer, &id, json!({})).await.expect(201)["commission_amount"], 5);
    assert_eq!(offer.advertiser.get(&path).await.body["status"], "reversed");
    refund(&offer, &id, json!({})).await.is_error(409, "invalid_state");
    app.audit().await;
}

#[tokio::test]
async fn what_is_refunded_whole_while_its_payout_is_on_its_way_is_reversed_once_paid() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let change = json!({"commission_type": "fixed", "commission_value": 7});
    offer.advertiser.patch(&format!("/api/programs/{}", offer.program), change).await.expect(200);
    let lead = approved(&offer, json!({"tracking_token": offer.token, "event_type": "lead"})).await;
    let sale = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 30});
    let sale = approved(&offer, sale).await;
    let payout = external_payout(&offer).await;
    for id in [&lead, &sale] {
        assert_eq!(refund(&offer, id, json!({})).await.expect(201)["commission_amount"], 7);
        refund(&offer, id, json!({})).await.is_error(409, "invalid_state");
    }
    app.audit().await;
    let paid = format!("/api/payouts/{payout}/mark-paid");
    offer.advertiser.post(&paid, json!({"reference": "wire 1"})).await.expect(200);
    for id in [&lead, &sale] {
        assert_eq!(offer.advertiser.get(&format!("/api/conversions/{id}")).await.body["status"], "reversed");
    }
    app.audit().await;
}
