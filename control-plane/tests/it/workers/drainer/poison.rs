//! What cannot be stored is parked with its bytes; everything else goes on.

use crate::harness::{SHARDS, TestApp, TestSpool};
use control_plane::workers::drainer::Drainer;
use shared::frame::FrameHeader;

/// Reason, bytes, sequences counted: of everything parked.
async fn parked(app: &TestApp) -> Vec<(String, Vec<u8>, i64)> {
    sqlx::query_as("SELECT reason, bytes, counted FROM parked_frames ORDER BY id")
        .fetch_all(app.app.db_read())
        .await
        .unwrap()
}

fn damaged(frame: &[u8]) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    let last = bytes.len() - 20;
    bytes[last] ^= 0x10;
    bytes
}

/// A frame whose checksum holds and whose counters are not the sums of its clicks.
fn malformed(spool: &TestSpool, first_seq: u64, clicks: u64) -> Vec<u8> {
    let mut bytes = spool.frame(first_seq, clicks);
    bytes[92] ^= 1;
    let end = bytes.len() - 8;
    let sum = xxhash_rust::xxh3::xxh3_64(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

#[tokio::test]
async fn f32_what_is_no_frame_is_kept_and_the_stream_goes_on() {
    let app = TestApp::start().await;
    let spool = app.spool(7);
    for garbage in [&b""[..], b"nonsense", &[0xff; 5000]] {
        spool.ship(garbage).await;
    }
    let mut redis = app.app.redis().get().await.unwrap();
    redis::cmd("XADD")
        .arg(app.app.keys().clicks(spool.shard))
        .arg(&["*", "other", "field"])
        .query_async::<()>(&mut redis)
        .await
        .unwrap();
    spool.ship(&spool.frame(0, 10)).await;
    Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    let kept: Vec<_> = parked(&app).await.into_iter().map(|(_, bytes, counted)| (bytes, counted)).collect();
    assert_eq!(
        kept,
        [(vec![], 0), (b"nonsense".to_vec(), 0), (vec![0xff; 5000], 0), (b"otherfield".to_vec(), 0)]
    );
    app.drained(10).await;
    assert_eq!(app.entries().await, 0);
}

#[tokio::test]
async fn a_frame_damaged_on_the_way_is_kept_and_the_good_one_is_stored() {
    let app = TestApp::start().await;
    let spool = app.spool(7);
    let frames = spool.frames(3, 10);
    let mut drainer = Drainer::new(&app.app).unwrap();
    spool.ship(&frames[0]).await;
    spool.ship(&damaged(&frames[1])).await;
    spool.ship(&frames[2]).await;
    drainer.step(SHARDS).await.unwrap();
    assert_eq!(spool.next_seq().await, Some(10), "the edge is told what is missing");
    spool.ship_missing(&frames).await;
    drainer.step(SHARDS).await.unwrap();
    app.drained(30).await;
    assert_eq!(parked(&app).await, [("damaged".to_owned(), damaged(&frames[1]), 0)]);
}

#[tokio::test]
async fn f32_a_frame_that_is_never_whole_is_passed_after_three_copies() {
    let app = TestApp::start().await;
    let spool = app.spool(7);
    let frames = [spool.frame(0, 10), damaged(&spool.frame(10, 10)), spool.frame(20, 10)];
    let mut drainer = Drainer::new(&app.app).unwrap();
    for copies in 1..=3 {
        for frame in &frames {
            spool.ship(frame).await;
        }
        drainer.step(SHARDS).await.unwrap();
        assert_eq!(spool.next_seq().await, Some(if copies < 3 { 10 } else { 30 }));
    }
    let counted: Vec<_> =
        parked(&app).await.into_iter().map(|(reason, _, counted)| (reason, counted)).collect();
    assert_eq!(counted, [("damaged".to_owned(), 0), ("damaged".to_owned(), 0), ("damaged".to_owned(), 10)]);
    app.drained(20).await;
    assert_eq!(app.count("SELECT parked FROM spools").await, 10);
}

#[tokio::test]
async fn a_frame_the_edge_wrote_wrong_is_parked_when_it_is_its_turn() {
    let app = TestApp::start().await;
    let spool = app.spool(7);
    let wrong = malformed(&spool, 10, 10);
    let mut drainer = Drainer::new(&app.app).unwrap();
    // Before its turn it is dropped like any frame with a gap before it.
    spool.ship(&wrong).await;
    drainer.step(SHARDS).await.unwrap();
    assert!(parked(&app).await.is_empty());
    for frame in [&spool.frame(0, 10), &wrong, &wrong, &spool.frame(20, 10)] {
        spool.ship(frame).await;
    }
    drainer.step(SHARDS).await.unwrap();
    assert_eq!(parked(&app).await, [("malformed".to_owned(), wrong, 10)]);
    assert_eq!(spool.next_seq().await, Some(30));
    app.drained(20).await;
}

#[tokio::test]
async fn f9_another_frame_under_the_same_name_is_parked_and_never_applied() {
    let app = TestApp::start().await;
    let spool = app.spool(7);
    let clone = TestSpool { id: spool.id, shard: spool.shard, ..app.spool(8) };
    let mut drainer = Drainer::new(&app.app).unwrap();
    spool.ship(&spool.frame(0, 10)).await;
    drainer.step(SHARDS).await.unwrap();
    let other = clone.frame(0, 10);
    clone.ship(&other).await;
    let done = drainer.step(SHARDS).await.unwrap();
    assert_eq!((done.applied.conflicts, done.applied.clicks), (1, 0));
    assert_eq!(parked(&app).await, [("conflict".to_owned(), other, 0)]);
    app.drained(10).await;
    assert_eq!(app.count("SELECT count(*) FROM clicks WHERE advertiser = 8").await, 0);
}

#[tokio::test]
async fn f33_a_frame_of_a_later_format_stays_and_the_stream_goes_on_around_it() {
    let app = TestApp::start().await;
    let (new, old) = (app.spool(7), app.spool(7));
    let mut later = new.frame(0, 10);
    later[4] = 255;
    let mut drainer = Drainer::new(&app.app).unwrap();
    for round in 0..5 {
        new.ship(&later).await;
        old.ship(&old.frame(round * 10, 10)).await;
        drainer.step(SHARDS).await.unwrap();
        drainer.check_cursors().await.unwrap();
    }
    assert_eq!(app.entries().await, 1, "one of the equal copies stays, for a build that can read it");
    assert!(parked(&app).await.is_empty());
    app.drained(50).await;
    // The upgrade: the same bytes with a version that is known now.
    let mut redis = app.app.redis().get().await.unwrap();
    let stream = app.app.keys().clicks(new.shard);
    redis::cmd("DEL").arg(&stream).query_async::<()>(&mut redis).await.unwrap();
    new.ship(&new.frame(0, 10)).await;
    Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    app.drained(60).await;
}

#[tokio::test]
async fn losing_frames_that_lie_about_themselves_moves_nothing() {
    let app = TestApp::start().await;
    let spool = app.spool(7);
    let mut drainer = Drainer::new(&app.app).unwrap();
    spool.ship(&spool.frame(0, 10)).await;
    let header = FrameHeader { lost_before: 10, first_seq: 1 << 40, ..spool.header(0, 0) };
    let lie = damaged(&spool.frame_of(header, &[spool.click(0)]));
    for _ in 0..5 {
        spool.ship(&lie).await;
    }
    drainer.step(SHARDS).await.unwrap();
    assert_eq!(spool.next_seq().await, Some(10));
    app.drained(10).await;
}
