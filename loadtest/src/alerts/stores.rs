//! What goes wrong with Redis and Postgres.

use super::scene::Scene;
use crate::stack::{Options, Stack};
use anyhow::{Context, ensure};
use redis::aio::MultiplexedConnection;
use serde_json::json;
use shared::keys::Keys;
use shared::{Clock, SystemClock};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, PgPool};
use std::time::{Duration, Instant};

const CAUSED_FOR: Duration = Duration::from_secs(100);
const EVERY: Duration = Duration::from_millis(500);
/// The oldest segments go first: the 16 that the edge's budget keeps, and some that were begun after the backup.
const FREED_MIN: f64 = 24.0;

async fn configure(redis: &mut MultiplexedConnection, name: &str, value: &str) -> anyhow::Result<()> {
    Ok(redis::cmd("CONFIG").arg("SET").arg(name).arg(value).query_async(redis).await?)
}

/// A figure of `INFO`.
async fn figure(redis: &mut MultiplexedConnection, name: &str) -> anyhow::Result<u64> {
    let info: String = redis::cmd("INFO").query_async(redis).await?;
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(line.with_context(|| format!("INFO has no {name}"))?.trim().parse()?)
}

pub(super) async fn redis_settings(scene: &mut Scene) -> anyhow::Result<()> {
    let mut redis = scene.redis().await?;
    let clients = figure(&mut redis, "connected_clients").await?;
    configure(&mut redis, "maxclients", &(clients + 100).to_string()).await?;
    let mut crowd = Vec::new();
    for _ in 0..92 {
        crowd.push(scene.redis().await?);
    }
    scene.fires(&["RedisConnectionsFew"]).await?;
    drop(crowd);
    configure(&mut redis, "maxclients", "10000").await?;
    let used = figure(&mut redis, "used_memory").await?;
    configure(&mut redis, "maxmemory", &(used + used / 10).to_string()).await?;
    scene.fires(&["RedisFull"]).await?;
    configure(&mut redis, "maxmemory-policy", "allkeys-lru").await?;
    scene.fires(&["RedisMayEvict"]).await?;
    configure(&mut redis, "maxmemory", &(used * 9 / 10).to_string()).await?;
    // A write throws something away now, whether there is room for it then or not.
    redis::cmd("SET").arg("one").arg("more").query_async::<()>(&mut redis).await.ok();
    let told = scene.fires(&["RedisEvicted"]).await;
    configure(&mut redis, "maxmemory", "0").await?;
    configure(&mut redis, "maxmemory-policy", "noeviction").await?;
    told?;
    scene.mended(&["RedisMayEvict", "RedisFull", "RedisConnectionsFew", "RedisEvicted"]);
    Ok(())
}

pub(super) async fn redis_away(scene: &mut Scene) -> anyhow::Result<()> {
    const AWAY: [&str; 10] = [
        "RedisDown",
        "EdgeWithoutRedis",
        "LinkStreamLost",
        "EdgeNotReady",
        "RedirectsUnavailable",
        "DrainFails",
        "PublishFails",
        "JobFails",
        "OutboxOld",
        "ClicksWaitAtEdge",
    ];
    scene.stack.redis.kill()?;
    let link = json!({"destination_url": "https://shop.example/later"});
    let links = format!("/api/partnerships/{}/links", scene.cast.partnership);
    scene.cast.affiliate.call("POST", &links, Some(link)).await?;
    // One that has never seen a link.
    let (mut edge, addr, _) = scene.another_edge(&[]).await?;
    edge.start()?;
    let path = scene.target.path.clone();
    let asking = tokio::spawn(async move {
        let http = reqwest::Client::builder().no_proxy().build()?;
        loop {
            // Not answered at all before it listens.
            http.get(format!("http://{addr}{path}")).send().await.ok();
            tokio::time::sleep(EVERY / 10).await;
        }
        #[expect(unreachable_code, reason = "names the error's type")]
        anyhow::Ok(())
    });
    let told = scene.fires(&AWAY).await;
    scene.stack.redis.start()?;
    asking.abort();
    told?;
    scene.mended(&AWAY);
    scene.fires(&["RedisLostLinks"]).await?;
    scene.mended(&["RedisLostLinks"]);
    edge.ready().await?;
    edge.stop()?;
    scene.watch.edge(edge.admin(), false)?;
    Ok(())
}

