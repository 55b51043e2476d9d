//! What takes numbers or time: more clicks, links or seconds than a shop has on a quiet day.

use super::scene::Scene;
use crate::stack::SHARDS;
use anyhow::{Context, ensure};
use serde_json::json;
use shared::click::{Click, ClickClass};
use shared::frame::{self, CLICKS_MAX, FrameHeader};
use shared::keys::{Keys, SpoolReport, shard_of};
use shared::{Clock, LinkKey, SystemClock};
use sqlx::PgPool;
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(500);
/// More than a million clicks. A spool sends 64 frames ahead at most: these stand for those of many edges.
const FRAMES: u64 = 2_000;
/// Frames sent at once.
const BURST: u64 = 100;
/// More than the smallest map has room for, and how many come on top at a time.
const LINKS: i64 = 40_000;
const LINKS_AT_ONCE: i64 = 500;
/// Publishing so many takes a build without optimisation most of a minute.
const FULL_WITHIN: Duration = Duration::from_mins(2);
/// The job that asks for certificates has its turn within this.
const FAILS_WITHIN: Duration = Duration::from_mins(1);
/// Callers of one wallet at a time.
const RIVALS: usize = 16;

/// A trigger somebody put on the clicks, which takes its time with every batch.
pub(super) async fn slow_batches(scene: &mut Scene) -> anyhow::Result<()> {
    let database = scene.database().await?;
    let trigger = "CREATE FUNCTION dawdle() RETURNS TRIGGER LANGUAGE plpgsql AS
                       $$BEGIN PERFORM pg_sleep(3); RETURN NULL; END$$;
                   CREATE TRIGGER dawdle BEFORE INSERT ON clicks FOR EACH STATEMENT EXECUTE FUNCTION dawdle()";
    sqlx::raw_sql(trigger).execute(&database).await?;
    let told = scene.fires(&["DrainLags"]).await;
    sqlx::raw_sql("DROP TRIGGER dawdle ON clicks; DROP FUNCTION dawdle()").execute(&database).await?;
    told?;
    scene.mended(&["DrainLags"]);
    Ok(())
}

/// Nobody can store clicks, and somebody tidies Redis up: frames that edges have sent are gone from their streams.
pub(super) async fn tidied_streams(scene: &mut Scene) -> anyhow::Result<()> {
    let database = scene.database().await?;
    let redis = scene.redis().await?;
    let mut lock = database.begin().await?;
    sqlx::raw_sql("LOCK TABLE clicks IN SHARE MODE").execute(&mut *lock).await?;
    let streams: Vec<String> = (0..SHARDS).map(|shard| Keys::new("").clicks(shard)).collect();
    let told = scene
        .fires_while("ShippingStalls", EVERY, || {
            let (mut redis, mut delete) = (redis.clone(), redis::cmd("DEL"));
            delete.arg(&streams);
            async move { Ok(delete.query_async::<()>(&mut redis).await?) }
        })
        .await;
    lock.rollback().await?;
    told?;
    scene.mended(&["ShippingStalls"]);
    Ok(())
}

/// Nobody can store clicks while those of one more spool come, told as edges tell them. They are crawlers', which nobody
/// pays for.
pub(super) async fn backlog(scene: &mut Scene) -> anyhow::Result<()> {
    let database = scene.database().await?;
    let mut redis = scene.redis().await?;
    let (link, advertiser): (i64, i32) = sqlx::query_as(
        "SELECT links.key, agents.number FROM links JOIN agents ON agents.id = links.advertiser_id WHERE links.token = $1",
    )
    .bind(&scene.cast.token)
    .fetch_one(&database)
    .await?;
    let mut lock = database.begin().await?;
    sqlx::raw_sql("LOCK TABLE clicks IN SHARE MODE").execute(&mut *lock).await?;
    let at_ms = SystemClock.now().timestamp_millis();
    let spool = shared::id::EventId::generate().uuid();
    let shard = shard_of(spool, SHARDS);
    let click = Click {
        at_ms,
        link: LinkKey(link.cast_unsigned()),
        advertiser: advertiser.unsigned_abs(),
        visitor: 1,
        class: ClickClass::Crawler,
        flags: 0,
        country: [0; 2],
        notes: &[],
    };
    let clicks = vec![click; CLICKS_MAX];
    for first in (0..FRAMES).step_by(BURST as usize) {
        let mut burst = redis::pipe();
        for number in first..first + BURST {
            let header = FrameHeader {
                spool,
                edge: 2,
                first_seq: number * CLICKS_MAX as u64,
                clock_ms: at_ms,
                lost_before: 0,
                last: number == FRAMES - 1,
            };
            let mut bytes = Vec::new();
            frame::encode(&header, &clicks, &mut bytes);
            burst.cmd("XADD").arg(Keys::new("").clicks(shard)).arg("*").arg("f").arg(bytes).ignore();
        }
        burst.query_async::<()>(&mut redis).await?;
    }
    let told = FRAMES * CLICKS_MAX as u64;
    let report = SpoolReport {
        accepted: told,
        declared_loss: 0,
        live: false,
        shipped: told,
        next_seq: 0,
        kept_from: 0,
        at_ms,
    };
    redis::cmd("HSET")
        .arg(Keys::new("").reports(shard))
        .arg(spool.simple().to_string())
        .arg(report.to_string())
        .query_async::<()>(&mut redis)
        .await?;
    let fired = scene.fires(&["RedisBacklog"]).await;
    lock.rollback().await?;
    fired?;
    scene.mended(&["RedisBacklog"]);
    Ok(())
}

