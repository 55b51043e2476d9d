//! The fold: sums become hours and usage, each once.

use crate::harness::{SHARDS, TestApp};
use control_plane::features::clicks::fold::fold;
use control_plane::workers::drainer::Drainer;

#[tokio::test]
async fn a_click_shows_in_the_usage_before_and_after_the_fold() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let number = app.count("SELECT number::BIGINT FROM agents WHERE name = 'Advertiser'").await;
    let spool = app.spool(number as u32);
    let unpaid = shared::Click { flags: 0, class: shared::ClickClass::Crawler, ..spool.click(312) };
    let mut clicks: Vec<_> = (0..312).map(|seq| spool.click(seq)).collect();
    clicks.push(unpaid);
    spool.ship(&spool.frame_of(spool.header(0, 0), &clicks)).await;
    Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    for folded in [false, true] {
        if folded {
            let mut conn = app.app.db_worker().acquire().await.unwrap();
            assert_eq!(fold(&mut conn, app.now()).await.unwrap().clicks, 313);
            assert_eq!(fold(&mut conn, app.now()).await.unwrap().rows, 0);
        }
        let reply = offer.advertiser.get("/api/usage").await;
        assert_eq!(
            *reply.expect(200),
            serde_json::json!({
                "tier": "free",
                "period": "2026-06",
                "usage": {
                    "clicks": {"used": 312, "limit": 10000, "remaining": 9688},
                    "conversions": {"used": 0, "limit": 100, "remaining": 100},
                    "matching_requests": {"used": 0, "limit": 50, "remaining": 50}
                },
                "resets_at": "2026-07-01T00:00:00.000Z",
                "upgrade_url": "POST /api/subscription/pro"
            }),
            "folded: {folded}"
        );
        let me = offer.advertiser.get("/api/agents/me").await;
        assert_eq!(me.expect(200)["usage_summary"]["clicks"]["used"], 312);
    }
    assert_eq!(app.count("SELECT sum(clicks)::BIGINT FROM link_hours").await, 313);
    assert_eq!(app.count("SELECT sum(billable)::BIGINT FROM link_hours").await, 312);
    app.audit().await;
}

/// Appends delta rows whose keys overlap in every way, in the order a drainer would not choose.
async fn append_deltas(app: &TestApp, accounts: &[i32], rows: i32) {
    for row in 0..rows {
        sqlx::query(
            "INSERT INTO click_deltas (advertisers, link_keys, hours, classes, billable, counts, created_at)
             SELECT array_agg(advertiser), array_agg(link), array_agg(494880 + ($2 + link) % 30), array_agg(0),
                    array_agg(link % 3 > 0), array_agg(1 + ($2 + link) % 4), $3
               FROM unnest($1::INTEGER[]) AS advertiser, generate_series(1, 20) AS link",
        )
        .bind(accounts)
        .bind(row)
        .bind(app.now())
        .execute(app.app.db())
        .await
        .unwrap();
    }
}

async fn accounts(app: &TestApp, count: usize) -> Vec<i32> {
    for number in 0..count {
        app.agent(&format!("Agent {number}")).await;
    }
    sqlx::query_scalar("SELECT number FROM agents ORDER BY number").fetch_all(app.app.db()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_side_by_side_count_each_delta_once() {
    let app = TestApp::start().await;
    let accounts = accounts(&app, 5).await;
    append_deltas(&app, &accounts, 450).await;
    let (clicks, billable): (i64, i64) = sqlx::query_as(
        "SELECT sum(counted)::BIGINT, sum(counted) FILTER (WHERE paid)::BIGINT
           FROM click_deltas, unnest(counts, billable) AS waiting (counted, paid)",
    )
    .fetch_one(app.app.db())
    .await
    .unwrap();
    let folding = (0..4).map(|folder| {
        let app = app.app.clone();
        let now = app.clock().now();
        tokio::spawn(async move {
            let mut folded = 0;
            loop {
                let mut conn = app.db_worker().acquire().await.unwrap();
                // One of them is cut off again and again.
                if folder == 0 {
                    let cut = tokio::time::timeout(std::time::Duration::from_millis(3), fold(&mut conn, now));
                    cut.await.ok();
                    conn.detach();
                    return 0;
                }
                let turn = fold(&mut conn, now).await.unwrap();
                folded += turn.clicks;
                if turn.rows == 0 {
                    return folded;
                }
            }
        })
    });
    for folder in folding.collect::<Vec<_>>() {
        folder.await.unwrap();
    }
    while fold(&mut app.app.db_worker().acquire().await.unwrap(), app.now()).await.unwrap().rows > 0 {}
    assert_eq!(app.count("SELECT sum(clicks)::BIGINT FROM link_hours").await, clicks);
    assert_eq!(app.count("SELECT sum(billable)::BIGINT FROM link_hours").await, billable);
    assert_eq!(
        app.count("SELECT sum(used)::BIGINT FROM usage_months WHERE metric = 'clicks'").await,
        billable
    );
    app.audit_books().await;
}

#[tokio::test]
async fn f46_each_click_counts_in_the_month_it_happened_in() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    let number = app.count("SELECT number::BIGINT FROM agents").await as u32;
    app.clock.set("2026-07-01T00:00:05Z".parse().unwrap());
    let spool = app.spool(number);
    let midnight_ms =
        "2026-07-01T00:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp_millis();
    let clicks: Vec<_> = (0..20)
        .map(|seq| shared::Click { at_ms: midnight_ms - 10 + seq as i64, ..spool.click(seq) })
        .collect();
    spool.ship(&spool.frame_of(spool.header(0, 0), &clicks)).await;
    Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    for _ in 0..2 {
        let usage = advertiser.get("/api/usage").await;
        assert_eq!(usage.expect(200)["usage"]["clicks"]["used"], 10, "{usage}");
        assert_eq!(usage.body["period"], "2026-07");
        fold(&mut app.app.db_worker().acquire().await.unwrap(), app.now()).await.unwrap();
    }
    let by_month: Vec<(String, i64)> =
        sqlx::query_as("SELECT month::TEXT, used FROM usage_months WHERE metric = 'clicks' ORDER BY month")
            .fetch_all(app.app.db())
            .await
            .unwrap();
    assert_eq!(by_month, [("2026-06-01".to_owned(), 10), ("2026-07-01".to_owned(), 10)]);
}

#[tokio::test]
async fn clicks_that_name_no_account_are_counted_and_stop_nobody() {
    let app = TestApp::start().await;
    app.agent("Advertiser").await;
    let number = app.count("SELECT number::BIGINT FROM agents").await as u32;
    for advertiser in [number, 4_000_000, u32::MAX] {
        let spool = app.spool(advertiser);
        spool.ship(&spool.frame(0, 10)).await;
    }
    Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    assert_eq!(fold(&mut app.app.db_worker().acquire().await.unwrap(), app.now()).await.unwrap().clicks, 30);
    assert_eq!(app.count("SELECT used FROM usage_months").await, 10);
    app.drained(30).await;
}
