//! The good day.

use crate::harness::{SHARDS, TestApp};
use control_plane::workers::drainer::Drainer;

#[tokio::test]
async fn frames_become_rows_sums_and_a_watermark() {
    let app = TestApp::start().await;
    let spool = app.spool(7);
    for first in [0, 100, 200] {
        spool.ship(&spool.frame(first, 100)).await;
    }
    let mut drainer = Drainer::new(&app.app).unwrap();
    let done = drainer.step(SHARDS).await.unwrap();
    assert_eq!((done.entries, done.applied.clicks), (3, 300));
    assert_eq!(app.count("SELECT count(*) FROM clicks").await, 300);
    assert_eq!(app.count("SELECT count(DISTINCT (spool_tag, seq)) FROM clicks").await, 300);
    assert_eq!(
        app.count("SELECT sum(clicks)::BIGINT FROM click_deltas, unnest(counts) AS clicks").await,
        300
    );
    assert_eq!(spool.next_seq().await, Some(300));
    assert_eq!(app.entries().await, 0, "what is committed is deleted");
    assert_eq!(drainer.step(SHARDS).await.unwrap().entries, 0);
}

#[tokio::test]
async fn a_row_says_what_the_click_was() {
    let app = TestApp::start().await;
    let spool = app.spool(42);
    let click = shared::Click { notes: b"\x01\x03abc", country: *b"NZ", ..spool.click(3) };
    spool.ship(&spool.frame_of(spool.header(0, 0), &[click])).await;
    Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    type Row = (i64, i64, i64, i64, i32, i32, i16, i16, i16, Vec<u8>);
    let row: Row = sqlx::query_as(
        "SELECT (extract(EPOCH FROM at) * 1000)::BIGINT,
                seq, link_key, visitor, spool_tag, advertiser, class, flags, country, notes
           FROM clicks",
    )
    .fetch_one(app.app.db_read())
    .await
    .unwrap();
    let tag = i32::from_be_bytes(spool.id.as_bytes()[..4].try_into().unwrap());
    assert_eq!((row.0, row.1, row.2, row.3), (click.at_ms, 0, spool.link.to_i64(), 3));
    assert_eq!((row.4, row.5, row.6, row.7), (tag, 42, 0, 1));
    assert_eq!((row.8, row.9.as_slice()), (i16::from_be_bytes(*b"NZ"), &b"\x01\x03abc"[..]));
}
