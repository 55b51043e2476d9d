//! Faults of the control plane: its processes, its connections, its callers.

use super::streams;
use crate::api::Cast;
use crate::faults::scene::Scene;
use crate::stack::ground::free_ports;
use crate::stack::servers::{Postgres, Redis};
use anyhow::{Context, ensure};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(in crate::faults) async fn killed(scene: &mut Scene) -> anyhow::Result<()> {
    for _ in 0..scene.pace.strokes {
        scene.breath().await;
        scene.stack.control_plane.kill()?;
        scene.stack.control_plane.start()?;
        scene.stack.control_plane.ready().await?;
    }
    Ok(())
}

pub(in crate::faults) async fn two_drainers(scene: &mut Scene) -> anyhow::Result<()> {
    let mut second = scene.stack.second_drainer()?;
    second.start()?;
    second.ready().await?;
    scene.outage().await;
    second.stop()
}

/// Longest time the clicks that a dead drainer held may wait for another.
const TAKEN_OVER_FOR: Duration = Duration::from_mins(1);

/// A drainer stops, holds its streams while clicks pile up, and dies; another takes over.
pub(in crate::faults) async fn holder_killed(scene: &mut Scene) -> anyhow::Result<()> {
    let mut second = scene.stack.second_drainer()?;
    second.start()?;
    second.ready().await?;
    scene.stack.control_plane.signal(libc::SIGSTOP)?;
    second.signal(libc::SIGSTOP)?;
    scene.outage().await;
    let held = waiting_frames(scene).await?;
    scene.stack.control_plane.kill()?;
    second.signal(libc::SIGCONT)?;
    let taken = Scene::until("another drainer takes over", TAKEN_OVER_FOR, || async {
        Ok(waiting_frames(scene).await? < FEW)
    })
    .await?;
    scene.note(format!("{held} frames held, taken over in {:.1} s", taken.as_secs_f64()));
    scene.stack.control_plane.start()?;
    scene.stack.control_plane.ready().await?;
    second.stop()
}

/// Frames that wait while everything runs as it should.
const FEW: u64 = 40;

async fn waiting_frames(scene: &Scene) -> anyhow::Result<u64> {
    let mut redis = scene.stack.redis.connect().await?;
    let mut frames = 0;
    for stream in streams() {
        frames += redis::cmd("XLEN").arg(&stream).query_async::<u64>(&mut redis).await?;
    }
    Ok(frames)
}

/// Longest p99 of a top-up while reads hang.
const MONEY_P99_MAX: Duration = Duration::from_millis(500);
const MONEY_REQUESTS: u32 = 100;

/// More reads hang than the read pool has connections, behind a lock that somebody holds.
pub(in crate::faults) async fn reads_hang(scene: &mut Scene) -> anyhow::Result<()> {
    let database = scene.stack.database().await?;
    let mut lock = database.begin().await?;
    sqlx::raw_sql("LOCK TABLE link_hours IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await?;
    let path = format!("/api/partnerships/{}/links", scene.cast.partnership);
    let hanging: Vec<_> = (0..40)
        .map(|_| {
            let (client, path) = (scene.cast.affiliate.clone(), path.clone());
            tokio::spawn(async move { client.ask("GET", &path, None).await.map(|(status, _)| status) })
        })
        .collect();
    scene.breath().await;
    let mut times = Vec::new();
    for _ in 0..MONEY_REQUESTS {
        let started = Instant::now();
        let topup = scene.cast.advertiser.ask("POST", "/api/wallet/topup", Some(json!({"amount": 5}))).await;
        ensure!(topup.as_ref().is_some_and(|(status, _)| *status == 201), "a top-up failed: {topup:?}");
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
    lock.rollback().await?;
    let mut answers = Vec::new();
    for hung in hanging {
        answers.push(hung.await?);
    }
    let refused = answers.iter().filter(|status| **status == Some(503)).count();
    ensure!(
        answers.iter().all(|status| matches!(status, Some(200 | 503))),
        "a read hung or failed otherwise: {answers:?}"
    );
    scene.note(format!("top-ups p99 {} ms; of 40 reads {refused} got 503", p99.as_millis()));
    ensure!(scene.pace.quick || p99 <= MONEY_P99_MAX, "top-ups p99 {p99:?}");
    Ok(())
}

/// Requests for money whose client hangs up.
const HANG_UPS: u32 = 500;
const HANG_UPS_QUICK: u32 = 100;

/// Clients hang up 1 to 50 ms into a top-up, then send it again, whole, under the same key.
pub(in crate::faults) async fn hang_ups(scene: &mut Scene) -> anyhow::Result<()> {
    let count = if scene.pace.quick { HANG_UPS_QUICK } else { HANG_UPS };
    let body = json!({"amount": 5});
    let (client, api) = (scene.cast.advertiser.clone(), scene.stack.api_addr());
    let mut answered = 0;
    for nth in 0..count {
        let request = client.raw_post("/api/wallet/topup", &format!("hang-up-{nth}"), &body);
        let mut stream = TcpStream::connect(api).await?;
        stream.write_all(request.as_bytes()).await?;
        let patience = Duration::from_millis(u64::from(1 + nth * 7 % 50));
        let mut first = [0; 1];
        answered += u32::from(tokio::time::timeout(patience, stream.read(&mut first)).await.is_ok());
    }
    let after_first = balance(scene).await?;
    for nth in 0..count {
        let request = client.raw_post("/api/wallet/topup", &format!("hang-up-{nth}"), &body);
        let mut stream = TcpStream::connect(api).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await?;
        ensure!(reply.starts_with("HTTP/1.1 201"), "the repeated request failed: {reply}");
    }
    let after_all = balance(scene).await?;
    ensure!(after_all == 5 * i64::from(count), "{count} top-ups of $5, each sent twice, make {after_all}");
    scene.note(format!(
        "{answered} of {count} answered before the hang-up, ${after_first} then, ${after_all} when all were repeated"
    ));
    let database = scene.stack.database().await?;
    Scene::until("no connection is left in a transaction", Duration::from_secs(10), || async {
        let stuck: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
              WHERE application_name = 'control-plane api' AND state LIKE 'idle in transaction%'",
        )
        .fetch_one(&database)
        .await?;
        Ok(stuck == 0)
    })
    .await
    .map(drop)
}

/// Whole dollars in the advertiser's wallet.
async fn balance(scene: &Scene) -> anyhow::Result<i64> {
    let wallet = scene.cast.advertiser.call("GET", "/api/wallet", None).await?;
    wallet["balance"].as_i64().context("a wallet has a balance")
}

/// Slowest request while tables change.
const MIGRATING_MAX: Duration = Duration::from_secs(2);

/// Tables get columns this build does not know, one by one, while everything uses them.
pub(in crate::faults) async fn migration(scene: &mut Scene) -> anyhow::Result<()> {
    let database = scene.stack.database().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let using = tokio::spawn(use_api(scene.cast.clone(), Arc::clone(&stop)));
    let tables = [
        "agents",
        "programs",
        "partnerships",
        "links",
        "clicks",
        "spools",
        "click_deltas",
        "link_hours",
        "usage_months",
    ];
    let mut waits = 0;
    for table in tables {
        let sql = format!(
            "SET lock_timeout = '2s'; ALTER TABLE {table} ADD COLUMN of_a_later_version INTEGER DEFAULT 0"
        );
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Err(error) = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.clone())).execute(&database).await {
            waits += 1;
            ensure!(Instant::now() < deadline, "{table} could not be changed: {error}");
            scene.breath().await;
        }
        scene.breath().await;
    }
    // What a second start of a deployment does while the first serves.
    let (code, said) = scene.stack.control_plane.outcome(&["migrate"])?;
    ensure!(code == Some(0), "migrate failed beside a running system: {said}");
    stop.store(true, Ordering::Relaxed);
    let (requests, slowest) = using.await.context("the caller panicked")??;
    scene.note(format!(
        "{} tables, {waits} lock waits; {requests} requests, slowest {} ms",
        tables.len(),
        slowest.as_millis()
    ));
    ensure!(scene.pace.quick || slowest <= MIGRATING_MAX, "a request took {slowest:?}");
    Ok(())
}

