//! Drainers that die anywhere, servers that forget: each click is there once in the end.

use crate::harness::{SHARDS, TestApp};
use control_plane::workers::drainer::Drainer;
use std::time::Duration;

/// Steps until every spool's watermark covers its frames, the edges shipping again what is missing.
async fn drain_all(
    app: &TestApp,
    drainer: &mut Drainer,
    spools: &[(crate::harness::TestSpool, Vec<Vec<u8>>)],
) {
    for _ in 0..1000 {
        while drainer.step(SHARDS).await.unwrap().entries > 0 {}
        let mut missing = false;
        for (spool, frames) in spools {
            missing |= spool.ship_missing(frames).await;
        }
        if !missing {
            assert_eq!(app.entries().await, 0);
            return;
        }
    }
    panic!("the spools never came through");
}

fn spools(app: &TestApp, frames: u64, clicks: u64) -> Vec<(crate::harness::TestSpool, Vec<Vec<u8>>)> {
    (0..3)
        .map(|_| {
            let spool = app.spool(7);
            let frames = spool.frames(frames, clicks);
            (spool, frames)
        })
        .collect()
}

#[tokio::test]
async fn f28_a_drainer_that_dies_between_commit_and_acknowledgement_doubles_nothing() {
    let app = TestApp::start().await;
    let spools = spools(&app, 40, 10);
    for round in 0..20 {
        for (spool, frames) in &spools {
            spool.ship(&frames[2 * round]).await;
            spool.ship(&frames[2 * round + 1]).await;
        }
        let mut doomed = Drainer::new(&app.app).unwrap();
        assert!(doomed.commit(SHARDS).await.unwrap().entries >= 6);
    }
    drain_all(&app, &mut Drainer::new(&app.app).unwrap(), &spools).await;
    app.drained(3 * 400).await;
}

#[tokio::test]
async fn f29_a_drainer_that_dies_anywhere_loses_and_doubles_nothing() {
    let app = TestApp::start().await;
    let spools = spools(&app, 30, 20);
    let mut ended = (0, 0);
    for round in 0..60_u64 {
        for (spool, frames) in &spools {
            spool.ship_missing(&frames[..=(round as usize / 2)]).await;
        }
        let mut doomed = Drainer::new(&app.app).unwrap();
        // From before the connection stands to after the acknowledgement.
        match tokio::time::timeout(Duration::from_micros(1 + 400 * round), doomed.step(SHARDS)).await {
            Ok(done) => ended.0 += u32::from(done.is_ok()),
            Err(_) => ended.1 += 1,
        }
    }
    assert!(ended.1 > 5, "some were cut off: {ended:?}");
    drain_all(&app, &mut Drainer::new(&app.app).unwrap(), &spools).await;
    app.drained(3 * 600).await;
}

#[tokio::test]
async fn f17_a_redis_that_forgets_everything_costs_nothing() {
    let app = TestApp::start().await;
    let spools = spools(&app, 20, 25);
    let mut drainer = Drainer::new(&app.app).unwrap();
    for round in 0..10 {
        for (spool, frames) in &spools {
            spool.ship_missing(&frames[..2 * (round + 1)]).await;
        }
        if round % 3 == 0 {
            app.flush_redis().await;
        } else if round % 3 == 1 {
            // Committed, and then Redis forgets both the entries and the watermark.
            let committed = drainer.commit(SHARDS).await.unwrap();
            app.flush_redis().await;
            drainer.acknowledge(&committed).await.unwrap();
        } else {
            drainer.step(SHARDS).await.unwrap();
        }
    }
    drain_all(&app, &mut drainer, &spools).await;
    app.drained(3 * 500).await;
}

#[tokio::test]
async fn f35_a_backend_that_is_killed_is_replaced_and_edges_are_told_again() {
    let app = TestApp::start().await;
    let spool = app.spool(7);
    let mut drainer = Drainer::new(&app.app).unwrap();
    spool.ship(&spool.frame(0, 10)).await;
    drainer.step(SHARDS).await.unwrap();
    sqlx::query(
        "SELECT pg_terminate_backend(pid)
           FROM pg_stat_activity
          WHERE datname = current_database() AND application_name = 'control-plane worker' AND pid <> pg_backend_pid()",
    )
    .execute(app.app.db())
    .await
    .unwrap();
    spool.ship(&spool.frame(10, 10)).await;
    app.flush_redis().await;
    spool.ship(&spool.frame(10, 10)).await;
    drainer.step(SHARDS).await.unwrap_err();
    assert_eq!(drainer.step(SHARDS).await.unwrap().applied.clicks, 10);
    assert_eq!(spool.next_seq().await, Some(20));
    app.drained(20).await;
}

#[tokio::test]
async fn a_restored_database_gets_back_what_it_has_lost() {
    let app = TestApp::start().await;
    let spools = spools(&app, 4, 10);
    let mut drainer = Drainer::new(&app.app).unwrap();
    drain_all(&app, &mut drainer, &spools).await;
    app.drained(3 * 40).await;
    // What a restore from ten minutes ago looks like, one spool older than the backup.
    for sql in [
        "DELETE FROM clicks WHERE seq >= 10",
        "DELETE FROM click_deltas",
        "INSERT INTO click_deltas (advertisers, link_keys, hours, classes, billable, counts, created_at)
         SELECT array_agg(advertiser), array_agg(link_key), array_agg((extract(EPOCH FROM at) / 3600)::INTEGER),
                array_agg(class), array_agg(true), array_agg(1), now() FROM clicks",
        "UPDATE spools SET watermark = 10, stored = 10",
        "DELETE FROM clicks WHERE spool_tag = (SELECT min(spool_tag) FROM clicks)",
        "DELETE FROM click_deltas",
        "INSERT INTO click_deltas (advertisers, link_keys, hours, classes, billable, counts, created_at)
         SELECT array_agg(advertiser), array_agg(link_key), array_agg((extract(EPOCH FROM at) / 3600)::INTEGER),
                array_agg(class), array_agg(true), array_agg(1), now() FROM clicks",
        "DELETE FROM spools WHERE spool NOT IN (SELECT spool FROM spools JOIN clicks
            ON ('x' || substr(replace(spool::TEXT, '-', ''), 1, 8))::BIT(32)::INTEGER = clicks.spool_tag)",
    ] {
        sqlx::query(sql).execute(app.app.db()).await.unwrap();
    }
    assert_eq!(app.count("SELECT count(*) FROM spools").await, 2);
    drainer.disconnect();
    drain_all(&app, &mut drainer, &spools).await;
    for (spool, frames) in &spools {
        // The spool whose row is gone: its edge hears of it when it says something.
        spool.ship(&frames[3]).await;
    }
    drain_all(&app, &mut drainer, &spools).await;
    app.drained(3 * 40).await;
}
