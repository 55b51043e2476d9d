//! Payouts in a database that was restored or failed over.

use super::{balance, fund, process, sale};
use crate::harness::TestApp;
use control_plane::commands::payouts;
use control_plane::config::PayoutsAction;
use serde_json::json;

/// As it looks after a restore: the guard names the timeline before.
async fn restore(app: &TestApp) {
    sqlx::query("UPDATE payout_guard SET timeline = timeline - 1").execute(app.app.db()).await.unwrap();
}

#[tokio::test]
async fn f40_a_restored_database_pays_nobody_until_it_was_compared() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    fund(&offer.advertiser, 50).await;
    sale(&offer, 99).await;
    restore(&app).await;
    process(&offer, json!({"dry_run": true})).await.expect(200);
    let refused = process(&offer, json!({})).await;
    refused.is_error(503, "payouts_frozen");
    assert_eq!(refused.headers["retry-after"], "300");
    assert_eq!(balance(&offer.advertiser).await, json!(50));
    let mut conn = app.app.db().acquire().await.unwrap();
    let status = payouts::run(&mut conn, &PayoutsAction::Status, app.now()).await.unwrap();
    assert!(!status.well && status.text.contains("FROZEN"), "{}", status.text);
    assert!(payouts::run(&mut conn, &PayoutsAction::Thaw, app.now()).await.unwrap().well);
    assert!(payouts::run(&mut conn, &PayoutsAction::Status, app.now()).await.unwrap().well);
    process(&offer, json!({})).await.expect(201);
    assert_eq!(balance(&offer.affiliate).await, json!(19.8));
    app.audit().await;
}

#[tokio::test]
async fn f40_a_cluster_a_dump_was_loaded_into_is_another_one() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    sale(&offer, 99).await;
    sqlx::query("UPDATE payout_guard SET system_identifier = system_identifier + 1")
        .execute(app.app.db())
        .await
        .unwrap();
    process(&offer, json!({"method": "external"})).await.is_error(503, "payouts_frozen");
}
