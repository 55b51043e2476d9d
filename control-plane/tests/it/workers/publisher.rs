//! The publisher: what changed reaches Redis, and an emptied Redis is filled again.

use crate::harness::TestApp;
use control_plane::features::links::publish::Publisher;
use control_plane::workers::jobs::Turn;
use metrics_exporter_prometheus::PrometheusBuilder;
use redis::AsyncCommands;
use redis::streams::StreamRangeReply;
use shared::link_record::{LinkRecord, LinkStatus};
use shared::token::LinkKey;

async fn publish_all(publisher: &mut Publisher) {
    while publisher.turn().await.unwrap() == Turn::Again {}
}

impl TestApp {
    async fn record(&self, key: LinkKey) -> Option<(LinkStatus, u64, String)> {
        let mut redis = self.app.redis().get().await.unwrap();
        let bytes: Option<Vec<u8>> = redis.get(self.app.keys().link(key)).await.unwrap();
        bytes.map(|bytes| {
            let record = LinkRecord::decode(&bytes).unwrap();
            (record.status, record.version, record.destination.to_owned())
        })
    }

    async fn changes(&self) -> Vec<(u64, LinkStatus)> {
        let mut redis = self.app.redis().get().await.unwrap();
        let range: StreamRangeReply = redis.xrange_all(self.app.keys().changes()).await.unwrap();
        let entry = |bytes: Vec<u8>| LinkRecord::decode(&bytes).unwrap().status;
        range.ids.iter().map(|id| (id.get("n").unwrap(), entry(id.get("r").unwrap()))).collect()
    }
}

#[tokio::test]
async fn each_change_reaches_the_key_and_the_stream() {
    let app = TestApp::start().await;
    let mut publisher = Publisher::new(&app.app).unwrap();
    publish_all(&mut publisher).await;
    let offer = app.offer().await;
    publish_all(&mut publisher).await;
    let (status, version, destination) = app.record(offer.key).await.unwrap();
    assert_eq!(status, LinkStatus::Active);
    assert!(destination.starts_with("https://example.com/"), "{destination}");
    let pause = format!("/api/programs/{}/pause", offer.program);
    offer.advertiser.post(&pause, serde_json::json!({})).await.expect(200);
    publish_all(&mut publisher).await;
    let paused = app.record(offer.key).await.unwrap();
    assert_eq!(paused.0, LinkStatus::Untracked);
    assert!(paused.1 > version);
    let deleted = offer.affiliate.delete(&format!("/api/links/{}", offer.link)).await;
    assert!(deleted.status < 300, "{deleted}");
    publish_all(&mut publisher).await;
    assert_eq!(app.record(offer.key).await.unwrap().0, LinkStatus::Gone);
    let changes = app.changes().await;
    assert!(changes.iter().map(|(number, _)| *number).eq(1..=changes.len() as u64), "{changes:?}");
    let mut seen: Vec<_> = changes.iter().map(|(_, status)| *status).collect();
    seen.dedup();
    assert_eq!(seen, [LinkStatus::Active, LinkStatus::Untracked, LinkStatus::Gone]);
    assert_eq!(app.count("SELECT count(*) FROM link_outbox").await, 0);
}

#[tokio::test]
async fn an_emptied_redis_is_filled_before_it_gets_an_epoch() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let mut publisher = Publisher::new(&app.app).unwrap();
    publish_all(&mut publisher).await;
    let epoch = |app: &TestApp| {
        let app = app.app.clone();
        async move {
            let mut redis = app.redis().get().await.unwrap();
            redis.get::<_, Option<String>>(app.keys().changes_epoch()).await.unwrap()
        }
    };
    let first = epoch(&app).await.expect("an epoch stands");
    assert_eq!(app.record(offer.key).await.unwrap().0, LinkStatus::Active);
    app.flush_redis().await;
    assert_eq!(app.record(offer.key).await, None);
    publish_all(&mut publisher).await;
    assert_eq!(app.record(offer.key).await.unwrap().0, LinkStatus::Active);
    assert_ne!(epoch(&app).await, Some(first));
    assert_eq!(app.changes().await, [], "edges compare what they know; they need no list of it");
}

#[tokio::test]
async fn a_new_redis_is_filled_and_only_an_emptied_one_has_lost_links() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let losses = || {
        let said = handle.render();
        let line = said.lines().find_map(|line| line.strip_prefix("cp_publish_refills_total "));
        assert!(!said.contains("cp_publish_mended_total "), "{said}");
        line.map_or(0, |count| count.parse::<u64>().unwrap())
    };
    // Links are made before anything is published, as in a deployment whose Redis comes up last.
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let mut first = Publisher::new(&app.app).unwrap();
    publish_all(&mut first).await;
    assert_eq!(app.record(offer.key).await.unwrap().0, LinkStatus::Active);
    assert_eq!(losses(), 0, "a new Redis has lost nothing");
    // A look at a Redis that is full, by which it is remembered, also by a version that is new here.
    publish_all(&mut first).await;
    publish_all(&mut Publisher::new(&app.app).unwrap()).await;
    assert_eq!(losses(), 0);
    app.flush_redis().await;
    publish_all(&mut first).await;
    assert_eq!(app.record(offer.key).await.unwrap().0, LinkStatus::Active);
    assert_eq!(losses(), 1);
    publish_all(&mut first).await;
    app.flush_redis().await;
    // One that has just been started counts it too.
    publish_all(&mut Publisher::new(&app.app).unwrap()).await;
    assert_eq!(losses(), 2);
}

