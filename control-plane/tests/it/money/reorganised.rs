//! A block that is taken back leaves more transfers open than the worker ever lets out at once.

use super::chain::{CONFIRMATIONS, SimulatedChain};
use crate::harness::{Offer, TestApp};
use chrono::TimeDelta;
use control_plane::db::grants::PAYOUTS;
use control_plane::features::payouts::usdc::model::Policy;
use control_plane::features::payouts::usdc::worker::Worker;
use serde_json::json;

/// A payout that waits for the worker.
async fn payout(offer: &Offer) {
    let sale = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 50});
    let id = offer.advertiser.post("/api/conversions/track", sale).await.expect(201)["id"].clone();
    let path = format!("/api/conversions/{}", id.as_str().unwrap());
    offer.advertiser.patch(&path, json!({"status": "approved"})).await.expect(200);
    let order = json!({"program_id": offer.program, "method": "usdc", "dry_run": false});
    offer.advertiser.post("/api/payouts/process", order).await.expect(201);
}

#[tokio::test]
async fn more_open_than_the_limit_after_a_reorganisation_is_waited_for() {
    let app = TestApp::start().await.with_roles().await;
    let offer = app.offer().await;
    offer.advertiser.post("/api/wallet/topup", json!({"amount": 100})).await.expect(201);
    let path = format!("/api/agents/{}/payout-address", offer.affiliate.id());
    let address = json!({"address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"});
    offer.affiliate.send(offer.affiliate.request("PUT", &path).json(&address)).await.expect(200);
    app.clock.advance(TimeDelta::hours(73));
    let stuck_after = TimeDelta::minutes(1);
    let policy = Policy { confirmations: CONFIRMATIONS, stuck_after, fee_max: 1_000, open_max: 1 };
    let chain = SimulatedChain::seeded(7);
    let worker = Worker::new(app.pool_as(PAYOUTS), app.clock.clone(), chain, policy);
    // Turns until the transfers are in these states; a request that the chain loses is asked again.
    let until = async |states: &[&str]| {
        for _ in 0..200 {
            if let Err(error) = worker.turn().await {
                assert_eq!(error.code.as_str(), "unavailable", "{error:?}");
            }
            let found: Vec<String> = sqlx::query_scalar("SELECT state FROM usdc_transfers ORDER BY nonce")
                .fetch_all(app.app.db())
                .await
                .unwrap();
            if found == states {
                return;
            }
            app.clock.advance(TimeDelta::seconds(10));
        }
        panic!("the transfers are never {states:?}");
    };
    payout(&offer).await;
    until(&["submitted"]).await;
    worker.chain().mine();
    until(&["mined"]).await;
    payout(&offer).await;
    until(&["mined", "submitted"]).await;
    worker.chain().take_back();
    // Two are open now where one may be, and a third waits.
    payout(&offer).await;
    until(&["submitted", "submitted"]).await;
    for _ in 0..CONFIRMATIONS {
        worker.chain().mine();
    }
    until(&["confirmed", "confirmed", "submitted"]).await;
    for _ in 0..CONFIRMATIONS {
        worker.chain().mine();
    }
    until(&["confirmed"; 3]).await;
    assert_eq!(worker.chain().moved().len(), 3);
    app.audit().await;
}
