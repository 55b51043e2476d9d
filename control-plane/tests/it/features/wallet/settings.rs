//! `PATCH /api/wallet`.

use crate::harness::TestApp;
use control_plane::workers::jobs::Turn;
use serde_json::json;

#[tokio::test]
async fn topping_up_by_itself_is_set_kept_and_turned_off() {
    let app = TestApp::start().await;
    let agent = app.agent("Payer").await;
    let wish = json!({"auto_topup": {"threshold": 2.5, "amount": 20}});
    let set = agent.patch("/api/wallet", wish).await;
    let on = json!({"enabled": true, "threshold": 2.5, "amount": 20});
    assert_eq!(set.expect(200)["auto_topup"], on);
    assert_eq!(agent.patch("/api/wallet", json!({})).await.expect(200)["auto_topup"], on);
    let off = agent.patch("/api/wallet", json!({"auto_topup": null})).await;
    assert_eq!(off.expect(200)["auto_topup"]["enabled"], false);
}

#[tokio::test]
async fn below_its_threshold_a_wallet_tops_itself_up_and_only_then() {
    let app = TestApp::start().await;
    let agent = app.agent("Payer").await;
    let job = async || control_plane::features::wallet::auto_topup::job(app.app.clone()).await.unwrap();
    assert_eq!(job().await, Turn::Idle);
    agent.patch("/api/wallet", json!({"auto_topup": {"threshold": 25, "amount": 10}})).await.expect(200);
    for balance in [10, 20, 30] {
        assert_eq!(job().await, Turn::Again);
        assert_eq!(agent.get("/api/wallet").await.body["balance"], balance);
    }
    assert_eq!(job().await, Turn::Idle);
    agent.patch("/api/wallet", json!({"auto_topup": null})).await.expect(200);
    assert_eq!(job().await, Turn::Idle);
    app.audit().await;
}

#[tokio::test]
async fn a_spend_cap_is_set_kept_and_lifted() {
    let app = TestApp::start().await;
    let agent = app.agent("Payer").await;
    for cap in [json!(50), json!(0), json!(12.345678), json!(1000000)] {
        let set = agent.patch("/api/wallet", json!({"monthly_spend_cap": cap})).await;
        assert_eq!(set.expect(200)["monthly_spend_cap"], cap);
    }
    assert_eq!(agent.patch("/api/wallet", json!({})).await.expect(200)["monthly_spend_cap"], 1000000);
    let lifted = agent.patch("/api/wallet", json!({"monthly_spend_cap": null})).await;
    assert!(lifted.expect(200)["monthly_spend_cap"].is_null());
}

#[tokio::test]
async fn wrong_settings_change_nothing() {
    let app = TestApp::start().await;
    let agent = app.agent("Payer").await;
    for bad in [
        json!({"auto_topup": {"threshold": 5, "amount": 7}}),
        json!({"auto_topup": {"threshold": -1, "amount": 20}}),
        json!({"auto_topup": {"threshold": 501, "amount": 20}}),
        json!({"auto_topup": true}),
        json!({"monthly_spend_cap": -1}),
        json!({"monthly_spend_cap": 1000000.01}),
        json!({"monthly_spend_cap": "50"}),
        json!({"balance": 1000}),
        json!({"currency": "eur"}),
    ] {
        agent.patch("/api/wallet", bad).await.is_error(400, "invalid_value");
    }
    agent.patch("/api/wallet", json!({"auto_topup": {"threshold": 5}})).await.is_error(400, "missing_field");
    let wallet = agent.get("/api/wallet").await;
    assert_eq!((&wallet.body["balance"], &wallet.body["auto_topup"]["enabled"]), (&json!(0), &json!(false)));
}
