//! Faults of Postgres.

use crate::api::text;
use crate::faults::scene::Scene;
use crate::proxy::Proxy;
use crate::stack::ground::free_ports;
use crate::stack::servers::Postgres;
use anyhow::{Context, ensure};
use serde_json::json;
use sqlx::PgPool;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub(in crate::faults) async fn killed(scene: &mut Scene) -> anyhow::Result<()> {
    scene.stack.postgres.kill()?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.stack.postgres.start()?;
    scene.stack.control_plane.ready().await
}

pub(in crate::faults) async fn backend_killed(scene: &mut Scene) -> anyhow::Result<()> {
    for _ in 0..scene.pace.strokes {
        scene.breath().await;
        scene.stack.kill_a_backend().await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    scene.stack.control_plane.ready().await
}

/// Not ready within this time once Postgres says nothing.
const NOT_READY_FOR: Duration = Duration::from_secs(3);
/// A request is answered within this time, whatever Postgres does; the programs' own pauses come on top.
const ANSWERED_FOR: Duration = Duration::from_secs(5);
/// Between a condition and its being seen.
const LEEWAY: Duration = Duration::from_secs(1);

/// What the control plane owes its callers while Postgres says nothing.
async fn while_silent(scene: &mut Scene) -> anyhow::Result<()> {
    let admin = scene.stack.control_plane.admin();
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
    let ready = format!("http://{admin}/ready");
    let client = scene.cast.advertiser.clone();
    let asked = tokio::spawn(async move {
        let started = Instant::now();
        let answer = client.ask("POST", "/api/wallet/topup", Some(json!({"amount": 5}))).await;
        (answer.map(|(status, _)| status), started.elapsed())
    });
    let unready = Scene::until("not ready", NOT_READY_FOR + LEEWAY, || async {
        Ok(http.get(&ready).send().await?.status().as_u16() == 503)
    })
    .await?;
    let (answer, took) = asked.await.context("the caller panicked")?;
    scene.note(format!(
        "not ready after {:.1} s; a request was answered {} after {:.1} s",
        unready.as_secs_f64(),
        answer.map_or_else(|| "not at all".to_owned(), |status| status.to_string()),
        took.as_secs_f64()
    ));
    ensure!(answer == Some(503), "a request was answered {answer:?} while Postgres was silent");
    ensure!(took <= ANSWERED_FOR + LEEWAY, "a request hung for {took:?}");
    scene.outage().await;
    Ok(())
}

pub(in crate::faults) async fn stopped(scene: &mut Scene) -> anyhow::Result<()> {
    scene.stack.postgres.signal(libc::SIGSTOP)?;
    let silent = while_silent(scene).await;
    scene.stack.postgres.signal(libc::SIGCONT)?;
    silent?;
    scene.stack.control_plane.ready().await
}

/// The line to Postgres carries nothing any more.
pub(in crate::faults) async fn partitioned(scene: &mut Scene) -> anyhow::Result<()> {
    let proxy = scene.stack.proxies.as_ref().context("the stack has no proxies")?.control_postgres.clone();
    proxy.silent(true);
    let silent = while_silent(scene).await;
    proxy.silent(false);
    proxy.cut();
    silent?;
    scene.stack.control_plane.ready().await
}

/// How soon the drain goes on once there is room.
const RESUMED_FOR: Duration = Duration::from_secs(10);

/// The disk of the tables is full: writes are refused, reads go on.
pub(in crate::faults) async fn disk_full(scene: &mut Scene) -> anyhow::Result<()> {
    scene.disk()?.fill()?;
    let database = scene.stack.database().await?;
    let refused = Scene::until("a write is refused", FULL_WITHIN, || {
        let client = scene.cast.advertiser.clone();
        async move {
            let topup = client.ask("POST", "/api/wallet/topup", Some(json!({"amount": 5}))).await;
            let (status, body) = topup.context("a top-up got no answer")?;
            ensure!(matches!(status, 201 | 503), "a top-up was answered {status}: {body}");
            Ok(status == 503)
        }
    })
    .await;
    scene.outage().await;
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM clicks").fetch_one(&database).await?;
    let usage = scene.cast.advertiser.ask("GET", "/api/usage", None).await;
    scene.disk()?.empty()?;
    let resumed = Scene::until("the drain goes on", RESUMED_FOR, || async {
        let now: i64 = sqlx::query_scalar("SELECT count(*) FROM clicks").fetch_one(&database).await?;
        Ok(now > stored)
    })
    .await?;
    let refused = refused?;
    ensure!(usage.as_ref().is_some_and(|(status, _)| *status == 200), "a read failed: {usage:?}");
    scene.note(format!(
        "writes got 503 after {:.1} s, reads 200; drained again after {:.1} s",
        refused.as_secs_f64(),
        resumed.as_secs_f64()
    ));
    Ok(())
}

/// Tables have a page or two of room left when the disk is full.
const FULL_WITHIN: Duration = Duration::from_mins(1);

/// The primary dies; a standby that has not heard the last of it takes its place, under the same name.
pub(in crate::faults) async fn failed_over(scene: &mut Scene) -> anyhow::Result<()> {
    let proxies = scene.stack.proxies.as_ref().context("the stack has no proxies")?;
    let (to_primary, line) =
        (proxies.control_postgres.clone(), Proxy::start(local(scene.stack.postgres.port())).await?);
    let data = scene.stack.folder.join("standby/data");
    std::fs::create_dir_all(scene.stack.folder.join("standby"))?;
    scene.stack.postgres.back_up(&data, &["-X", "stream"])?;
    std::fs::write(data.join("standby.signal"), "").context("cannot make it a standby")?;
    let [port] = free_ports()?;
    let source = format!("primary_conninfo=host=127.0.0.1 port={} user=aos", line.addr.port());
    let mut standby = Postgres::new(&scene.stack.ground.lab, &data, port, &[source]);
    standby.start()?;
    standby.ready().await?;
    let heard = PgPool::connect(&standby.url()).await.context("cannot reach the standby")?;
    Scene::until("the standby follows", Duration::from_secs(20), || async {
        Ok(sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')")
            .fetch_one(&heard)
            .await?)
    })
    .await?;
    scene.breath().await;
    line.silent(true);
    scene.outage().await;
    let primary = scene.stack.database().await?;
    let count = "SELECT count(*) FROM clicks";
    let on_primary: i64 = sqlx::query_scalar(count).fetch_one(&primary).await?;
    let on_standby: i64 = sqlx::query_scalar(count).fetch_one(&heard).await?;
    ensure!(on_standby < on_primary, "the standby does not lag");
    scene.stack.postgres.kill()?;
    line.cut();
    sqlx::raw_sql("SELECT pg_promote()").execute(&heard).await?;
    to_primary.lead_to(local(port));
    scene.stack.postgres = standby;
    scene.stack.control_plane.ready().await?;
    scene.note(format!("the standby lacked {} clicks of {on_primary}", on_primary - on_standby));
    Ok(())
}

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

/// A payout is made, and the database is restored to a backup from before it.
pub(in crate::faults) async fn restored(scene: &mut Scene) -> anyhow::Result<()> {
    let (advertiser, affiliate) = (scene.cast.advertiser.clone(), scene.cast.affiliate.clone());
    advertiser.call("POST", "/api/wallet/topup", Some(json!({"amount": 50}))).await?;
    let sale = json!({"tracking_token": scene.cast.token, "event_type": "sale", "revenue_amount": 99, "external_id": "restored"});
    let conversion = text(&advertiser.call("POST", "/api/conversions/track", Some(sale)).await?, "id")?;
    let approve = Some(json!({"status": "approved"}));
    advertiser.call("PATCH", &format!("/api/conversions/{conversion}"), approve).await?;
    let data = scene.stack.back_up()?;
    let pay = || Some(json!({"program_id": scene.cast.program}));
    advertiser.call("POST", "/api/payouts/process", pay()).await?;
    scene.outage().await;
    scene.stack.postgres.kill()?;
    scene.stack.restore(&data).await?;
    let again = advertiser.ask("POST", "/api/payouts/process", pay()).await;
    ensure!(
        again.as_ref().is_some_and(|(status, body)| *status == 503 && body["error"] == "payouts_frozen"),
        "the restored database was not frozen: {again:?}"
    );
    let wallet = affiliate.call("GET", "/api/wallet", None).await?;
    ensure!(wallet["balance"].as_i64() == Some(0), "the payout was made again: {wallet}");
    let (code, said) = scene.stack.control_plane.outcome(&["payouts", "status", "--log", "error"])?;
    ensure!(code == Some(1) && said.contains("FROZEN"), "`payouts status` ended with {code:?}: {said}");
    let (code, said) = scene.stack.control_plane.outcome(&["payouts", "thaw", "--log", "error"])?;
    ensure!(code == Some(0), "`payouts thaw` failed: {said}");
    advertiser.call("POST", "/api/payouts/process", pay()).await?;
    scene.note("payouts refused until thawed, 0 sent again");
    Ok(())
}
