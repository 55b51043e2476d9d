//! `POST /api/conversions/track`: leads and sales.

use crate::harness::{Offer, Reply, TestApp};
use chrono::TimeDelta;
use control_plane::App;
use serde_json::{Value, json};
use shared::{ClickId, LinkKey};
use std::collections::HashSet;

fn sale(offer: &Offer, amount: f64) -> Value {
    json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": amount})
}

async fn track(offer: &Offer, body: Value) -> Reply {
    offer.advertiser.post("/api/conversions/track", body).await
}

fn click_id(app: &App, link: LinkKey, ago: TimeDelta) -> String {
    let at_ms = (app.clock().now() - ago).timestamp_millis();
    let id = app.click_id_key().mint(&ClickId { at_ms, spool_tag: 1, seq: 2, link });
    String::from_utf8(id.to_vec()).unwrap()
}

/// Conversions, commissions and metered conversions of the whole database.
async fn counts(app: &TestApp) -> (i64, i64, i64) {
    sqlx::query_as(
        "SELECT (SELECT count(*) FROM conversions), (SELECT count(*) FROM commissions),
                (SELECT COALESCE(sum(used), 0)::BIGINT FROM usage_months WHERE metric = 'conversions')",
    )
    .fetch_one(app.app.db())
    .await
    .unwrap()
}

#[tokio::test]
async fn a_sale_earns_its_share_exactly() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let body = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 148.5, "external_id": "order-456"});
    let reply = track(&offer, body).await;
    let conversion = reply.expect(201);
    assert!(reply.text.contains("\"commission_amount\":29.7,"), "{reply}");
    assert_eq!(conversion["status"], "pending");
    assert_eq!(conversion["revenue_amount"], 148.5);
    assert_eq!(conversion["currency"], "usd");
    assert_eq!(conversion["external_id"], "order-456");
    assert_eq!(conversion["tracking_token"], offer.token);
    assert_eq!(conversion["link_id"], offer.link);
    assert_eq!(conversion["program_id"], offer.program);
    assert_eq!(conversion["partnership_id"], offer.partnership);
    assert_eq!(conversion["affiliate_id"], offer.affiliate.id());
    assert_eq!(conversion["advertiser_id"], offer.advertiser.id());
    assert_eq!(conversion["commission"]["commission_type"], "percentage");
    assert_eq!(conversion["commission"]["commission_value"], 20);
    assert_eq!(conversion["auto_approve_at"], "2026-07-30T12:00:00.000Z");
    let id = conversion["id"].as_str().unwrap();
    let read = offer.affiliate.get(&format!("/api/conversions/{id}")).await;
    assert_eq!(read.expect(200), conversion);
    assert_eq!(counts(&app).await, (1, 1, 1));
}

#[tokio::test]
async fn the_terms_are_those_of_the_conversion() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let before = track(&offer, sale(&offer, 100.0)).await;
    sqlx::query(
        "UPDATE programs SET commission_type = 'fixed', commission_rate_bp = NULL, commission_fixed_micros = 5000000, hold_days = 14",
    )
    .execute(app.app.db())
    .await
    .unwrap();
    let after = track(&offer, sale(&offer, 100.0)).await;
    let lead = track(&offer, json!({"tracking_token": offer.token, "event_type": "lead"})).await;
    assert_eq!(after.expect(201)["commission_amount"], 5);
    assert_eq!(after.body["commission"]["payable_at"], "2026-06-29T12:00:00.000Z");
    assert_eq!(lead.expect(201)["commission_amount"], 5);
    assert_eq!(lead.body["revenue_amount"], Value::Null);
    let id = before.body["id"].as_str().unwrap();
    let read = offer.advertiser.get(&format!("/api/conversions/{id}")).await;
    assert_eq!(read.expect(200)["commission_amount"], 20);
    assert_eq!(read.body["commission"]["commission_type"], "percentage");
}

