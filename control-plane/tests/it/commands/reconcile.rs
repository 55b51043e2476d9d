//! `reconcile`: nothing off while clicks are on their way, and a single missing click is seen.

use crate::harness::{SHARDS, TestApp};
use control_plane::commands::reconcile::render;
use control_plane::features::clicks::fold::fold;
use control_plane::redis::Target;
use control_plane::workers::drainer::Drainer;
use control_plane::workers::reconcile::{Report, reconcile};
use deadpool_redis::redis::AsyncCommands;
use secrecy::ExposeSecret;
use shared::keys::SpoolReport;

async fn report(app: &TestApp) -> Report {
    let target = Target::parse(app.app.config().redis_url.expose_secret()).unwrap();
    let mut conn = app.app.db_worker().acquire().await.unwrap();
    reconcile(&mut conn, Some((&target, app.app.keys(), app.app.config().click_shards))).await.unwrap()
}

impl TestApp {
    async fn fold_all(&self) {
        while fold(&mut self.app.db_worker().acquire().await.unwrap(), self.now()).await.unwrap().rows > 0 {}
    }

    async fn change(&self, sql: &'static str) {
        sqlx::query(sql).execute(self.app.db()).await.unwrap();
    }
}

#[tokio::test]
async fn every_stage_of_the_way_is_in_the_sum() {
    let app = TestApp::start().await;
    app.agent("Advertiser").await;
    let number = app.count("SELECT number::BIGINT FROM agents").await as u32;
    let (spool, unseen) = (app.spool(number), app.spool(number));
    for frame in [spool.frame(0, 50), spool.frame_after_loss(53, 3, 10)] {
        spool.ship(&frame).await;
    }
    Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    spool.ship(&spool.frame(63, 7)).await;
    let mut redis = app.app.redis().get().await.unwrap();
    for (spool, accepted, declared_loss) in [(&spool, 90, 3), (&unseen, 25, 0)] {
        let said = SpoolReport { accepted, declared_loss, live: true }.to_string();
        let key = app.app.keys().reports(spool.shard);
        redis.hset::<_, _, _, ()>(key, spool.id.simple().to_string(), said).await.unwrap();
    }
    let before = report(&app).await;
    let totals = |pick: fn(&control_plane::workers::reconcile::SpoolSum) -> i64| {
        before.spools.iter().map(pick).sum::<i64>()
    };
    assert_eq!(totals(|sum| sum.accepted), 115);
    assert_eq!((totals(|sum| sum.stored), totals(|sum| sum.declared_loss)), (60, 3));
    assert_eq!((before.in_transit(), before.waiting(), before.off()), (52, 60, 0), "{before:?}");
    assert!(render(&before, false, true).well);
    assert!(!render(&before, true, true).well, "settled means that nothing is on its way");
    app.fold_all().await;
    let after = report(&app).await;
    assert_eq!((after.waiting(), after.off()), (0, 0), "{after:?}");
    let text = render(&after, false, true).text;
    assert!(text.contains("Every click is accounted for."), "{text}");
}

#[tokio::test]
async fn a_single_click_that_is_off_is_seen_wherever_it_went() {
    let app = TestApp::start().await;
    app.agent("Advertiser").await;
    let number = app.count("SELECT number::BIGINT FROM agents").await as u32;
    let spool = app.spool(number);
    spool.ship(&spool.frame(0, 50)).await;
    Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    app.fold_all().await;
    assert_eq!(report(&app).await.off(), 0);
    for (broken, mended) in [
        ("UPDATE spools SET watermark = 51", "UPDATE spools SET watermark = 50"),
        (
            "UPDATE spools SET stored = 49, declared_loss = 1",
            "UPDATE spools SET stored = 50, declared_loss = 0",
        ),
        ("UPDATE link_hours SET clicks = clicks + 1", "UPDATE link_hours SET clicks = clicks - 1"),
        (
            "UPDATE usage_months SET used = used - 1, included = included - 1",
            "UPDATE usage_months SET used = used + 1, included = included + 1",
        ),
        (
            "UPDATE clicks SET seq = 48 WHERE seq = 49",
            "UPDATE clicks SET seq = 49 WHERE ctid = (SELECT max(ctid) FROM clicks WHERE seq = 48)",
        ),
    ] {
        app.change(broken).await;
        let found = report(&app).await;
        assert!(found.off() >= 1, "{broken}: {found:?}");
        assert!(!render(&found, false, false).well);
        app.change(mended).await;
        assert_eq!(report(&app).await.off(), 0, "{mended}");
    }
    app.change("DELETE FROM clicks WHERE seq = 49").await;
    assert_eq!(report(&app).await.off(), 2, "of its spool and of its account");
}
