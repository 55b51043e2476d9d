//! What edges are told: never more than Postgres has, and again whenever a server may have changed.

use crate::harness::{SHARDS, TestApp};
use control_plane::workers::drainer::Drainer;

#[tokio::test]
async fn a_newer_value_left_in_redis_does_not_hide_an_older_database() {
    let app = TestApp::start().await;
    let (spool, idle) = (app.spool(7), app.spool(7));
    spool.ship(&spool.frame(0, 10)).await;
    idle.ship(&idle.frame(0, 5)).await;
    Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    let epoch = spool.watermark().await.unwrap().epoch;
    assert!(epoch > 0);
    // What Redis still says of a database that has since been set back.
    idle.set_watermark("1:704").await;
    Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    assert_eq!(
        idle.watermark().await.map(|watermark| (watermark.epoch, watermark.next_seq)),
        Some((epoch, 5))
    );
}

#[tokio::test]
async fn repeats_and_gaps_are_answered_with_where_the_spool_stands() {
    let app = TestApp::start().await;
    let (spool, new) = (app.spool(7), app.spool(7));
    let mut drainer = Drainer::new(&app.app).unwrap();
    let first = spool.frame(0, 10);
    spool.ship(&first).await;
    drainer.step(SHARDS).await.unwrap();
    app.flush_redis().await;
    spool.ship(&first).await;
    new.ship(&new.frame(20, 5)).await;
    let done = drainer.step(SHARDS).await.unwrap();
    assert_eq!((done.applied.known, done.applied.gaps, done.applied.clicks), (1, 1, 0));
    assert_eq!((spool.next_seq().await, new.next_seq().await), (Some(10), Some(0)));
    assert_eq!(app.entries().await, 0);
}
