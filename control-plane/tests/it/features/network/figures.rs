//! `GET /api/network/niches`, `GET /api/network/stats`, and the job that takes the figures.

use crate::harness::{Offer, TestApp};
use chrono::{DateTime, TimeDelta, Utc};
use control_plane::features::network;
use serde_json::json;

/// Clicks of an hour that were folded.
async fn clicked(app: &TestApp, offer: &Offer, hour: DateTime<Utc>, clicks: i64, billable: i64) {
    sqlx::query(
        "INSERT INTO link_hours (advertiser, link_key, hour, class, clicks, billable) VALUES ($1, $2, $3, 0, $4, $5)",
    )
    .bind(app.number(&offer.advertiser).await)
    .bind(offer.key.to_i64())
    .bind(hour)
    .bind(clicks)
    .bind(billable)
    .execute(app.app.db())
    .await
    .unwrap();
}

async fn refresh(app: &TestApp) {
    network::job(app.app.clone()).await.unwrap();
}

#[tokio::test]
async fn niches_of_active_programs() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    for niche in ["SaaS", "saas", "games"] {
        app.program_with(&advertiser, json!({"niche": niche})).await;
    }
    let closed = app.program_with(&advertiser, json!({"niche": "closed"})).await;
    advertiser.delete(&format!("/api/programs/{}", closed["id"].as_str().unwrap())).await.expect(200);
    app.program(&advertiser).await;
    let reply = app.anyone().get("/api/network/niches").await;
    assert_eq!(
        reply.expect(200)["data"],
        json!([{"niche": "saas", "programs": 2, "affiliates": 0}, {"niche": "games", "programs": 1, "affiliates": 0}])
    );
}

#[tokio::test]
async fn the_networks_figures_add_up() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let sale = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 100});
    offer.advertiser.post("/api/conversions/track", sale).await.expect(201);
    clicked(&app, &offer, app.now() - TimeDelta::hours(1), 300, 250).await;
    clicked(&app, &offer, app.now() - TimeDelta::days(31), 1000, 1000).await;
    let wanted = json!({
        "agents": 2, "active_programs": 1, "advertisers": 1, "partnerships": 1, "niches": 0, "clicks": 250,
        "conversions": 1, "commissions": 20, "currency": "usd", "as_of": "2026-06-15T12:00:00.000Z",
    });
    assert_eq!(*app.anyone().get("/api/network/stats").await.expect(200), wanted, "before the job has run");
    refresh(&app).await;
    assert_eq!(*app.anyone().get("/api/network/stats").await.expect(200), wanted);
    // What exists is counted at once, what happened when the job runs.
    app.clock.advance(TimeDelta::minutes(2));
    clicked(&app, &offer, app.now() - TimeDelta::hours(2), 50, 50).await;
    app.agent("Third").await;
    let reply = app.anyone().get("/api/network/stats").await;
    assert_eq!((&reply.expect(200)["agents"], &reply.body["clicks"]), (&json!(3), &json!(250)));
    refresh(&app).await;
    let reply = app.anyone().get("/api/network/stats").await;
    assert_eq!(
        (&reply.body["clicks"], &reply.body["as_of"]),
        (&json!(300), &json!("2026-06-15T12:02:00.000Z"))
    );
}

#[tokio::test]
async fn earnings_per_click_are_exact_and_need_a_hundred_clicks() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let epc = async || {
        refresh(&app).await;
        app.anyone().get(&format!("/api/programs/{}", offer.program)).await.expect(200)["epc"].clone()
    };
    let sale = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 50});
    offer.advertiser.post("/api/conversions/track", sale).await.expect(201);
    clicked(&app, &offer, app.now() - TimeDelta::hours(1), 99, 99).await;
    assert_eq!(epc().await, json!(null));
    clicked(&app, &offer, app.now() - TimeDelta::hours(2), 900, 201).await;
    assert_eq!(epc().await.to_string(), "0.033333", "10 dollars by 300 counted clicks");
    assert_eq!(epc().await.to_string(), "0.033333", "running twice changes nothing");
    let best = app.anyone().get("/api/network/discover?sort=best_epc").await;
    assert_eq!(best.expect(200)["data"][0]["id"], offer.program.as_str());
    app.clock.advance(TimeDelta::days(31));
    assert_eq!(epc().await, json!(null));
}
