//! `ops::request`: an affiliate asks for what it is owed; and the job that funds what had to wait.

use super::{balance, fund, sale};
use crate::harness::TestApp;
use control_plane::features::payouts::model::{Method, Payout, Status};
use control_plane::features::payouts::ops;
use serde_json::json;
use shared::id::AgentId;

async fn request(
    app: &TestApp,
    affiliate: AgentId,
    method: Method,
) -> control_plane::error::Result<Vec<Payout>> {
    let mut tx = app.app.begin().await?;
    let payouts = ops::request(&mut tx, app.app.clock(), affiliate, method).await?;
    tx.commit().await?;
    Ok(payouts)
}

/// Runs the funding job to its end; gives how many payouts it tried.
async fn fund_all(app: &TestApp) -> usize {
    let (mut tried, mut after) = (0, None);
    loop {
        let mut tx = app.app.begin().await.unwrap();
        let Some(id) = ops::fund_next(&mut tx, app.app.clock(), after).await.unwrap() else { return tried };
        tx.commit().await.unwrap();
        (tried, after) = (tried + 1, Some(id));
    }
}

#[tokio::test]
async fn what_the_advertiser_cannot_cover_waits_until_it_can() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    sale(&offer, 50).await;
    let affiliate = offer.affiliate.agent_id();
    let payouts = request(&app, affiliate, Method::Wallet).await.unwrap();
    assert_eq!(payouts.len(), 1);
    assert_eq!((payouts[0].status, payouts[0].requested), (Status::AwaitingFunds, true));
    app.audit().await;
    assert_eq!(request(&app, affiliate, Method::Wallet).await.unwrap(), []);
    assert_eq!(fund_all(&app).await, 0);
    fund(&offer.advertiser, 10).await;
    assert_eq!(fund_all(&app).await, 1);
    assert_eq!((balance(&offer.advertiser).await, balance(&offer.affiliate).await), (json!(0), json!(10)));
    assert_eq!(fund_all(&app).await, 0);
    app.audit().await;
}

#[tokio::test]
async fn usdc_needs_an_address_and_elsewhere_is_not_the_affiliates_to_choose() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    sale(&offer, 50).await;
    let affiliate = offer.affiliate.agent_id();
    for method in [Method::Usdc, Method::External] {
        assert_eq!(request(&app, affiliate, method).await.unwrap_err().code.as_str(), "invalid_value");
    }
    let path = format!("/api/agents/{}/payout-address", offer.affiliate.id());
    let put = offer.affiliate.request("PUT", &path);
    let address = json!({"address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"});
    offer.affiliate.send(put.json(&address)).await.expect(200);
    assert_eq!(request(&app, affiliate, Method::Usdc).await.unwrap()[0].status, Status::AwaitingFunds);
    fund(&offer.advertiser, 20).await;
    assert_eq!(fund_all(&app).await, 1);
    let wallet = offer.advertiser.get("/api/wallet").await;
    assert_eq!((&wallet.body["balance"], &wallet.body["held"]), (&json!(10), &json!(10)));
    app.audit().await;
}
