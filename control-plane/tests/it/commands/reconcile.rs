//! `reconcile`: nothing off while clicks are on their way, and a single missing click is seen.

use crate::harness::{SHARDS, TestApp, TestSpool};
use chrono::TimeDelta;
use control_plane::commands::reconcile::render;
use control_plane::config::ReconcileArgs;
use control_plane::features::clicks::fold::fold;
use control_plane::redis::Target;
use control_plane::workers::drainer::Drainer;
use control_plane::workers::reconcile::{Report, SILENT_FOR_MS, reconcile, reports};
use redis::AsyncCommands;
use secrecy::ExposeSecret;
use shared::keys::SpoolReport;

async fn report(app: &TestApp) -> Report {
    let target = Target::parse(app.app.config().redis_url.expose_secret()).unwrap();
    let mut conn = app.app.db_worker().acquire().await.unwrap();
    let redis = (&target, app.app.keys(), app.app.config().click_shards);
    reconcile(&mut conn, Some(redis), app.now()).await.unwrap()
}

const ALL: ReconcileArgs = ReconcileArgs { settled: false, all: true, metrics: false };
const SETTLED: ReconcileArgs = ReconcileArgs { settled: true, ..ALL };

impl TestSpool {
    async fn report(&self, redis: &mut control_plane::redis::Shared, said: SpoolReport) {
        let key = self.app.keys().reports(self.shard);
        redis.hset::<_, _, _, ()>(key, self.id.simple().to_string(), said.to_string()).await.unwrap();
    }
}

impl TestApp {
    /// What an edge says now, the counts left out.
    fn said(&self) -> SpoolReport {
        SpoolReport { live: true, at_ms: self.now().timestamp_millis(), ..SpoolReport::default() }
    }

    async fn reports(&self) -> usize {
        let mut redis = self.app.redis().get().await.unwrap();
        let mut all = 0;
        for shard in SHARDS {
            all += redis.hlen::<_, usize>(self.app.keys().reports(*shard)).await.unwrap();
        }
        all
    }

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
        let said = SpoolReport { accepted, declared_loss, ..app.said() };
        spool.report(&mut redis, said).await;
    }
    let before = report(&app).await;
    let totals = |pick: fn(&control_plane::workers::reconcile::SpoolSum) -> i64| {
        before.spools.iter().map(pick).sum::<i64>()
    };
    assert_eq!(totals(|sum| sum.accepted), 115);
    assert_eq!((totals(|sum| sum.stored), totals(|sum| sum.declared_loss)), (60, 3));
    assert_eq!((before.in_transit(), before.waiting(), before.off()), (52, 60, 0), "{before:?}");
    assert_eq!((totals(|sum| sum.on_edge), totals(|sum| sum.in_redis)), (45, 7));
    let metrics = render(&before, ReconcileArgs { metrics: true, ..ALL }).text;
    let sample = format!("cp_reconcile_spool_clicks{{spool=\"{}\",stage=\"in_redis\"}} 7", spool.id.simple());
    assert!(metrics.lines().any(|line| line == sample), "{metrics}");
    let sample = format!("cp_reconcile_account_clicks{{account=\"{number}\",stage=\"of_them_waiting\"}} 60");
    assert!(metrics.lines().any(|line| line == sample), "{metrics}");
    assert!(metrics.ends_with("cp_reconcile_unaccounted_clicks 0"), "{metrics}");
    assert!(render(&before, ALL).well);
    assert!(!render(&before, SETTLED).well, "settled means that nothing is on its way");
    app.fold_all().await;
    let after = report(&app).await;
    assert_eq!((after.waiting(), after.off()), (0, 0), "{after:?}");
    let text = render(&after, ALL).text;
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
        assert!(!render(&found, ReconcileArgs::default()).well);
        app.change(mended).await;
        assert_eq!(report(&app).await.off(), 0, "{mended}");
    }
    app.change("DELETE FROM clicks WHERE seq = 49").await;
    let found = report(&app).await;
    assert_eq!(found.off() - found.broken.len() as i64, 2, "of its spool and of its account");
}

#[tokio::test]
async fn an_edge_that_falls_silent_leaves_its_clicks_unaccounted_for() {
    let app = TestApp::start().await;
    app.agent("Advertiser").await;
    let number = app.count("SELECT number::BIGINT FROM agents").await as u32;
    let spool = app.spool(number);
    spool.ship(&spool.frame(0, 50)).await;
    Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    app.fold_all().await;
    let mut redis = app.app.redis().get().await.unwrap();
    spool.report(&mut redis, SpoolReport { accepted: 60, ..app.said() }).await;
    assert_eq!((report(&app).await.in_transit(), report(&app).await.off()), (10, 0));
    app.clock.advance(TimeDelta::milliseconds(SILENT_FOR_MS + 1));
    let silent = report(&app).await;
    assert_eq!((silent.in_transit(), silent.off()), (0, 10), "{silent:?}");
    assert!(!render(&silent, ALL).well);
    // It comes back, and has them still.
    spool.report(&mut redis, SpoolReport { accepted: 60, ..app.said() }).await;
    assert_eq!(report(&app).await.off(), 0);
}

#[tokio::test]
async fn reports_of_spools_that_are_over_are_forgotten_after_an_hour() {
    let app = TestApp::start().await;
    let (over, open) = (app.spool(7), app.spool(7));
    over.ship(&over.frame(0, 50)).await;
    open.ship(&open.frame(0, 50)).await;
    Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    let mut redis = app.app.redis().get().await.unwrap();
    over.report(&mut redis, SpoolReport { accepted: 50, ..app.said() }).await;
    open.report(&mut redis, SpoolReport { accepted: 51, ..app.said() }).await;
    reports::job(app.app.clone()).await.unwrap();
    assert_eq!(app.reports().await, 2, "the edge may still say something of them");
    app.clock.advance(TimeDelta::minutes(61));
    reports::job(app.app.clone()).await.unwrap();
    assert_eq!(app.reports().await, 1, "a click that never came is not forgotten");
}
