//! The free tier to its edge: click 10,001, conversion 101 and matching request 51 of a month, for an agent that
//! never paid, one with money and one on Pro.

use crate::harness::{Offer, SHARDS, TestApp};
use control_plane::features::clicks::fold::fold;
use control_plane::features::usage::ops;
use control_plane::workers::drainer::Drainer;
use serde_json::{Value, json};
use shared::id::{ConversionId, EventId};

/// What became of one unit, and what it cost in dollars.
type Cell = (&'static str, Value);

async fn balance(offer: &Offer) -> f64 {
    offer.advertiser.get("/api/wallet").await.expect(200)["balance"].as_f64().unwrap()
}

/// What something costs: the wallet before, less the wallet after.
async fn cost(offer: &Offer, unit: impl Future<Output = &'static str>) -> Cell {
    let before = balance(offer).await;
    let outcome = unit.await;
    let micros = ((before - balance(offer).await) * 1e6).round();
    (outcome, json!(micros as i64))
}

/// Ships clicks from an edge to the usage; gives where the last one went.
async fn click(app: &TestApp, offer: &Offer, first: u64, clicks: u64) -> &'static str {
    let mut spool = app.spool(app.number(&offer.advertiser).await as u32);
    spool.link = offer.key;
    let mut next = first;
    while next < first + clicks {
        let count = (first + clicks - next).min(500);
        let frame = spool.frame(next - first, count);
        spool.ship(&frame).await;
        next += count;
    }
    let mut drainer = Drainer::new(&app.app).unwrap();
    while app.entries().await > 0 {
        drainer.step(SHARDS).await.unwrap();
    }
    let before = over_limit(app, offer).await;
    while fold(&mut app.app.db_worker().acquire().await.unwrap(), app.now()).await.unwrap().rows > 0 {}
    if over_limit(app, offer).await > before { "over the limit, redirected" } else { "granted" }
}

async fn over_limit(app: &TestApp, offer: &Offer) -> i64 {
    let number = app.number(&offer.advertiser).await;
    sqlx::query_scalar(
        "SELECT coalesce(sum(over_limit), 0)::BIGINT FROM usage_months WHERE advertiser = $1 AND metric = 'clicks'",
    )
    .bind(number)
    .fetch_one(app.app.db())
    .await
    .unwrap()
}

async fn convert(offer: &Offer) -> &'static str {
    let body = json!({"tracking_token": offer.token, "event_type": "lead"});
    let reply = offer.advertiser.post("/api/conversions/track", body).await;
    match (reply.status, reply.body["error"].as_str()) {
        (201, None) => "granted",
        (402, Some("free_tier_limit_reached")) => "402 free_tier_limit_reached",
        (402, Some("insufficient_credits")) => "402 insufficient_credits",
        _ => panic!("{reply}"),
    }
}

async fn match_once(app: &TestApp, offer: &Offer) -> &'static str {
    let number = app.number(&offer.advertiser).await;
    let mut tx = app.app.begin().await.unwrap();
    let request = EventId::generate().to_string();
    match ops::charge_matching_request(&mut tx, number, &request, app.now()).await {
        Ok(_) => {
            tx.commit().await.unwrap();
            "granted"
        }
        Err(refused) => match refused.code.as_str() {
            "free_tier_limit_reached" => "402 free_tier_limit_reached",
            "insufficient_credits" => "402 insufficient_credits",
            code => panic!("{code}"),
        },
    }
}

/// Uses up what the free plan includes, all of it granted and none of it charged.
async fn use_up(app: &TestApp, offer: &Offer) {
    let granted = cost(offer, click(app, offer, 0, 10_000)).await;
    assert_eq!(granted, ("granted", json!(0)));
    let number = app.number(&offer.advertiser).await;
    let mut tx = app.app.begin().await.unwrap();
    for _ in 0..100 {
        let cost =
            ops::charge_conversion(&mut tx, number, ConversionId::generate(), app.now()).await.unwrap();
        assert_eq!(cost.0, 0);
    }
    for _ in 0..50 {
        let request = EventId::generate().to_string();
        let cost = ops::charge_matching_request(&mut tx, number, &request, app.now()).await.unwrap();
        assert_eq!(cost.0, 0);
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn the_unit_after_the_allowance_for_an_unfunded_a_funded_and_a_pro_agent() {
    let app = TestApp::start().await;
    let mut table = Vec::new();
    for (name, amount, pro) in [("unfunded", 0, false), ("funded", 5, false), ("pro", 5, true)] {
        let offer = app.offer_named(name, &format!("{name} affiliate")).await;
        if amount > 0 {
            offer.advertiser.post("/api/wallet/topup", json!({"amount": amount})).await.expect(201);
        }
        if pro {
            app.set_tier(&offer.advertiser, "pro").await;
        }
        use_up(&app, &offer).await;
        let clicks = cost(&offer, click(&app, &offer, 10_000, 1)).await;
        let conversion = cost(&offer, convert(&offer)).await;
        let matching = cost(&offer, match_once(&app, &offer)).await;
        table.push((name, [clicks, conversion, matching]));
        let usage = offer.advertiser.get("/api/usage").await;
        let usage = &usage.expect(200)["usage"];
        // A click is never refused; what was refused left no trace.
        assert_eq!(usage["clicks"]["used"], 10_001, "{usage}");
        assert_eq!(usage["conversions"]["used"], if name == "unfunded" { 100 } else { 101 });
        assert_eq!(usage["matching_requests"]["used"], if name == "unfunded" { 50 } else { 51 });
    }
    println!("{:<10}{:<44}{:<44}{:<44}", "", "click 10,001", "conversion 101", "matching request 51");
    for (name, cells) in &table {
        let cells = cells.each_ref().map(|(what, micros)| format!("{what}, {micros} micro-dollars"));
        println!("{name:<10}{:<44}{:<44}{:<44}", cells[0], cells[1], cells[2]);
    }
    let refused = ("402 free_tier_limit_reached", json!(0));
    assert_eq!(
        table,
        [
            ("unfunded", [("over the limit, redirected", json!(0)), refused.clone(), refused]),
            ("funded", [("granted", json!(2_000)), ("granted", json!(300_000)), ("granted", json!(50_000))]),
            // Pro includes more clicks and conversions; matching requests alone are over, at half the price.
            ("pro", [("granted", json!(0)), ("granted", json!(0)), ("granted", json!(25_000))]),
        ]
    );
    app.audit_books().await;
}
