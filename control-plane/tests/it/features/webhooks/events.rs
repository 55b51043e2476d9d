//! Events as they are written and pulled: `GET /api/events`.

use crate::harness::{Client, Offer, TestApp};
use chrono::TimeDelta;
use control_plane::features::webhooks;
use serde_json::{Value, json};

/// Lets what is committed into the feeds.
pub(super) async fn advance(app: &TestApp) {
    let mut tx = app.app.db_worker().begin().await.unwrap();
    webhooks::feed::advance(&mut tx, app.app.clock()).await.unwrap();
    tx.commit().await.unwrap();
}

async fn sale(offer: &Offer, order: &str) -> Value {
    let body = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 99.5, "external_id": order});
    let reply = offer.advertiser.post("/api/conversions/track", body).await;
    reply.expect(201).clone()
}

async fn decide(offer: &Offer, id: &Value, status: &str) {
    let path = format!("/api/conversions/{}", id.as_str().unwrap());
    offer.advertiser.patch(&path, json!({"status": status})).await.expect(200);
}

/// Everything in a client's feed, read one by one.
async fn pull(client: &Client) -> Vec<Value> {
    let (mut events, mut after) = (Vec::new(), "0".to_owned());
    loop {
        let reply = client.get(&format!("/api/events?per_page=1&after={after}")).await;
        let page = reply.expect(200);
        events.extend(page["data"].as_array().unwrap().iter().cloned());
        page["next_after"].as_str().unwrap().clone_into(&mut after);
        if page["has_more"] == false {
            return events;
        }
    }
}

#[tokio::test]
async fn both_sides_read_the_same_events_in_order() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let first = sale(&offer, "order-1").await;
    decide(&offer, &first["id"], "approved").await;
    decide(&offer, &first["id"], "rejected").await;
    sale(&offer, "order-2").await;
    advance(&app).await;
    let events = pull(&offer.advertiser).await;
    assert_eq!(events, pull(&offer.affiliate).await);
    assert_eq!(pull(&app.agent("Stranger").await).await, [] as [Value; 0]);
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event["type"].as_str().unwrap(), event["data"]["sequence"].as_i64().unwrap()))
        .collect();
    let expected = [
        ("affiliate.joined", 1),
        ("affiliate.approved", 2),
        ("conversion.created", 1),
        ("conversion.approved", 2),
        ("conversion.rejected", 3),
        ("conversion.created", 1),
    ];
    assert_eq!(seen, expected);
    assert_eq!(events[0]["data"]["affiliate_handle"], "affiliate");
    let data = &events[2]["data"];
    assert_eq!((&data["object"], &data["version"]), (&json!("conversion"), &json!(1)));
    for member in ["id", "program_id", "affiliate_id", "revenue_amount", "commission_amount", "created_at"] {
        assert_eq!(data[member], first[member], "{member}");
    }
    assert_eq!(data["status"], "pending");
    assert_eq!(events[4]["data"]["status"], "rejected");
    assert_eq!(events[0]["created_at"], "2026-06-15T12:00:00.000Z");
}

#[tokio::test]
async fn what_is_refused_or_rolled_back_has_no_event() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    sale(&offer, "order-1").await;
    let body = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 5, "external_id": "order-1"});
    offer.advertiser.post("/api/conversions/track", body).await.is_error(409, "duplicate_conversion");
    let body = json!({"tracking_token": offer.token, "event_type": "click"});
    offer.advertiser.post("/api/conversions/track", body).await.expect(201);
    advance(&app).await;
    let types: Vec<_> = pull(&offer.advertiser).await.iter().map(|event| event["type"].clone()).collect();
    assert_eq!(types, ["affiliate.joined", "affiliate.approved", "conversion.created"]);
}

#[tokio::test]
async fn a_late_commit_is_read_by_whoever_has_read_on() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let event = {
        let id = sale(&offer, "order-1").await["id"].as_str().unwrap().parse().unwrap();
        let mut conn = app.app.db().acquire().await.unwrap();
        control_plane::features::conversions::ops::load(&mut conn, id).await.unwrap().as_event()
    };
    let event = webhooks::event::Event::ConversionApproved(event);
    advance(&app).await;
    // One transaction writes its event first and commits last.
    let mut slow = app.app.begin().await.unwrap();
    webhooks::ops::emit(&mut slow, app.app.clock(), &event).await.unwrap();
    sale(&offer, "order-2").await;
    advance(&app).await;
    let reply = offer.affiliate.get("/api/events").await;
    let page = reply.expect(200);
    assert_eq!(page["data"].as_array().unwrap().len(), 4);
    let after = page["next_after"].as_str().unwrap().to_owned();
    slow.commit().await.unwrap();
    advance(&app).await;
    let reply = offer.affiliate.get(&format!("/api/events?after={after}")).await;
    assert_eq!(reply.expect(200)["data"][0]["type"], "conversion.approved");
    assert_eq!(reply.body["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_position_stays_good_and_a_wrong_one_is_said() {
    let app = TestApp::start().await;
    let agent = app.agent("Reader").await;
    let reply = agent.get("/api/events?after=77").await;
    assert_eq!(reply.expect(200), &json!({"data": [], "has_more": false, "next_after": "77"}));
    assert_eq!(agent.get("/api/events").await.expect(200)["next_after"], "0");
    for bad in ["after=-1", "after=x", "after=99999999999999999999", "per_page=0", "per_page=101", "page=1"] {
        agent.get(&format!("/api/events?{bad}")).await.is_error(400, "invalid_value");
    }
    app.anyone().get("/api/events").await.is_error(401, "api_key_missing");
    agent.post("/api/events", json!({})).await.is_error(405, "method_not_allowed");
}

#[tokio::test]
async fn events_are_kept_for_thirty_days() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    sale(&offer, "order-1").await;
    advance(&app).await;
    let after = offer.affiliate.get("/api/events").await.expect(200)["next_after"].clone();
    let path = format!("/api/events?after={}", after.as_str().unwrap());
    for (days, left) in [(30, 3), (2, 0)] {
        app.clock.advance(TimeDelta::days(days));
        webhooks::feed::job(app.app.clone()).await.unwrap();
        assert_eq!(pull(&offer.affiliate).await.len(), left, "{days}");
    }
    let events: i64 =
        sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(app.app.db()).await.unwrap();
    assert_eq!(events, 0);
    // The position is still good, and the object's sequence goes on where it was.
    let id: Value = offer
        .advertiser
        .get(&format!("/api/programs/{}/conversions", offer.program))
        .await
        .expect(200)["data"][0]["id"]
        .clone();
    decide(&offer, &id, "approved").await;
    advance(&app).await;
    let reply = offer.affiliate.get(&path).await;
    assert_eq!(reply.expect(200)["data"][0]["data"]["sequence"], 2);
}
