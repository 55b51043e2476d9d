//! Months: every click in exactly one, closed once and for good. All by a clock that is set, not waited for.

use crate::harness::{SHARDS, TestApp, TestSpool};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use control_plane::features::clicks::closing::{Closing, close, job};
use control_plane::features::clicks::fold::fold;
use control_plane::workers::drainer::Drainer;
use control_plane::workers::jobs::Turn;
use metrics_exporter_prometheus::PrometheusBuilder;
use shared::Click;
use std::time::Duration;

const JUNE: &str = "2026-06-01";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn month(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

async fn folded(app: &TestApp) {
    let mut conn = app.app.db_worker().acquire().await.unwrap();
    while fold(&mut conn, app.now()).await.unwrap().rows > 0 {}
}

async fn closing(app: &TestApp) -> Closing {
    close(&mut app.app.db_worker().acquire().await.unwrap(), app.now()).await.unwrap()
}

async fn drained(app: &TestApp) {
    Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
}

/// Month, used, included, over the limit, late: of clicks.
async fn months(app: &TestApp) -> Vec<(String, i64, i64, i64, i64)> {
    sqlx::query_as(
        "SELECT month::TEXT, used, included, over_limit, late FROM usage_months WHERE metric = 'clicks' ORDER BY month",
    )
    .fetch_all(app.app.db())
    .await
    .unwrap()
}

/// A frame without clicks, as an idle edge sends it.
async fn heartbeat(spool: &TestSpool, next_seq: u64) {
    spool.ship(&spool.frame_of(spool.header(next_seq, 0), &[])).await;
}

/// A frame of clicks that all happened then.
async fn ship_at(spool: &TestSpool, first_seq: u64, count: u64, happened: DateTime<Utc>) {
    let clicks: Vec<Click<'_>> = (first_seq..first_seq + count)
        .map(|seq| Click { at_ms: happened.timestamp_millis() + (seq % 10) as i64, ..spool.click(seq) })
        .collect();
    spool.ship(&spool.frame_of(spool.header(first_seq, 0), &clicks)).await;
}

/// A spool of which ten clicks of June are counted; it is the last of June, at noon.
async fn spool_in_june(app: &TestApp) -> TestSpool {
    app.clock.set(at("2026-06-30T12:00:00Z"));
    let number = app.number(&app.agent("Advertiser").await).await as u32;
    let spool = app.spool(number);
    spool.ship(&spool.frame(0, 10)).await;
    drained(app).await;
    folded(app).await;
    spool
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f46_over_midnight_each_click_is_in_one_month_and_the_allowance_is_new_once() {
    let app = TestApp::start().await;
    app.clock.set(at("2026-06-30T23:59:50Z"));
    let advertiser = app.agent("Advertiser").await;
    let number = app.number(&advertiser).await as u32;
    // Nearly all of June's allowance is used up before.
    let early = app.spool(number);
    for frame in 0..19 {
        ship_at(&early, frame * 512, 512, at("2026-06-20T10:00:00Z")).await;
    }
    let spools = [app.spool(number), app.spool(number), app.spool(number)];
    let mut sent = [0; 3];
    let mut in_june: i64 = 19 * 512;
    let mut total = in_june;
    // Twenty seconds of clicks, ten on each side, while two fold and one closes what can be closed.
    for second in 0..20 {
        app.clock.set(at("2026-06-30T23:59:50Z") + TimeDelta::seconds(second));
        for (spool, next) in spools.iter().zip(&mut sent) {
            ship_at(spool, *next, 20, app.now()).await;
            *next += 20;
            total += 20;
            in_june += if second < 10 { 20 } else { 0 };
        }
        drained(&app).await;
        let usage = advertiser.get("/api/usage").await;
        let clicks = &usage.expect(200)["usage"]["clicks"];
        let (used, remaining) = (clicks["used"].as_i64().unwrap(), clicks["remaining"].as_i64().unwrap());
        assert!(remaining >= 0, "{usage}");
        let expected = if second < 10 { in_june } else { total - in_june };
        assert_eq!(used, expected, "second {second}: {usage}");
        let folds = (0..2).map(|_| {
            let (app, now) = (app.app.clone(), app.now());
            tokio::spawn(
                async move { fold(&mut app.db_worker().acquire().await.unwrap(), now).await.unwrap() },
            )
        });
        let closing = closing(&app);
        for fold in folds.collect::<Vec<_>>() {
            fold.await.unwrap();
        }
        let done = closing.await;
        assert!(!matches!(done, Closing::Closed(_)) || second >= 10, "June was closed in June");
    }
    folded(&app).await;
    // The early spool's edge went quiet in June: it says what time it is, and June is closed.
    heartbeat(&early, 19 * 512).await;
    drained(&app).await;
    assert!(matches!(closing(&app).await, Closing::Closed(_)));
    assert_eq!(closing(&app).await, Closing::Nothing);
    let over = (in_june - 10_000).max(0);
    assert!(over > 0, "June's allowance was used up");
    assert_eq!(
        months(&app).await,
        [
            (JUNE.to_owned(), in_june, 10_000, over, 0),
            ("2026-07-01".to_owned(), total - in_june, total - in_june, 0, 0)
        ]
    );
    app.drained(total).await;
    app.audit().await;
}

#[tokio::test]
async fn a_month_waits_for_every_live_spool_and_for_the_fold() {
    let app = TestApp::start().await;
    app.clock.set(at("2026-06-30T23:00:00Z"));
    let number = app.number(&app.agent("Advertiser").await).await as u32;
    let (awake, asleep, ended) = (app.spool(number), app.spool(number), app.spool(number));
    for spool in [&awake, &asleep, &ended] {
        spool.ship(&spool.frame(0, 10)).await;
    }
    let last = shared::frame::FrameHeader { last: true, ..ended.header(10, 0) };
    ended.ship(&ended.frame_of(last, &[])).await;
    drained(&app).await;
    assert_eq!(closing(&app).await, Closing::Nothing, "June is not over");
    folded(&app).await;
    app.clock.set(at("2026-07-01T00:00:00Z"));
    assert_eq!(closing(&app).await, Closing::Waiting(month(JUNE)));
    heartbeat(&awake, 10).await;
    drained(&app).await;
    assert_eq!(closing(&app).await, Closing::Waiting(month(JUNE)), "one spool has not passed the end");
    app.clock.advance(TimeDelta::seconds(5));
    ship_at(&asleep, 10, 5, at("2026-06-30T23:59:59Z")).await;
    drained(&app).await;
    assert_eq!(closing(&app).await, Closing::Waiting(month(JUNE)), "clicks wait for the fold");
    folded(&app).await;
    assert_eq!(closing(&app).await, Closing::Closed(month(JUNE)));
    assert_eq!(closing(&app).await, Closing::Nothing);
    assert_eq!(months(&app).await, [(JUNE.to_owned(), 35, 35, 0, 0)]);
    assert_eq!(app.count("SELECT count(*) FROM clicks WHERE flags & 4 = 4").await, 0);
}

#[tokio::test]
async fn a_month_that_cannot_be_closed_is_seen_to_be_overdue() {
    let app = TestApp::start().await;
    spool_in_june(&app).await;
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let said = || {
        let text = recorder.handle().render();
        let line = text.lines().find_map(|line| line.strip_prefix("cp_month_closing_age "));
        line.map(|seconds| seconds.parse::<f64>().unwrap())
    };
    assert_eq!((job(app.app.clone()).await.unwrap(), said()), (Turn::Idle, Some(0.0)), "June goes on");
    app.clock.set(at("2026-07-04T06:00:00Z"));
    let mut holding = app.app.db().begin().await.unwrap();
    sqlx::query("SELECT FROM usage_closed FOR UPDATE").execute(&mut *holding).await.unwrap();
    let mut closing = Box::pin(job(app.app.clone()));
    // It waits for the row, and has said for how long the month is over.
    while said() != Some(78.0 * 3600.0) {
        let turn = tokio::time::timeout(Duration::from_millis(1), &mut closing).await;
        assert!(turn.is_err(), "closed under another's lock");
    }
    holding.rollback().await.unwrap();
    assert_eq!(closing.await.unwrap(), Turn::Again);
    assert_eq!((job(app.app.clone()).await.unwrap(), said()), (Turn::Idle, Some(0.0)), "June is closed");
}

#[tokio::test]
async fn f47_a_late_spool_counts_in_its_month_while_that_is_open_and_in_the_next_afterwards() {
    let app = TestApp::start().await;
    app.clock.set(at("2026-06-30T12:00:00Z"));
    let advertiser = app.agent("Advertiser").await;
    let number = app.number(&advertiser).await as u32;
    let spool = app.spool(number);
    spool.ship(&spool.frame(0, 10)).await;
    drained(&app).await;
    folded(&app).await;
    // The edge is cut off for nearly three days, and comes back with June's clicks before the grace is over.
    app.clock.set(at("2026-07-03T11:59:00Z"));
    assert_eq!(closing(&app).await, Closing::Waiting(month(JUNE)));
    ship_at(&spool, 10, 20, at("2026-06-30T23:00:00Z")).await;
    drained(&app).await;
    folded(&app).await;
    assert_eq!(months(&app).await, [(JUNE.to_owned(), 30, 30, 0, 0)]);
    // The frame's clock has passed the end of June: nothing is waited for any more.
    assert_eq!(closing(&app).await, Closing::Closed(month(JUNE)));
    // Another spool of June turns up after that: July counts its clicks and says that they are late.
    let late = app.spool(number);
    ship_at(&late, 0, 7, at("2026-06-30T22:00:00Z")).await;
    drained(&app).await;
    for _ in 0..2 {
        let usage = advertiser.get("/api/usage").await;
        assert_eq!(usage.expect(200)["usage"]["clicks"]["used"], 7, "before and after the fold: {usage}");
        folded(&app).await;
    }
    assert_eq!(
        months(&app).await,
        [(JUNE.to_owned(), 30, 30, 0, 0), ("2026-07-01".to_owned(), 7, 7, 0, 7)],
        "June is what it was"
    );
    assert_eq!(app.count("SELECT count(*) FROM clicks WHERE flags & 4 = 4").await, 7);
    app.drained(37).await;
    app.audit().await;
}

#[tokio::test]
async fn after_three_days_a_month_is_closed_whoever_is_missing() {
    let app = TestApp::start().await;
    let spool = spool_in_june(&app).await;
    for (now, expected) in [
        ("2026-07-01T00:00:00Z", Closing::Waiting(month(JUNE))),
        // Nothing was heard of the only spool for three days.
        ("2026-07-03T12:00:00Z", Closing::Closed(month(JUNE))),
    ] {
        app.clock.set(at(now));
        assert_eq!(closing(&app).await, expected, "{now}");
    }
    // A fold that is stuck does not hold July up for longer than that either; its clicks come late.
    app.clock.set(at("2026-07-31T23:00:00Z"));
    ship_at(&spool, 10, 4, app.now()).await;
    drained(&app).await;
    app.clock.set(at("2026-08-03T23:59:59Z"));
    assert_eq!(closing(&app).await, Closing::Waiting(month("2026-07-01")));
    app.clock.set(at("2026-08-04T00:00:00Z"));
    assert_eq!(job(app.app.clone()).await.unwrap(), Turn::Again);
    assert_eq!(job(app.app.clone()).await.unwrap(), Turn::Idle);
    folded(&app).await;
    assert_eq!(months(&app).await, [(JUNE.to_owned(), 10, 10, 0, 0), ("2026-08-01".to_owned(), 4, 4, 0, 4)]);
}

#[tokio::test]
async fn the_database_refuses_any_change_of_a_closed_month() {
    let app = TestApp::start().await;
    let number = app.number(&app.agent("Advertiser").await).await;
    let spool = app.spool(number as u32);
    spool.ship(&spool.frame(0, 10)).await;
    drained(&app).await;
    folded(&app).await;
    app.clock.set(at("2026-07-05T00:00:00Z"));
    assert_eq!(closing(&app).await, Closing::Closed(month(JUNE)));
    for change in [
        "UPDATE usage_months SET used = used + 1, included = included + 1",
        "INSERT INTO usage_months (advertiser, month, metric) VALUES (1, '2026-05-01', 'clicks')",
    ] {
        let error = sqlx::query(change).execute(app.app.db()).await.unwrap_err();
        let constraint = error.as_database_error().unwrap().constraint().map(str::to_owned);
        assert_eq!(constraint.as_deref(), Some("usage_months_closed_check"), "{change}");
    }
}
