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

#[tokio::test]
async fn what_the_program_does_not_pay_for_is_kept_unmetered() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let body = json!({"tracking_token": offer.token});
    let paid = offer.affiliate.post("/api/conversions/track-click", body.clone()).await;
    assert_eq!((&paid.expect(201)["class"], &paid.body["counted"]), (&json!("agent"), &json!(true)));
    let classes = json!({"pay_classes": ["human"]});
    offer.advertiser.patch(&format!("/api/programs/{}", offer.program), classes).await.expect(200);
    let unpaid = offer.affiliate.post("/api/conversions/track-click", body).await;
    assert_eq!(unpaid.expect(201)["counted"], false);
    let stored: Vec<(i16, bool)> = sqlx::query_as(
        "SELECT clicks.flags, deltas.billable
           FROM clicks
           JOIN LATERAL (SELECT billable[1] AS billable, row_number() OVER (ORDER BY id) AS number FROM click_deltas)
                AS deltas ON deltas.number = (SELECT count(*) FROM clicks AS earlier WHERE earlier.seq <= clicks.seq)
          ORDER BY clicks.seq",
    )
    .fetch_all(app.app.db())
    .await
    .unwrap();
    assert_eq!(stored, [(1, true), (0, false)]);
    let usage = offer.advertiser.get("/api/usage").await;
    assert_eq!(usage.expect(200)["usage"]["clicks"]["used"], 1);
}

#[tokio::test]
async fn an_account_cannot_report_without_end() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let body = json!({"tracking_token": offer.token});
    let first = offer.affiliate.post("/api/conversions/track-click", body.clone()).await;
    first.expect(201);
    assert_eq!(first.headers["x-ratelimit-limit"], "1000");
    assert!(
        first.headers.contains_key("x-ratelimit-remaining")
            && first.headers.contains_key("x-ratelimit-reset")
    );
    let key = app.app.keys().named(&format!("rate:track-click:{{{}}}", offer.affiliate.id()));
    let mut redis = app.app.redis().get().await.unwrap();
    let mut refused = first;
    // As if it had used its minute up; twice, should a minute end in between.
    for _ in 0..2 {
        let (seconds, _): (i64, i64) = redis::cmd("TIME").query_async(&mut redis).await.unwrap();
        let start = seconds - seconds.rem_euclid(60);
        let mut set = redis::cmd("HSET");
        set.arg(&key).arg("start").arg(start).arg("taken").arg(1000);
        set.query_async::<()>(&mut redis).await.unwrap();
        refused = offer.affiliate.post("/api/conversions/track-click", body.clone()).await;
        if refused.status == 429 {
            break;
        }
    }
    refused.is_error(429, "rate_limited");
    assert!(refused.headers.contains_key("retry-after"));
    // Others are not affected.
    offer.advertiser.post("/api/conversions/track-click", body).await.expect(201);
}