/// Nobody can write where clicks go and are counted, nor where sales go; everybody can read.
pub(super) async fn locked(scene: &mut Scene) -> anyhow::Result<()> {
    const ALERTS: [&str; 4] = ["ApiErrors", "ApiSlow", "WatermarkOld", "FoldLate"];
    let database = scene.database().await?;
    let mut counts = database.begin().await?;
    sqlx::raw_sql("LOCK TABLE link_hours IN SHARE MODE").execute(&mut *counts).await?;
    // Some clicks are stored meanwhile, and wait to be counted.
    Scene::until("a batch waits for the fold", CAUSED_FOR, || async {
        Ok(sqlx::query_scalar("SELECT EXISTS (SELECT FROM click_deltas)").fetch_one(&database).await?)
    })
    .await?;
    let mut rows = database.begin().await?;
    sqlx::raw_sql("LOCK TABLE clicks, conversions IN SHARE MODE").execute(&mut *rows).await?;
    let told = scene.fires(&ALERTS).await;
    rows.rollback().await?;
    counts.rollback().await?;
    told?;
    scene.mended(&ALERTS);
    Ok(())
}

async fn alter(database: &PgPool, setting: &str) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(format!("ALTER SYSTEM {setting}"))).execute(database).await?;
    sqlx::raw_sql("SELECT pg_reload_conf()").execute(database).await?;
    Ok(())
}

pub(super) async fn postgres_settings(scene: &mut Scene) -> anyhow::Result<()> {
    let database = scene.database().await?;
    alter(&database, "SET fsync = off").await?;
    scene.fires(&["PostgresUnsafe"]).await?;
    alter(&database, "RESET fsync").await?;
    scene.mended(&["PostgresUnsafe"]);

    let mut crowd = Vec::new();
    let (most, open): (i64, i64) = sqlx::query_as(
        "SELECT current_setting('max_connections')::BIGINT, (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL)",
    )
    .fetch_one(&database)
    .await?;
    for _ in 0..(most * 9 / 10 - open) {
        crowd.push(PgConnection::connect(&scene.stack.postgres.url()).await?);
    }
    scene.fires(&["PostgresConnectionsFew"]).await?;
    drop(crowd);
    scene.mended(&["PostgresConnectionsFew"]);

    alter(&database, "SET archive_command = '/bin/false'").await?;
    let deadline = Instant::now() + CAUSED_FOR;
    while !(scene.has_fired("PostgresDeadlocks") && scene.has_fired("PostgresArchiveFails")) {
        ensure!(Instant::now() < deadline, "deadlocks or a failing archive were not told of");
        // Wakes the archiver, which would wait for a minute.
        sqlx::raw_sql("SELECT txid_current(), pg_switch_wal()").execute(&database).await?;
        deadlock(&database).await?;
    }
    scene.fires(&["PostgresDeadlocks", "PostgresArchiveFails"]).await?;
    alter(&database, "SET archive_command = '/bin/true'").await?;
    scene.mended(&["PostgresDeadlocks", "PostgresArchiveFails"]);
    Ok(())
}

/// Two transactions that wait for each other, until Postgres ends one.
async fn deadlock(database: &PgPool) -> anyhow::Result<()> {
    let (mut one, mut other) = (database.begin().await?, database.begin().await?);
    sqlx::raw_sql("SELECT pg_advisory_xact_lock(71)").execute(&mut *one).await?;
    sqlx::raw_sql("SELECT pg_advisory_xact_lock(72)").execute(&mut *other).await?;
    let first = async {
        let outcome = sqlx::raw_sql("SELECT pg_advisory_xact_lock(72)").execute(&mut *one).await;
        one.rollback().await.map(|()| outcome.is_err())
    };
    let second = async {
        let outcome = sqlx::raw_sql("SELECT pg_advisory_xact_lock(71)").execute(&mut *other).await;
        other.rollback().await.map(|()| outcome.is_err())
    };
    let (first, second) = tokio::join!(first, second);
    ensure!(first? != second?, "one of two was to lose");
    Ok(())
}

