//! A link that is hammered: clicks above its cap are kept and not billed, to the micro-dollar.

use crate::harness::{Client, Offer, SHARDS, TestApp, TestSpool};
use chrono::TimeDelta;
use control_plane::features::clicks::fold::fold;
use control_plane::features::usage::hammered;
use control_plane::workers::drainer::Drainer;
use serde_json::{Value, json};

/// An edge that clicks on one link, and how far it has got.
struct Clicker<'a> {
    app: &'a TestApp,
    spool: TestSpool,
    next_seq: u64,
}

impl<'a> Clicker<'a> {
    async fn on(app: &'a TestApp, offer: &Offer) -> Self {
        // Clicks come within a second: none shall fall into another hour.
        app.clock.set("2026-06-15T12:30:00Z".parse().unwrap());
        let mut spool = app.spool(app.number(&offer.advertiser).await as u32);
        spool.link = offer.key;
        Self { app, spool, next_seq: 0 }
    }

    async fn click(&mut self, clicks: u64) {
        let end = self.next_seq + clicks;
        while self.next_seq < end {
            let size = (end - self.next_seq).min(500);
            self.spool.ship(&self.spool.frame(self.next_seq, size)).await;
            self.next_seq += size;
        }
        while self.app.entries().await > 0 {
            Drainer::new(&self.app.app).unwrap().step(SHARDS).await.unwrap();
        }
        let mut conn = self.app.app.db_worker().acquire().await.unwrap();
        while fold(&mut conn, self.app.now()).await.unwrap().rows > 0 {}
    }
}

/// This month: used, included, billed, over the limit, capped, micro-dollars.
async fn month(app: &TestApp) -> (i64, i64, i64, i64, i64, i64) {
    sqlx::query_as(
        "SELECT used, included, billed, over_limit, capped, amount_micros FROM usage_months WHERE metric = 'clicks'",
    )
    .fetch_one(app.app.db())
    .await
    .unwrap()
}

async fn balance(agent: &Client) -> Value {
    agent.get("/api/wallet").await.expect(200)["balance"].clone()
}

async fn told(app: &TestApp, agent: &Client) -> Vec<Value> {
    let mut tx = app.app.db_worker().begin().await.unwrap();
    control_plane::features::webhooks::feed::advance(&mut tx, app.app.clock()).await.unwrap();
    tx.commit().await.unwrap();
    let events = agent.get("/api/events?per_page=100").await.expect(200)["data"].as_array().unwrap().clone();
    events.into_iter().filter(|event| event["type"] == "link.capped").collect()
}

#[tokio::test]
async fn a_link_that_suddenly_bills_far_above_its_mean_is_capped_and_reported() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let second = app.another_affiliate(&offer, "Second").await;
    offer.advertiser.post("/api/wallet/topup", json!({"amount": 50})).await.expect(201);
    let (mut flood, mut calm) = (Clicker::on(&app, &offer).await, Clicker::on(&app, &second).await);
    // Free clicks are no money: however many come in an hour, none is capped.
    flood.click(10_000).await;
    assert_eq!(month(&app).await, (10_000, 10_000, 0, 0, 0, 0));
    app.clock.advance(TimeDelta::hours(1));
    flood.click(7_000).await;
    assert_eq!(month(&app).await, (17_000, 10_000, 5_000, 0, 2_000, 10_000_000));
    assert_eq!(balance(&offer.advertiser).await, json!(40));
    // The rest of the hour is capped to the last click; the other link of the program is billed as ever.
    flood.click(1).await;
    calm.click(300).await;
    assert_eq!(month(&app).await, (17_301, 10_000, 5_300, 0, 2_001, 10_600_000));
    // In the next hour it may bill again.
    app.clock.advance(TimeDelta::hours(1));
    flood.click(5_001).await;
    assert_eq!(month(&app).await, (22_302, 10_000, 10_300, 0, 2_002, 20_600_000));
    assert_eq!(balance(&offer.advertiser).await, json!(29.4));

    // Told once a day, and to who pays alone.
    let events = told(&app, &offer.advertiser).await;
    assert_eq!(events.len(), 1, "{events:?}");
    let link = &events[0]["data"];
    assert_eq!(
        (&link["token"], &link["cap"], &link["capped"], &link["hour"]),
        (&json!(offer.token), &json!(5_000), &json!(2_000), &json!("2026-06-15T13:00:00.000Z"))
    );
    assert_eq!(told(&app, &offer.affiliate).await, Vec::<Value>::new());
    // Every click was kept, and shows on the link.
    let path = format!("/api/links/{}", link["id"].as_str().unwrap());
    let shown = offer.advertiser.get(&path).await;
    let shown = shown.expect(200);
    assert_eq!((&shown["clicks"], &shown["clicks_capped"]), (&json!(22_002), &json!(2_002)));
    assert_eq!(offer.advertiser.get("/api/usage").await.body["usage"]["clicks"]["used"], 22_302);
    app.audit().await;
    app.drained(22_302).await;
}

