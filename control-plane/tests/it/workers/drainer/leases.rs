//! Drainers share the streams, and take over from one that is gone.

use crate::harness::TestApp;
use control_plane::workers::drainer::Drainer;
use std::time::Duration;
use tokio::time::Instant;

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn drainers_share_the_streams_and_let_go_when_they_stop() {
    let app = TestApp::start().await;
    let other = control_plane::App::with_clock(app.app.config().clone(), app.clock.clone()).unwrap();
    let first = tokio::spawn(Drainer::new(&app.app).unwrap().run());
    until("one has both", async || app.count("SELECT count(*) FROM drain_leases").await == 2).await;
    let second = tokio::spawn(Drainer::new(&other).unwrap().run());
    until("each has one", async || app.count("SELECT count(DISTINCT worker) FROM drain_leases").await == 2)
        .await;
    let spools: Vec<_> = (0..8).map(|_| app.spool(7)).collect();
    for spool in &spools {
        spool.ship(&spool.frame(0, 10)).await;
    }
    until("all is stored", async || app.count("SELECT count(*) FROM clicks").await == 80).await;
    other.tasks().stop();
    second.await.unwrap();
    assert_eq!(app.count("SELECT count(*) FROM drain_leases").await, 1, "a stop lets go at once");
    until("the other takes it", async || app.count("SELECT count(*) FROM drain_leases").await == 2).await;
    for spool in &spools {
        spool.ship(&spool.frame(10, 10)).await;
    }
    until("all is stored", async || app.count("SELECT count(*) FROM clicks").await == 160).await;
    app.drained(160).await;
    app.app.tasks().stop();
    first.await.unwrap();
    assert_eq!(app.count("SELECT count(*) FROM drain_leases").await, 0);
}

#[tokio::test]
async fn a_drainer_that_is_gone_is_waited_for_no_longer_than_its_lease() {
    let app = TestApp::start().await;
    sqlx::query(
        "INSERT INTO drain_leases (shard, worker, expires_at)
         SELECT shard, gen_random_uuid(), now() + INTERVAL '1 second' FROM generate_series(0, 1) AS shard",
    )
    .execute(app.app.db())
    .await
    .unwrap();
    let spool = app.spool(7);
    spool.ship(&spool.frame(0, 10)).await;
    app.app.tasks().spawn(Drainer::new(&app.app).unwrap().run());
    until("it is stored", async || app.count("SELECT count(*) FROM clicks").await == 10).await;
}
