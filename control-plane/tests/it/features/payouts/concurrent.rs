//! F66, F75: calls that race for the same commissions.

use super::{balance, fund, process, sale};
use crate::harness::TestApp;
use control_plane::features::payouts::model::Method;
use control_plane::features::payouts::ops;
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn f66_thirty_two_process_and_eight_requests_pay_once() {
    let app = Arc::new(TestApp::start().await);
    let offer = Arc::new(app.offer().await);
    fund(&offer.advertiser, 500).await;
    for _ in 0..20 {
        sale(&offer, 50).await;
    }
    let mut tasks = Vec::new();
    for n in 0..40 {
        let (app, offer) = (app.clone(), offer.clone());
        tasks.push(tokio::spawn(async move {
            if n % 5 == 0 {
                let mut tx = app.app.begin().await.unwrap();
                let made =
                    ops::request(&mut tx, app.app.clock(), offer.affiliate.agent_id(), Method::Wallet).await;
                let made = made.unwrap().len();
                tx.commit().await.unwrap();
                made
            } else {
                let reply = process(&offer, json!({})).await;
                assert!([200, 201].contains(&reply.status), "{reply}");
                reply.body["payouts"].as_array().unwrap().len()
            }
        }));
    }
    let mut made = 0;
    for task in tasks {
        made += task.await.unwrap();
    }
    assert_eq!(made, 1, "one wins, the others find nothing to pay");
    assert_eq!((balance(&offer.advertiser).await, balance(&offer.affiliate).await), (json!(300), json!(200)));
    app.audit().await;
}

/// How often F75 is tried: `AOS_TEST_RACE_ROUNDS`, or few enough for every run of the suite.
#[expect(clippy::disallowed_methods, reason = "tests are told how long to run")]
fn rounds() -> usize {
    std::env::var("AOS_TEST_RACE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

#[tokio::test]
async fn f75_approve_reject_and_payout_race_to_one_legal_end() {
    let app = Arc::new(TestApp::start().await);
    let offer = Arc::new(app.offer().await);
    // Each round may pay $10 of commission, and bills a conversion above the allowance.
    for _ in 0..=rounds() / 40 {
        fund(&offer.advertiser, 500).await;
    }
    let mut ends = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..rounds() {
        let body = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 50});
        let made = offer.advertiser.post("/api/conversions/track", body).await;
        let path = format!("/api/conversions/{}", made.expect(201)["id"].as_str().unwrap());
        let decide = |status: &'static str| {
            let (offer, path) = (offer.clone(), path.clone());
            tokio::spawn(async move { offer.advertiser.patch(&path, json!({"status": status})).await.status })
        };
        let (approve, reject) = (decide("approved"), decide("rejected"));
        let pay = {
            let offer = offer.clone();
            tokio::spawn(async move { process(&offer, json!({})).await.status })
        };
        let (approve, reject, pay) = (approve.await.unwrap(), reject.await.unwrap(), pay.await.unwrap());
        let end = offer.advertiser.get(&path).await.body["status"].as_str().unwrap().to_owned();
        match (approve, reject, pay, end.as_str()) {
            // Rejected first; or approved and rejected before the payout came.
            (200 | 409, 200, 200, "rejected") => {}
            // Approved, and the payout came before the rejection.
            (200, 409, 201, "paid") => {}
            other => panic!("{other:?}"),
        }
        let codes = format!("approve {approve}, reject {reject}, payout {pay}: {end}");
        *ends.entry(codes).or_default() += 1;
    }
    println!("F75 {} rounds: {ends:#?}", rounds());
    app.audit().await;
}
