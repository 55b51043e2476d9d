//! What is published of a program: how many conversions it approves, how soon it pays, whether it can.

use crate::harness::{Offer, TestApp};
use chrono::TimeDelta;
use control_plane::features::network;
use serde_json::{Value, json};

async fn published(app: &TestApp, offer: &Offer) -> Value {
    network::job(app.app.clone()).await.unwrap();
    let program = app.anyone().get(&format!("/api/programs/{}", offer.program)).await;
    let body = program.expect(200);
    json!([body["approval_rate"], body["days_to_pay"], body["funded"]])
}

/// Reports a lead or sale and decides on it.
async fn sold(offer: &Offer, order: usize, status: &str) {
    let sale = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 10, "external_id": format!("order-{order}")});
    let made = offer.advertiser.post("/api/conversions/track", sale).await;
    let id = made.expect(201)["id"].as_str().unwrap().to_owned();
    offer.advertiser.patch(&format!("/api/conversions/{id}"), json!({"status": status})).await.expect(200);
}

#[tokio::test]
async fn figures_wait_until_they_mean_something() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    assert_eq!(published(&app, &offer).await, json!([null, null, false]));
    for order in 0..9 {
        sold(&offer, order, if order < 8 { "approved" } else { "rejected" }).await;
    }
    assert_eq!(published(&app, &offer).await, json!([null, null, false]), "nine decided are too few");
    sold(&offer, 9, "rejected").await;
    assert_eq!(published(&app, &offer).await, json!([80, null, false]));
    // Eight commissions of $2 are owed.
    offer.advertiser.post("/api/wallet/topup", json!({"amount": 15})).await.expect(201);
    assert_eq!(published(&app, &offer).await, json!([80, null, false]), "15 is less than the 16 owed");
    offer.advertiser.post("/api/wallet/topup", json!({"amount": 5})).await.expect(201);
    assert_eq!(published(&app, &offer).await, json!([80, null, true]));
    app.clock.advance(TimeDelta::hours(60));
    let pay = json!({"program_id": offer.program, "dry_run": false});
    offer.advertiser.post("/api/payouts/process", pay).await.expect(201);
    assert_eq!(published(&app, &offer).await, json!([80, 2.5, true]));
    app.clock.advance(TimeDelta::days(91));
    assert_eq!(published(&app, &offer).await, json!([null, null, true]), "what is old says nothing");
    app.audit().await;
}

#[tokio::test]
async fn every_program_says_what_to_disclose_and_that_no_place_is_bought() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    let plain = app.program_with(&advertiser, json!({})).await;
    assert_eq!(
        (&plain["disclosure_text"], &plain["sponsored"]),
        (&json!("I earn a commission when you buy through this link."), &json!(false))
    );
    let path = format!("/api/programs/{}", plain["id"].as_str().unwrap());
    let own = advertiser.patch(&path, json!({"disclosure_text": "Paid partnership with My SaaS"})).await;
    assert_eq!(own.expect(200)["disclosure_text"], "Paid partnership with My SaaS");
    for bad in [json!("x".repeat(301)), json!("a\u{202e}b"), json!("")] {
        let reply = advertiser.patch(&path, json!({"disclosure_text": bad})).await;
        reply.is_error(400, "invalid_value");
        assert_eq!(reply.body["field"], "disclosure_text");
    }
    let back = advertiser.patch(&path, json!({"disclosure_text": null})).await;
    assert_eq!(back.expect(200)["disclosure_text"], plain["disclosure_text"]);
    advertiser.post("/api/programs", json!({"name": "Paid place", "commission_type": "fixed", "commission_value": 5, "sponsored": true})).await.is_error(400, "invalid_value");
}

/// 20,000 leads that were decided and paid long ago, in the order of time, beside an offer's own.
async fn seed_the_past(app: &TestApp, offer: &Offer) {
    let mut connection = app.app.db_worker().acquire().await.unwrap();
    for statement in [
        "INSERT INTO conversions (id, advertiser_id, program_id, partnership_id, affiliate_id, link_id, event_type,
                                  currency, status, auto_approve_at, created_at, updated_at, decided_at)
         SELECT gen_random_uuid(), advertiser_id, program_id, partnership_id, affiliate_id, links.id, 'lead', 'usd',
                'approved', at, at, at, at + INTERVAL '1 day'
           FROM links, generate_series(1, 20000) AS n,
                LATERAL (SELECT TIMESTAMPTZ '2020-01-01 00:00:00Z' + n * INTERVAL '2 hours') AS past (at)
          WHERE links.id = $1
          ORDER BY n",
        "INSERT INTO payouts (id, advertiser_id, program_id, affiliate_id, amount_micros, currency, method, status,
                              reference, created_at, updated_at, paid_at)
         SELECT gen_random_uuid(), advertiser_id, program_id, affiliate_id, 1000000, 'usd', 'external', 'paid',
                'seed', decided_at, decided_at, decided_at
           FROM conversions WHERE link_id = $1 ORDER BY created_at LIMIT 5000",
        "INSERT INTO commissions (id, advertiser_id, conversion_id, program_id, partnership_id, affiliate_id,
                                  amount_micros, currency, fixed_micros, status, payable_at, created_at, updated_at,
                                  payout_id)
         SELECT gen_random_uuid(), conversions.advertiser_id, conversions.id, conversions.program_id, partnership_id,
                conversions.affiliate_id, 1000000, 'usd', 1000000, 'paid', decided_at, conversions.created_at,
                decided_at, (SELECT id FROM payouts LIMIT 1)
           FROM conversions WHERE link_id = $1 ORDER BY conversions.created_at",
    ] {
        sqlx::query(statement).bind(offer.link.parse::<uuid::Uuid>().unwrap()).execute(&mut *connection).await.unwrap();
    }
    sqlx::query("SELECT pg_stat_force_next_flush()").execute(&mut *connection).await.unwrap();
    drop(connection);
    app.analyze().await;
}

#[tokio::test]
async fn the_past_is_not_read_again_for_it() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    seed_the_past(&app, &offer).await;
    for order in 0..10 {
        sold(&offer, order, "approved").await;
    }
    let before = app.scanned_rows().await;
    assert_eq!(published(&app, &offer).await, json!([100, null, false]));
    let after = app.scanned_rows().await;
    for table in ["conversions", "commissions", "payouts"] {
        // A row or two are looked at in passing.
        let read = after[table] - before[table];
        assert!(read < 100, "{table} is read from end to end: {read} rows");
    }
}