/// It was opened when the run began.
pub(super) async fn long_transaction(scene: &mut Scene) -> anyhow::Result<()> {
    let open = scene.open.take().context("no transaction is open")?;
    tokio::time::sleep(Duration::from_mins(5).saturating_sub(open.since.elapsed())).await;
    scene.fires(&["PostgresTransactionLong"]).await?;
    open.transaction.rollback().await?;
    scene.mended(&["PostgresTransactionLong"]);
    Ok(())
}

pub(super) async fn undated(scene: &mut Scene) -> anyhow::Result<()> {
    let database = scene.database().await?;
    let today = SystemClock.now().format("%Y%m%d");
    let detach = format!(
        "SET lock_timeout = '10s'; ALTER TABLE clicks DETACH PARTITION clicks_{today}; ALTER TABLE clicks_{today} RENAME TO of_today"
    );
    sqlx::raw_sql(AssertSqlSafe(detach)).execute(&database).await?;
    let told = scene.fires(&["ClicksUndated"]).await;
    // What the hourly job does; it moves what lies in the default partition.
    sqlx::raw_sql("SELECT ensure_click_partitions(current_date, current_date)").execute(&database).await?;
    sqlx::raw_sql("INSERT INTO clicks SELECT * FROM of_today; DROP TABLE of_today")
        .execute(&database)
        .await?;
    told?;
    scene.mended(&["ClicksUndated"]);
    Ok(())
}

/// The backup is older than clicks that the edge has freed since.
pub(super) async fn restored(scene: &mut Scene) -> anyhow::Result<()> {
    let data = scene.stack.back_up()?;
    let edge = scene.stack.edge_addr;
    let enough = scene.stack.edge.metric("edge_spool_freed_early_total").await? + FREED_MIN;
    let deadline = Instant::now() + CAUSED_FOR;
    while scene.stack.edge.metric("edge_spool_freed_early_total").await? < enough {
        ensure!(Instant::now() < deadline, "the edge did not free {FREED_MIN} segments");
        scene.click(edge, 5_000, None).await?;
    }
    scene.stack.postgres.kill()?;
    scene.fires(&["PostgresDown"]).await?;
    scene.stack.restore(&data).await?;
    scene.mended(&["PostgresDown"]);
    scene.fires(&["PayoutsFrozen", "ClicksGone"]).await?;
    let (code, said) = scene.stack.control_plane.outcome(&["payouts", "thaw", "--log", "error"])?;
    ensure!(code == Some(0), "`payouts thaw` failed: {said}");
    scene.mended(&["PayoutsFrozen", "ClicksGone"]);
    Ok(())
}

/// A system of its own, on a cluster.
pub(super) async fn cluster(scene: &mut Scene) -> anyhow::Result<()> {
    let options = Options { cluster: true, ..Options::default() };
    let mut stack = Stack::start(&scene.stack.ground, options).await?;
    scene.watch.control(stack.control_plane.admin(), true)?;
    let cluster = stack.cluster.as_mut().context("the stack has no cluster")?;
    let key = Keys::new("").clicks(0);
    let master = cluster.kill_master_of(&key).await?;
    cluster.failed_over(&key, master).await?;
    let replica = cluster.kill_master_of(&key).await?;
    let told = scene.fires(&["StreamsAbsent"]).await;
    cluster.start_all_again(&[master, replica]).await?;
    told?;
    scene.mended(&["StreamsAbsent"]);
    scene.ended(&["StreamsAbsent"]).await?;
    scene.watch.control(stack.control_plane.admin(), false)?;
    stack.stop()
}
