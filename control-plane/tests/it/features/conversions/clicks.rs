//! Server-side clicks: `POST /api/conversions/track-click`, and `event_type: "click"`.

use crate::harness::TestApp;
use serde_json::json;

#[tokio::test]
async fn both_ways_store_and_meter_one_click_each() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let body = json!({"tracking_token": offer.token});
    let by_affiliate = offer.affiliate.post("/api/conversions/track-click", body.clone()).await;
    let click = by_affiliate.expect(201);
    assert_eq!(click["event_type"], "click");
    assert_eq!(click["tracking_token"], offer.token);
    assert_eq!(click["link_id"], offer.link);
    offer.advertiser.post("/api/conversions/track-click", body).await.expect(201);
    let event = json!({"tracking_token": offer.token, "event_type": "click"});
    offer.advertiser.post("/api/conversions/track", event).await.expect(201);
    let stored: (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM clicks WHERE link_key = $1 AND spool_tag = 0 AND flags = 1),
                (SELECT count(*) FROM click_deltas WHERE link_keys = ARRAY[$1] AND billable = '{t}' AND counts = '{1}'),
                (SELECT count(*) FROM clicks_default)",
    )
    .bind(offer.key.to_i64())
    .fetch_one(app.app.db())
    .await
    .unwrap();
    assert_eq!(stored, (3, 3, 0));
    // The click's id earns a sale like any other's.
    let sale = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 10, "click_id": click["click_id"]});
    let sale = offer.advertiser.post("/api/conversions/track", sale).await;
    assert_eq!(sale.expect(201)["clicked_at"], "2026-06-15T12:00:00.000Z");
}

#[tokio::test]
async fn the_first_clicks_of_a_day_can_come_at_once() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let requests: Vec<_> = (0..16)
        .map(|_| {
            let (client, body) = (offer.affiliate.clone(), json!({"tracking_token": offer.token}));
            tokio::spawn(async move { client.post("/api/conversions/track-click", body).await })
        })
        .collect();
    for request in requests {
        request.await.unwrap().expect(201);
    }
}

#[tokio::test]
async fn links_that_do_not_count_say_so() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let send = async || {
        offer.affiliate.post("/api/conversions/track-click", json!({"tracking_token": offer.token})).await
    };
    let stranger = app.agent("Stranger").await;
    let body = json!({"tracking_token": offer.token});
    stranger.post("/api/conversions/track-click", body).await.is_error(403, "not_owner");
    sqlx::query("UPDATE programs SET status = 'paused'").execute(app.app.db()).await.unwrap();
    send().await.is_error(409, "invalid_state");
    sqlx::query("UPDATE programs SET status = 'active'").execute(app.app.db()).await.unwrap();
    sqlx::query("UPDATE partnerships SET status = 'suspended'").execute(app.app.db()).await.unwrap();
    send().await.is_error(403, "not_approved");
    let unknown =
        offer.affiliate.post("/api/conversions/track-click", json!({"tracking_token": "abc123token"})).await;
    unknown.is_error(404, "not_found");
    let extra = json!({"tracking_token": offer.token, "event_type": "click"});
    offer.affiliate.post("/api/conversions/track-click", extra).await.is_error(400, "invalid_value");
    let stored: i64 =
        sqlx::query_scalar("SELECT (SELECT count(*) FROM clicks) + (SELECT count(*) FROM click_deltas)")
            .fetch_one(app.app.db())
            .await
            .unwrap();
    assert_eq!(stored, 0);
}
