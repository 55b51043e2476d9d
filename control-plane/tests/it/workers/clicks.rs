//! Stored clicks: found by their id, dropped by the day, measured.

use crate::harness::{SHARDS, TestApp};
use chrono::TimeDelta;
use control_plane::features::clicks::{measure, ops, partitions};
use control_plane::workers::drainer::Drainer;
use control_plane::workers::jobs::Turn;
use shared::ClickId;

#[tokio::test]
async fn a_click_is_found_by_its_id() {
    let app = TestApp::start().await;
    partitions::ensure(&app.app).await.unwrap();
    let spool = app.spool(7);
    let mad = shared::Click { at_ms: 1, notes: b"\x01\x02ab", ..spool.click(1) };
    spool.ship(&spool.frame_of(spool.header(0, 0), &[spool.click(0), mad])).await;
    Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    let tag = u32::from_be_bytes(spool.id.as_bytes()[..4].try_into().unwrap());
    let id = |seq, at_ms| ClickId { at_ms, spool_tag: tag, seq, link: spool.link };
    let mut conn = app.app.db_read().acquire().await.unwrap();
    let found = ops::find(&mut conn, &id(0, spool.click(0).at_ms)).await.unwrap().unwrap();
    assert_eq!((found.advertiser, found.billable(), found.country().as_deref()), (7, true, Some("DE")));
    assert!(!found.is_time_corrected() && found.notes().is_empty());
    assert_eq!(found.class(), Some(shared::ClickClass::Human));
    let found = ops::find(&mut conn, &id(1, 1)).await.unwrap().unwrap();
    assert!(found.is_time_corrected());
    assert_eq!(found.notes(), [(1, "ab".to_owned())]);
    assert_eq!(ops::find(&mut conn, &id(2, spool.click(2).at_ms)).await.unwrap(), None);
    assert_eq!(ops::count_by_link(&mut conn, &[spool.link]).await.unwrap()[&spool.link], 2);
}

#[tokio::test]
async fn old_days_go_and_the_sums_stay() {
    let app = TestApp::start().await;
    partitions::ensure(&app.app).await.unwrap();
    let spool = app.spool(7);
    spool.ship(&spool.frame(0, 10)).await;
    Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    app.clock.advance(TimeDelta::days(31));
    partitions::ensure(&app.app).await.unwrap();
    while partitions::drop_old(app.app.clone()).await.unwrap() == Turn::Again {}
    assert_eq!(app.count("SELECT count(*) FROM clicks").await, 0);
    assert_eq!(app.count("SELECT clicks FROM dropped_clicks").await, 10);
    assert_eq!(app.count("SELECT sum(clicks)::BIGINT FROM click_days_dropped").await, 10);
    let mut conn = app.app.db_worker().acquire().await.unwrap();
    let report = control_plane::workers::reconcile::reconcile(&mut conn, None, app.now()).await.unwrap();
    assert_eq!(report.off(), 0, "{report:?}");
}

#[tokio::test]
async fn rows_of_a_missing_day_move_when_it_is_made() {
    let app = TestApp::start().await;
    let spool = app.spool(7);
    spool.ship(&spool.frame(0, 10)).await;
    Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    assert_eq!(app.count("SELECT count(*) FROM clicks_default").await, 10);
    measure::job(app.app.clone()).await.unwrap();
    let (first, second) = tokio::join!(partitions::ensure(&app.app), partitions::ensure(&app.app));
    first.unwrap();
    second.unwrap();
    assert_eq!(app.count("SELECT count(*) FROM clicks_default").await, 0);
    assert_eq!(app.count("SELECT count(*) FROM clicks").await, 10);
}
