//! `POST /api/payouts/process` with wallets, `GET /api/payouts`, `GET /api/payouts/:id`.

use super::{balance, fund, order, process, rows, sale, set_min_payout};
use crate::harness::TestApp;
use serde_json::json;

#[tokio::test]
async fn a_dry_run_shows_what_the_real_one_then_does() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let second = app.another_affiliate(&offer, "Second").await;
    fund(&offer.advertiser, 50).await;
    sale(&offer, 99).await;
    sale(&offer, 1).await;
    sale(&second, 10).await;
    let before = rows(&app).await;
    let preview = process(&offer, json!({"dry_run": true})).await;
    let preview = preview.expect(200);
    assert_eq!(rows(&app).await, before, "a dry run changes nothing");
    assert_eq!(
        (&preview["dry_run"], &preview["total"], &preview["missing"], &preview["wallet_balance"]),
        (&json!(true), &json!(22), &json!(0), &json!(50))
    );
    let real = process(&offer, json!({"dry_run": false, "preview_token": preview["preview_token"]})).await;
    let real = real.expect(201);
    assert_eq!((&real["total"], &real["currency"]), (&json!(22), &json!("usd")));
    let payouts = real["payouts"].as_array().unwrap();
    let mut amounts: Vec<_> = payouts
        .iter()
        .map(|payout| (payout["affiliate_handle"].as_str(), payout["amount"].as_f64()))
        .collect();
    amounts.sort_by(|left, right| left.0.cmp(&right.0));
    assert_eq!(amounts, [(Some("affiliate"), Some(20.0)), (Some("second"), Some(2.0))]);
    assert!(payouts.iter().all(|payout| payout["status"] == "paid"
        && payout["method"] == "wallet"
        && payout["paid_at"] == "2026-06-15T12:00:00.000Z"));
    assert_eq!(balance(&offer.advertiser).await, json!(28));
    assert_eq!(balance(&offer.affiliate).await, json!(20));
    assert_eq!(balance(&second.affiliate).await, json!(2));
    let credit = offer.affiliate.get("/api/wallet/transactions").await;
    assert_eq!(credit.body["data"][0]["kind"], "payout");
    let again = process(&offer, json!({"dry_run": false})).await;
    assert_eq!(*again.expect(200)["payouts"].as_array().unwrap(), Vec::<serde_json::Value>::new());
    app.audit().await;
}

#[tokio::test]
async fn both_sides_see_a_payout_and_nobody_else() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    fund(&offer.advertiser, 50).await;
    let conversion = sale(&offer, 99).await;
    let payout = process(&offer, json!({})).await.expect(201)["payouts"][0].clone();
    let path = format!("/api/payouts/{}", payout["id"].as_str().unwrap());
    for side in [&offer.advertiser, &offer.affiliate] {
        let seen = side.get(&path).await;
        let seen = seen.expect(200);
        assert_eq!((&seen["amount"], &seen["commission_count"]), (&json!(19.8), &json!(1)));
        assert_eq!(seen["commissions"][0]["conversion_id"], conversion.as_str());
        assert_eq!(side.get("/api/payouts").await.expect(200)["pagination"]["total"], 1);
    }
    assert_eq!(offer.affiliate.get("/api/payouts?role=advertiser").await.body["pagination"]["total"], 0);
    assert_eq!(
        offer.advertiser.get("/api/payouts?role=advertiser&status=paid").await.body["pagination"]["total"],
        1
    );
    assert_eq!(offer.advertiser.get("/api/payouts?status=failed").await.body["pagination"]["total"], 0);
    let stranger = app.agent("Stranger").await;
    stranger.get(&path).await.is_error(404, "not_found");
    assert_eq!(stranger.get("/api/payouts").await.body["pagination"]["total"], 0);
    app.anyone().get(&path).await.is_error(401, "api_key_missing");
    offer.affiliate.get("/api/payouts/x").await.is_error(400, "invalid_id");
    offer.affiliate.get("/api/payouts?status=gone").await.is_error(400, "invalid_value");
    // The conversion moved on with its commission.
    let conversion = offer.affiliate.get(&format!("/api/conversions/{conversion}")).await;
    assert_eq!(conversion.expect(200)["status"], "paid");
}