/// An edge with the least memory, while links are made by the thousand.
pub(super) async fn many_links(scene: &mut Scene) -> anyhow::Result<()> {
    let (mut edge, _, _) = scene.another_edge(&[("AOS_EDGE_LINKS_MIB", "8".to_owned())]).await?;
    edge.start()?;
    edge.ready().await?;
    let database = scene.database().await?;
    let partnership = scene.cast.partnership.clone();
    make_links(database.clone(), partnership.clone(), LINKS).await?;
    Scene::until("the edge has no more room", FULL_WITHIN, || async {
        Ok(edge.metric("edge_links_evicted_total").await? > 0.0)
    })
    .await?;
    scene
        .fires_while("LinksMakeRoom", EVERY, || {
            make_links(database.clone(), partnership.clone(), LINKS_AT_ONCE)
        })
        .await?;
    scene.mended(&["LinksMakeRoom"]);
    scene.ended(&["LinksMakeRoom"]).await?;
    edge.stop()?;
    scene.watch.edge(edge.admin(), false)?;
    Ok(())
}

/// As the API makes them one after the other, in one go.
async fn make_links(database: PgPool, partnership: String, links: i64) -> anyhow::Result<()> {
    let insert = "WITH made AS (
                     INSERT INTO links (id, key, token, partnership_id, program_id, affiliate_id, advertiser_id,
                                        destination_url, created_at, updated_at, host)
                     SELECT gen_random_uuid(), hashtextextended(gen_random_uuid()::TEXT, 0), gen_random_uuid()::TEXT, id,
                            program_id, affiliate_id, advertiser_id,
                            'https://shop.example/p/' || n || '?note=' || repeat('x', 300),
                            now(), now(), 'shop.example'
                       FROM partnerships, generate_series(1, $2) AS n
                      WHERE id = $1::UUID
                     RETURNING id)
                 INSERT INTO link_outbox (subject, subject_id, created_at) SELECT 'link', id, now() FROM made";
    sqlx::query(insert).bind(partnership).bind(links).execute(&database).await?;
    Ok(())
}

/// Somebody made transactions stricter than the program was written for, and one wallet has many callers.
pub(super) async fn strict_isolation(scene: &mut Scene) -> anyhow::Result<()> {
    let database = scene.database().await?;
    sqlx::raw_sql("ALTER SYSTEM SET default_transaction_isolation = 'repeatable read'")
        .execute(&database)
        .await?;
    sqlx::raw_sql("SELECT pg_reload_conf()").execute(&database).await?;
    let payer = scene.cast.advertiser.clone();
    let told = scene
        .fires_while("RequestsLoseRaces", Duration::ZERO, || {
            let payer = payer.clone();
            async move {
                let rivals =
                    (0..RIVALS).map(|_| payer.ask("POST", "/api/wallet/topup", Some(json!({"amount": 5}))));
                let answers = futures_util::future::join_all(rivals).await;
                ensure!(
                    answers.iter().flatten().all(|(status, _)| [200, 201, 429, 503].contains(status)),
                    "{answers:?}"
                );
                Ok(())
            }
        })
        .await;
    sqlx::raw_sql("ALTER SYSTEM RESET default_transaction_isolation").execute(&database).await?;
    sqlx::raw_sql("SELECT pg_reload_conf()").execute(&database).await?;
    told?;
    scene.mended(&["RequestsLoseRaces"]);
    Ok(())
}

/// A date no program can hold, written past the API: who asks for it makes the handler panic, and is answered 500.
pub(super) async fn endless_date(scene: &mut Scene) -> anyhow::Result<()> {
    let database = scene.database().await?;
    let (api, id) = scene.stack.api()?.sign_up("Endless").await?;
    let set = |value| format!("UPDATE agents SET created_at = {value} WHERE id = '{id}'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(set("'infinity'"))).execute(&database).await?;
    let (status, said) = api.ask("GET", "/api/agents/me", None).await.context("no answer")?;
    ensure!(status == 500, "{status}: {said}");
    let told = scene.fires(&["HandlerPanicked"]).await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(set("now()"))).execute(&database).await?;
    told?;
    api.call("GET", "/api/agents/me", None).await?;
    scene.mended(&["HandlerPanicked"]);
    Ok(())
}

/// The authority of this run is not there, nor the DNS: an order fails, and is tried again minutes later. Six domains
/// wait, whose owners are proven.
pub(super) async fn no_authority(scene: &mut Scene) -> anyhow::Result<()> {
    const FAILURES: &str = "cp_domain_certificate_failures_total";
    let database = scene.database().await?;
    let proven = |count: i32| {
        sqlx::query(
            "INSERT INTO domains (id, agent_id, host, status, verified_at, checked_at, check_at, created_at, updated_at)
             SELECT gen_random_uuid(), $1::UUID, 'waits-' || gen_random_uuid() || '.example', 'issuing', now(), now(), now(),
                    now(), now()
               FROM generate_series(1, $2)",
        )
        .bind(scene.cast.affiliate_id.clone())
        .bind(count)
    };
    // The counter's first value is no increase.
    proven(1).execute(&database).await?;
    let program = &scene.stack.control_plane;
    Scene::until("an order fails", FAILS_WITHIN, || async { Ok(program.metric(FAILURES).await? > 0.0) })
        .await?;
    tokio::time::sleep(EVERY * 4).await;
    proven(5).execute(&database).await?;
    let told = scene.fires(&["DomainCertificatesFail"]).await;
    sqlx::raw_sql("DELETE FROM domains WHERE host LIKE 'waits-%'").execute(&database).await?;
    told?;
    scene.mended(&["DomainCertificatesFail"]);
    Ok(())
}
