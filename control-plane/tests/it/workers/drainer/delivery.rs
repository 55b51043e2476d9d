//! Repeats, reordering, interleaving, several drainers, streams that begin anew.

use crate::harness::{SHARDS, TestApp};
use control_plane::workers::drainer::Drainer;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// I15: any multiset of frames that has each at least once, in any order, through any number of drainers, is
/// each once.
#[test]
fn f31_any_delivery_is_each_frame_once() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
    let frame_no = 0usize..12;
    let deliveries = prop::collection::vec((frame_no, any::<bool>()), 0..60);
    runner
        .run(&(deliveries, 1usize..9), |(deliveries, batch)| {
            runtime.block_on(async {
                let app = TestApp::start().await;
                let spools = [app.spool(1), app.spool(2)];
                let frames: Vec<_> = spools.iter().flat_map(|spool| spool.frames(6, 7)).collect();
                let mut drainers = [Drainer::new(&app.app).unwrap(), Drainer::new(&app.app).unwrap()];
                let in_order = (0..12).map(|number| (number, false));
                let all: Vec<_> = deliveries.into_iter().chain(in_order).collect();
                for some in all.chunks(batch) {
                    for (number, _) in some {
                        spools[number / 6].ship(&frames[*number]).await;
                    }
                    let second = some.iter().any(|(_, second)| *second);
                    drainers[usize::from(second)].step(SHARDS).await.unwrap();
                }
                for drainer in &mut drainers {
                    while drainer.step(SHARDS).await.unwrap().entries > 0 {}
                }
                app.drained(2 * 42).await;
            });
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn overlapping_frames_give_their_suffix_and_losses_count_once() {
    let app = TestApp::start().await;
    let spool = app.spool(7);
    let mut drainer = Drainer::new(&app.app).unwrap();
    for frame in [
        spool.frame(0, 10),
        spool.frame(5, 10),
        spool.frame_after_loss(20, 5, 3),
        spool.frame_after_loss(20, 5, 3),
        spool.frame_after_loss(24, 4, 2),
        // Loss that nothing has followed yet, told twice.
        spool.frame_after_loss(30, 4, 0),
        spool.frame_after_loss(30, 4, 0),
    ] {
        spool.ship(&frame).await;
        drainer.step(SHARDS).await.unwrap();
    }
    app.drained(20).await;
    assert_eq!(spool.next_seq().await, Some(30));
    assert_eq!(app.count("SELECT declared_loss FROM spools").await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f30_two_drainers_on_one_stream_store_everything_once() {
    let app = TestApp::start().await;
    let spools: Vec<_> = (0..4).map(|_| app.spool(7)).collect();
    for number in 0..60 {
        for spool in &spools {
            let frame = spool.frame(number * 30, 30);
            spool.ship(&frame).await;
            spool.ship(&frame).await;
        }
    }
    let drain = |app: control_plane::App| async move {
        let mut drainer = Drainer::new(&app).unwrap();
        let mut clicks = 0;
        loop {
            let done = drainer.step(SHARDS).await.unwrap();
            clicks += done.applied.clicks;
            if done.entries == 0 {
                return clicks;
            }
        }
    };
    let both = tokio::join!(tokio::spawn(drain(app.app.clone())), tokio::spawn(drain(app.app.clone())),);
    assert_eq!(both.0.unwrap() + both.1.unwrap(), 4 * 1800);
    app.drained(4 * 1800).await;
}

#[tokio::test]
async fn a_stream_that_begins_anew_below_the_cursor_is_read() {
    let app = TestApp::start().await;
    let spool = app.spool(7);
    let mut redis = app.app.redis().get().await.unwrap();
    let stream = app.app.keys().clicks(spool.shard);
    let add = async |redis: &mut control_plane::redis::Shared, id: &str, frame: Vec<u8>| {
        let mut command = redis::cmd("XADD");
        command.arg(&stream).arg(id).arg("f").arg(frame).query_async::<()>(redis).await.unwrap();
    };
    let mut drainer = Drainer::new(&app.app).unwrap();
    add(&mut redis, "9000000000000-0", spool.frame(0, 5)).await;
    drainer.step(SHARDS).await.unwrap();
    app.flush_redis().await;
    // The clock of the machine that Redis runs on now is behind.
    add(&mut redis, "1000-0", spool.frame(5, 5)).await;
    assert_eq!(drainer.step(SHARDS).await.unwrap().entries, 0, "it stands below the cursor");
    drainer.check_cursors().await.unwrap();
    assert_eq!(drainer.step(SHARDS).await.unwrap().applied.clicks, 5);
    app.drained(10).await;
}

#[tokio::test]
async fn f45_mad_clocks_change_times_and_nothing_else() {
    let app = TestApp::start().await;
    let spool = app.spool(7);
    let now_ms = app.now().timestamp_millis();
    let hour = 3_600_000;
    let clicks: Vec<_> =
        [now_ms, now_ms + hour, now_ms + 299_000, now_ms - 6 * 24 * hour, now_ms - 30 * 24 * hour]
            .into_iter()
            .zip(0..)
            .map(|(at_ms, seq)| shared::Click { at_ms, ..spool.click(seq) })
            .collect();
    spool.ship(&spool.frame_of(spool.header(0, 0), &clicks)).await;
    let done = Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    assert_eq!((done.applied.clicks, done.applied.corrected), (5, 2));
    let rows: Vec<(i64, i16)> =
        sqlx::query_as("SELECT (extract(EPOCH FROM at) * 1000)::BIGINT, flags FROM clicks ORDER BY seq")
            .fetch_all(app.app.db_read())
            .await
            .unwrap();
    let back = now_ms - 7 * 24 * hour;
    let kept = [(now_ms, 1), (now_ms, 3), (now_ms + 299_000, 1), (now_ms - 6 * 24 * hour, 1), (back, 3)];
    assert_eq!(rows, kept);
}