#[tokio::test]
async fn what_is_wrong_is_said_in_the_order_of_refusal() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let path = "/api/payouts/process";
    app.anyone().post(path, json!({})).await.is_error(401, "api_key_missing");
    offer.advertiser.post(path, json!({})).await.is_error(400, "missing_field");
    for bad in [
        json!({"program_id": "x"}),
        json!({"program_id": offer.program, "method": "cash"}),
        json!({"program_id": offer.program, "dry_run": "yes"}),
        json!({"program_id": offer.program, "dryrun": true}),
    ] {
        offer.advertiser.post(path, bad).await.is_error(400, "invalid_value");
    }
    let unknown = json!({"program_id": shared::id::ProgramId::generate().to_string()});
    offer.advertiser.post(path, unknown).await.is_error(404, "not_found");
    for (caller, dry_run) in [(&offer.affiliate, true), (&offer.affiliate, false)] {
        caller.post(path, order(&offer, json!({"dry_run": dry_run}))).await.is_error(403, "not_owner");
    }
}

#[tokio::test]
async fn a_wallet_that_cannot_cover_it_pays_nobody_and_says_what_is_missing() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let second = app.another_affiliate(&offer, "Second").await;
    fund(&offer.advertiser, 20).await;
    sale(&offer, 90).await;
    sale(&second, 30).await;
    let before = rows(&app).await;
    assert_eq!(process(&offer, json!({"dry_run": true})).await.body["missing"], json!(4));
    let short = process(&offer, json!({})).await;
    assert!(short.is_error(402, "insufficient_credits").contains("POST /api/wallet/topup"));
    assert_eq!(short.body["missing"], json!(4));
    assert_eq!(rows(&app).await, before);
    // One of them can be paid.
    let one = process(&offer, json!({"affiliate_id": second.affiliate.id()})).await;
    assert_eq!(one.expect(201)["total"], json!(6));
    fund(&offer.advertiser, 5).await;
    assert_eq!(process(&offer, json!({})).await.expect(201)["total"], json!(18));
    app.audit().await;
}

#[tokio::test]
async fn holds_minimums_and_what_is_not_approved_wait() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    fund(&offer.advertiser, 50).await;
    let pending = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 50});
    offer.advertiser.post("/api/conversions/track", pending).await.expect(201);
    sqlx::query("UPDATE programs SET hold_days = 14").execute(app.app.db()).await.unwrap();
    sale(&offer, 20).await;
    assert_eq!(process(&offer, json!({})).await.expect(200)["total"], json!(0));
    app.clock.advance(chrono::TimeDelta::days(14) - chrono::TimeDelta::milliseconds(1));
    assert_eq!(process(&offer, json!({})).await.expect(200)["total"], json!(0));
    app.clock.advance(chrono::TimeDelta::milliseconds(1));
    set_min_payout(&app, &offer, 4_000_001).await;
    let left = process(&offer, json!({})).await;
    assert_eq!(
        left.expect(200)["left"],
        json!([{"affiliate_id": offer.affiliate.id(), "amount": 4, "reason": "below_min_payout"}])
    );
    set_min_payout(&app, &offer, 4_000_000).await;
    assert_eq!(process(&offer, json!({})).await.expect(201)["total"], json!(4));
    app.audit().await;
}

#[tokio::test]
async fn a_preview_that_no_longer_holds_is_refused() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    fund(&offer.advertiser, 100).await;
    let first = sale(&offer, 99).await;
    let token = |preview: &serde_json::Value| preview["preview_token"].clone();
    let old = token(process(&offer, json!({"dry_run": true})).await.expect(200));
    sale(&offer, 1).await;
    let stale = process(&offer, json!({"preview_token": old})).await;
    stale.is_error(409, "invalid_state");
    process(&offer, json!({"preview_token": "prv_forged"})).await.is_error(409, "invalid_state");
    let rejected = json!({"status": "rejected"});
    offer.advertiser.patch(&format!("/api/conversions/{first}"), rejected).await.expect(200);
    let new = token(process(&offer, json!({"dry_run": true})).await.expect(200));
    // The token names the method too.
    process(&offer, json!({"preview_token": new, "method": "external"})).await.is_error(409, "invalid_state");
    assert_eq!(process(&offer, json!({"preview_token": new})).await.expect(201)["total"], json!(0.2));
    process(&offer, json!({"preview_token": new})).await.is_error(409, "invalid_state");
    app.audit().await;
}