#[tokio::test]
async fn in_how_many_pieces_an_hour_comes_makes_no_difference() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    offer.advertiser.post("/api/wallet/topup", json!({"amount": 50})).await.expect(201);
    let mut flood = Clicker::on(&app, &offer).await;
    flood.click(9_900).await;
    app.clock.advance(TimeDelta::hours(1));
    for _ in 0..12 {
        flood.click(500).await;
    }
    assert_eq!(month(&app).await, (15_900, 10_000, 5_000, 0, 900, 10_000_000));
    app.audit().await;
}

#[tokio::test]
async fn a_link_that_bills_much_all_week_may_bill_ten_times_its_mean() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    for _ in 0..2 {
        offer.advertiser.post("/api/wallet/topup", json!({"amount": 500})).await.expect(201);
    }
    let mut busy = Clicker::on(&app, &offer).await;
    busy.click(10_000).await;
    // A week of 700 clicks an hour, as the fold has counted them.
    sqlx::query(
        "INSERT INTO link_hours (advertiser, link_key, hour, class, clicks, billable)
         SELECT $1, $2, at, 0, 700, 700
           FROM generate_series('2026-06-08T13:00Z'::TIMESTAMPTZ, '2026-06-15T11:00Z', '1 hour') AS at",
    )
    .bind(app.number(&offer.advertiser).await)
    .bind(offer.key.to_i64())
    .execute(app.app.db())
    .await
    .unwrap();
    app.clock.advance(TimeDelta::hours(1));
    busy.click(8_000).await;
    // 10,000 of the hour before and 167 times 700 make a mean of 755; ten times that may be billed.
    let cap = hammered::cap(10_000 + 167 * 700);
    assert_eq!(cap, 7_553);
    assert_eq!(month(&app).await, (18_000, 10_000, cap, 0, 8_000 - cap, cap * 2_000));
    app.audit_books().await;
}

#[tokio::test]
async fn nothing_is_capped_where_nothing_can_be_taken() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let mut flood = Clicker::on(&app, &offer).await;
    flood.click(16_000).await;
    assert_eq!(month(&app).await, (16_000, 10_000, 0, 6_000, 0, 0), "over the limit, as without a flood");
    assert_eq!(told(&app, &offer.advertiser).await, Vec::<Value>::new());
    app.audit().await;
    // Ordinary hours are forgotten, capped ones are not.
    offer.advertiser.post("/api/wallet/topup", json!({"amount": 50})).await.expect(201);
    for clicks in [10, 5_002] {
        app.clock.advance(TimeDelta::hours(1));
        flood.click(clicks).await;
    }
    app.clock.advance(TimeDelta::days(9));
    assert_eq!(app.count("SELECT count(*) FROM link_charges").await, 2);
    hammered::forget(app.app.clone()).await.unwrap();
    assert_eq!(app.count("SELECT sum(capped)::BIGINT FROM link_charges").await, 2);
    assert_eq!(app.count("SELECT count(*) FROM link_charges").await, 1);
    app.audit().await;
}
