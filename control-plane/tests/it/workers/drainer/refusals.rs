//! A database that refuses: one frame's data, a lost race, everything.

use crate::harness::{SHARDS, TestApp};
use control_plane::workers::drainer::Drainer;

async fn run(app: &TestApp, sql: &'static str) {
    sqlx::raw_sql(sql).execute(app.app.db()).await.unwrap();
}

#[tokio::test]
async fn f32_data_that_is_refused_is_narrowed_down_to_its_frame_and_parked() {
    let app = TestApp::start().await;
    run(&app, "ALTER TABLE clicks ADD CONSTRAINT clicks_no_nauru CHECK (country <> 20050)").await;
    let (good, bad) = (app.spool(7), app.spool(7));
    good.ship(&good.frame(0, 10)).await;
    bad.ship(&bad.frame(0, 10)).await;
    let refused = shared::Click { country: *b"NR", ..bad.click(12) };
    let refused = bad.frame_of(bad.header(10, 0), &[bad.click(10), bad.click(11), refused]);
    assert_eq!(i16::from_be_bytes(*b"NR"), 20050);
    bad.ship(&refused).await;
    bad.ship(&bad.frame(13, 10)).await;
    good.ship(&good.frame(10, 10)).await;
    let done = Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    assert_eq!((done.applied.clicks, done.applied.parked), (40, 1));
    app.drained(40).await;
    let row: (String, i64, i64, Vec<u8>) =
        sqlx::query_as("SELECT reason, counted, counted_first, bytes FROM parked_frames")
            .fetch_one(app.app.db_read())
            .await
            .unwrap();
    assert_eq!(row, ("refused".to_owned(), 3, 10, refused));
    assert_eq!((good.next_seq().await, bad.next_seq().await), (Some(20), Some(23)));
}

/// Makes the first `count` inserts of deltas fail with a code; a sequence counts through rollbacks.
const FAIL_FIRST: &str = "CREATE SEQUENCE failures;
     CREATE FUNCTION fail() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN
         IF nextval('failures') <= 3 THEN RAISE EXCEPTION 'lost the race' USING ERRCODE = 'XXXXX'; END IF;
         RETURN NEW;
     END $$;
     CREATE TRIGGER fail BEFORE INSERT ON click_deltas FOR EACH ROW EXECUTE FUNCTION fail();";

#[tokio::test]
async fn f37_a_transaction_that_lost_a_race_is_tried_again() {
    for code in ["40001", "40P01"] {
        let app = TestApp::start().await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(FAIL_FIRST.replace("XXXXX", code)))
            .execute(app.app.db())
            .await
            .unwrap();
        let spool = app.spool(7);
        spool.ship(&spool.frame(0, 10)).await;
        let done = Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
        assert_eq!((done.applied.clicks, done.applied.parked), (10, 0), "{code}");
        app.drained(10).await;
    }
}

#[tokio::test]
async fn a_database_that_can_store_nothing_parks_nothing() {
    let app = TestApp::start().await;
    let spool = app.spool(7);
    spool.ship(&spool.frame(0, 10)).await;
    let mut drainer = Drainer::new(&app.app).unwrap();
    for broken in [
        "ALTER TABLE clicks RENAME TO elsewhere",
        "ALTER TABLE elsewhere RENAME TO clicks; ALTER TABLE click_deltas RENAME COLUMN counts TO other",
    ] {
        run(&app, broken).await;
        drainer.step(SHARDS).await.unwrap_err();
    }
    run(&app, "ALTER TABLE click_deltas RENAME COLUMN other TO counts").await;
    assert_eq!(app.count("SELECT count(*) FROM parked_frames").await, 0);
    assert_eq!(drainer.step(SHARDS).await.unwrap().applied.clicks, 10);
    app.drained(10).await;
}