#[tokio::test]
async fn thirty_two_at_once_under_one_external_id_are_one() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let other = app.another_affiliate(&offer, "Second").await;
    let requests: Vec<_> = (0..32)
        .map(|number| {
            let (client, token) = (offer.advertiser.clone(), if number % 2 == 0 { &offer.token } else { &other.token });
            let body = json!({"tracking_token": token, "event_type": "sale", "revenue_amount": 10, "external_id": "order-1"});
            tokio::spawn(async move { client.post("/api/conversions/track", body).await })
        })
        .collect();
    let (mut created, mut named) = (Vec::new(), HashSet::new());
    for request in requests {
        let reply = request.await.unwrap();
        if reply.status == 201 {
            created.push(reply.body["id"].clone());
        } else {
            reply.is_error(409, "duplicate_conversion");
            named.insert(reply.body["conversion_id"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(created.len(), 1);
    assert_eq!(named, HashSet::from([created[0].as_str().unwrap().to_owned()]));
    assert_eq!(counts(&app).await, (1, 1, 1));
    // The same name for another kind of event is another conversion.
    let lead = json!({"tracking_token": offer.token, "event_type": "lead", "external_id": "order-1"});
    track(&offer, lead).await.expect(201);
}

#[tokio::test]
async fn an_idempotency_key_reports_once() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let send = |amount: f64| {
        let request =
            offer.advertiser.request("POST", "/api/conversions/track").header("idempotency-key", "k1");
        offer.advertiser.send(request.json(&sale(&offer, amount)))
    };
    let (first, second) = tokio::join!(send(10.0), send(10.0));
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.body, second.body);
    let replayed = |reply: &Reply| reply.headers.contains_key("idempotent-replayed");
    assert!(replayed(&first) != replayed(&second));
    send(11.0).await.is_error(409, "idempotency_key_reused");
    assert_eq!(counts(&app).await, (1, 1, 1));
}

#[tokio::test]
async fn a_click_earns_within_its_days() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let with_click = |id: String| json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 10, "click_id": id});
    let day_old = click_id(&app.app, offer.key, TimeDelta::days(1));
    let reply = track(&offer, with_click(day_old.clone())).await;
    assert_eq!(reply.expect(201)["click_id"], day_old);
    assert_eq!(reply.body["clicked_at"], "2026-06-14T12:00:00.000Z");
    let late = track(&offer, with_click(click_id(&app.app, offer.key, TimeDelta::days(31)))).await;
    late.is_error(422, "attribution_expired");
    assert_eq!(late.body["attribution_days"], 30);
    let foreign = track(&offer, with_click(click_id(&app.app, LinkKey(77), TimeDelta::days(1)))).await;
    foreign.is_error(400, "invalid_value");
    assert_eq!(foreign.body["field"], "click_id");
    let forged: String = day_old.chars().rev().collect();
    track(&offer, with_click(forged)).await.is_error(400, "invalid_value");
    assert_eq!(counts(&app).await, (1, 1, 1));
}

#[tokio::test]
async fn what_is_wrong_is_said_and_costs_nothing() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let refused = async |body: Value, status: u16, code: &str, field: Value| {
        let reply = track(&offer, body).await;
        reply.is_error(status, code);
        assert_eq!(reply.body["field"], field, "{reply}");
    };
    let token = &offer.token;
    let sale =
        |amount: Value| json!({"tracking_token": token, "event_type": "sale", "revenue_amount": amount});
    refused(json!({"event_type": "lead"}), 400, "missing_field", json!("tracking_token")).await;
    refused(json!({"tracking_token": token}), 400, "missing_field", json!("event_type")).await;
    refused(
        json!({"tracking_token": token, "event_type": "sale"}),
        400,
        "missing_field",
        json!("revenue_amount"),
    )
    .await;
    refused(
        json!({"tracking_token": token, "event_type": "sail"}),
        400,
        "invalid_value",
        json!("event_type"),
    )
    .await;
    for amount in [
        json!(0),
        json!(-1),
        json!(0.005),
        json!(99.005),
        json!(10_000_000.01),
        json!("20"),
        json!([20]),
        json!(1e300),
    ] {
        refused(sale(amount), 400, "invalid_value", json!("revenue_amount")).await;
    }
    refused(
        json!({"tracking_token": token, "event_type": "lead", "revenue_amount": 5}),
        400,
        "invalid_value",
        json!("revenue_amount"),
    )
    .await;
    refused(
        json!({"tracking_token": token, "event_type": "lead", "currency": "eur"}),
        400,
        "invalid_value",
        json!("currency"),
    )
    .await;
    refused(
        json!({"tracking_token": token, "event_type": "lead", "external_id": ""}),
        400,
        "invalid_value",
        json!("external_id"),
    )
    .await;
    refused(
        json!({"tracking_token": "abc123token", "event_type": "lead"}),
        404,
        "not_found",
        json!("tracking_token"),
    )
    .await;
    let made_up = app.app.token_key().mint(LinkKey::generate()).to_string();
    refused(
        json!({"tracking_token": made_up, "event_type": "lead"}),
        404,
        "not_found",
        json!("tracking_token"),
    )
    .await;
    for client in [&offer.affiliate, &app.agent("Stranger").await] {
        let reply = client
            .post("/api/conversions/track", json!({"tracking_token": token, "event_type": "lead"}))
            .await;
        reply.is_error(403, "not_owner");
    }
    for status in ["pending", "rejected", "suspended", "cancelled"] {
        sqlx::query("UPDATE partnerships SET status = $1").bind(status).execute(app.app.db()).await.unwrap();
        refused(json!({"tracking_token": token, "event_type": "lead"}), 403, "not_approved", Value::Null)
            .await;
    }
    sqlx::query("UPDATE programs SET status = 'archived'").execute(app.app.db()).await.unwrap();
    refused(json!({"tracking_token": token, "event_type": "lead"}), 409, "invalid_state", Value::Null).await;
    assert_eq!(counts(&app).await, (0, 0, 0));
}

#[tokio::test]
async fn a_deleted_link_and_a_paused_program_still_earn_what_their_clicks_led_to() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    sqlx::query("UPDATE links SET deleted_at = created_at").execute(app.app.db()).await.unwrap();
    sqlx::query("UPDATE programs SET status = 'paused'").execute(app.app.db()).await.unwrap();
    track(&offer, sale(&offer, 10.0)).await.expect(201);
}