/// Calls that write and read, until stopped; none may fail.
async fn use_api(cast: Cast, stop: Arc<AtomicBool>) -> anyhow::Result<(u32, Duration)> {
    let (mut requests, mut slowest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let sale = json!({"tracking_token": cast.token, "event_type": "sale", "revenue_amount": 1, "external_id": format!("migration-{requests}")});
        let calls = [
            (&cast.advertiser, "POST", "/api/wallet/topup", Some(json!({"amount": 5}))),
            (&cast.advertiser, "POST", "/api/conversions/track", Some(sale)),
            (&cast.affiliate, "GET", "/api/usage", None),
        ];
        for (client, method, path, body) in calls {
            let started = Instant::now();
            let (status, body) = client.ask(method, path, body).await.context("a request got no answer")?;
            ensure!((200..300).contains(&status), "a request failed with {status}: {body}");
            slowest = slowest.max(started.elapsed());
            requests += 1;
        }
    }
    Ok((requests, slowest))
}

/// A program that must not start says so within this time.
const REFUSED_FOR: Duration = Duration::from_secs(30);
/// How programs end that cannot start with their settings.
const EXIT_CONFIG: i32 = 64;

/// Servers that may lose what they acknowledged: nothing of ours starts on them.
pub(in crate::faults) async fn dangerous_settings(scene: &mut Scene) -> anyhow::Result<()> {
    let ground = Arc::clone(&scene.stack.ground);
    for setting in ["fsync=off", "full_page_writes=off"] {
        let [port] = free_ports()?;
        let data = scene.stack.folder.join(setting);
        let mut postgres = Postgres::new(&ground.lab, &data, port, &[setting.to_owned()]);
        postgres.copy(&ground.template)?;
        postgres.start()?;
        postgres.ready().await?;
        let mut drainer = scene.stack.second_drainer()?;
        drainer.set_env("AOS_DATABASE_URL", &postgres.url());
        drainer.start()?;
        let code = drainer.ended_within(REFUSED_FOR).await?;
        ensure!(code == Some(EXIT_CONFIG), "the control plane started with {setting} ({code:?})");
    }
    let policy = ["--maxmemory-policy".to_owned(), "allkeys-lru".to_owned()];
    let mut redis = Redis::new(&ground.lab, &scene.stack.folder, &policy)?;
    redis.start()?;
    redis.ready().await?;
    let (mut edge, _, _) = scene.stack.another_edge(None)?;
    edge.set_env("AOS_REDIS_URL", &format!("redis://127.0.0.1:{}/", redis.port()));
    edge.start()?;
    let code = edge.ended_within(REFUSED_FOR).await?;
    ensure!(code == Some(EXIT_CONFIG), "the edge started on a Redis that evicts ({code:?})");
    scene.note("fsync=off, full_page_writes=off, allkeys-lru: refused with 64");
    Ok(())
}