#[tokio::test]
async fn a_change_that_comes_while_links_are_compared_is_no_loss() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let mut publisher = Publisher::new(&app.app).unwrap();
    publish_all(&mut publisher).await;
    let (before, changes) = (app.record(offer.key).await.unwrap(), app.changes().await.len());
    let mut changing = app.app.db().begin().await.unwrap();
    let change = "LOCK TABLE links IN ACCESS EXCLUSIVE MODE;
                  UPDATE links SET destination_url = destination_url || 'later';
                  INSERT INTO link_outbox (subject, subject_id, created_at) SELECT 'link', id, now() FROM links";
    sqlx::raw_sql(change).execute(&mut *changing).await.unwrap();
    // The outbox is empty when the publisher looks there; it waits for the change where it reads links.
    let mut publisher = Publisher::new(&app.app).unwrap();
    let commit = async {
        let waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'links'::REGCLASS AND NOT granted";
        while app.count(waiting).await == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        changing.commit().await.unwrap();
    };
    let (turn, ()) = tokio::join!(publisher.turn(), commit);
    turn.unwrap();
    assert_eq!(app.record(offer.key).await.unwrap(), before);
    assert_eq!(app.changes().await.len(), changes);
    publish_all(&mut publisher).await;
    assert!(app.record(offer.key).await.unwrap().2.ends_with("later"));
    assert_eq!(app.changes().await.len(), changes + 1);
    let said = handle.render();
    assert!(!said.contains("cp_publish_mended_total "), "{said}");
}

#[tokio::test]
async fn a_link_is_in_redis_within_a_second_of_its_creation() {
    let app = TestApp::start().await;
    app.app.tasks().spawn(Publisher::new(&app.app).unwrap().run());
    let offer = app.offer().await;
    let started = std::time::Instant::now();
    while app.record(offer.key).await.is_none() {
        assert!(started.elapsed() < std::time::Duration::from_secs(1));
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_publisher_that_was_frozen_brings_no_old_state_back() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let mut publisher = Publisher::new(&app.app).unwrap();
    publish_all(&mut publisher).await;
    let mut redis = app.app.redis().get().await.unwrap();
    let key = app.app.keys().link(offer.key);
    let newer: Vec<u8> = redis.get(&key).await.unwrap();
    let mut high = newer.clone();
    // A record whose version is above all that Postgres will draw for a long time.
    high[8..16].copy_from_slice(&(1_u64 << 40).to_be_bytes());
    redis.set::<_, _, ()>(&key, &high).await.unwrap();
    let changes = app.changes().await.len();
    sqlx::query("INSERT INTO link_outbox (subject, subject_id, created_at) VALUES ('link', $1::UUID, now())")
        .bind(&offer.link)
        .execute(app.app.db())
        .await
        .unwrap();
    publish_all(&mut publisher).await;
    assert_eq!(redis.get::<_, Vec<u8>>(&key).await.unwrap(), high, "the lower version is not written");
    assert_eq!(app.changes().await.len(), changes, "nor announced");
}

#[tokio::test]
async fn what_a_promoted_replica_lost_is_written_again() {
    let app = TestApp::start().await;
    let (lost, stale, right) = (app.offer().await, app.offer().await, app.offer().await);
    let mut publisher = Publisher::new(&app.app).unwrap();
    publish_all(&mut publisher).await;
    let mut redis = app.app.redis().get().await.unwrap();
    let keys = [&lost, &stale, &right].map(|offer| app.app.keys().link(offer.key));
    let before: Vec<u8> = redis.get(&keys[1]).await.unwrap();
    stale
        .advertiser
        .post(&format!("/api/programs/{}/pause", stale.program), serde_json::json!({}))
        .await
        .expect(200);
    publish_all(&mut publisher).await;
    let kept: Vec<u8> = redis.get(&keys[2]).await.unwrap();
    // The last moments before the failover are gone; the epoch and the rest are there.
    redis.del::<_, ()>(&keys[0]).await.unwrap();
    redis.set::<_, _, ()>(&keys[1], before).await.unwrap();
    let changes = app.changes().await.len();
    let mut publisher = Publisher::new(&app.app).unwrap();
    publish_all(&mut publisher).await;
    assert_eq!(app.record(lost.key).await.unwrap().0, LinkStatus::Active);
    assert_eq!(app.record(stale.key).await.unwrap().0, LinkStatus::Untracked);
    assert_eq!(redis.get::<_, Vec<u8>>(&keys[2]).await.unwrap(), kept, "what is right is left alone");
    assert_eq!(app.changes().await.len(), changes + 2, "edges are told of both");
    publish_all(&mut publisher).await;
    assert_eq!(app.changes().await.len(), changes + 2);
}
