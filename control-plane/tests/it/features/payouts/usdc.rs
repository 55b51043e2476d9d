//! Payouts to an address, up to the worker that sends them.

use super::{balance, fund, process, sale};
use crate::harness::TestApp;
use control_plane::features::payouts::ops;
use serde_json::json;
use shared::id::PayoutId;

const ADDRESS: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";

async fn set_address(agent: &crate::harness::Client, address: &str) {
    let put = agent.request("PUT", &format!("/api/agents/{}/payout-address", agent.id()));
    agent.send(put.json(&json!({"address": address}))).await.expect(200);
}

#[tokio::test]
async fn money_is_set_aside_until_it_has_left() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    fund(&offer.advertiser, 20).await;
    sale(&offer, 50).await;
    let left = process(&offer, json!({"method": "usdc"})).await;
    assert_eq!(left.expect(200)["left"][0]["reason"], "no_address");
    set_address(&offer.affiliate, ADDRESS).await;
    let made = process(&offer, json!({"method": "usdc"})).await;
    let payout = &made.expect(201)["payouts"][0];
    assert_eq!(
        (&payout["status"], &payout["address"], &payout["not_before"]),
        (&json!("pending"), &json!(ADDRESS), &json!(null))
    );
    let wallet = offer.advertiser.get("/api/wallet").await;
    assert_eq!((&wallet.body["balance"], &wallet.body["held"]), (&json!(10), &json!(10)));
    app.audit().await;
}

#[tokio::test]
async fn a_changed_address_holds_the_payout_for_72_hours() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    fund(&offer.advertiser, 20).await;
    set_address(&offer.affiliate, "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359").await;
    set_address(&offer.affiliate, ADDRESS).await;
    sale(&offer, 50).await;
    let preview = process(&offer, json!({"method": "usdc", "dry_run": true})).await;
    assert_eq!(preview.expect(200)["payouts"][0]["not_before"], "2026-06-18T12:00:00.000Z");
    let made = process(&offer, json!({"method": "usdc"})).await;
    assert_eq!(made.expect(201)["payouts"][0]["not_before"], "2026-06-18T12:00:00.000Z");
    app.audit().await;
}

#[tokio::test]
async fn one_that_fails_gives_everything_back() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    fund(&offer.advertiser, 20).await;
    set_address(&offer.affiliate, ADDRESS).await;
    sale(&offer, 50).await;
    let made = process(&offer, json!({"method": "usdc"})).await;
    let id: PayoutId = made.expect(201)["payouts"][0]["id"].as_str().unwrap().parse().unwrap();
    let mut tx = app.app.begin().await.unwrap();
    let payout = ops::load_for(&mut tx, offer.advertiser.agent_id(), id).await.unwrap();
    ops::fail(&mut tx, app.app.clock(), &payout, "the address refused it").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(balance(&offer.advertiser).await, json!(20));
    app.audit().await;
    assert_eq!(process(&offer, json!({"method": "wallet"})).await.expect(201)["total"], json!(10));
    app.audit().await;
}
