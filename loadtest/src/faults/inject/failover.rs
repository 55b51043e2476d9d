//! Failovers of Redis: to a replica that lags, and within a cluster.

use crate::faults::scene::Scene;
use crate::proxy::Proxy;
use crate::stack::servers::Redis;
use anyhow::{Context, ensure};
use serde_json::json;
use shared::keys::Keys;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A replica has copied its master within this time.
const COPIED_FOR: Duration = Duration::from_secs(20);
/// A change of a link is on the edge within this time.
const CHANGED_FOR: Duration = Duration::from_secs(5);

/// The line to the replica carries nothing for a while; then the primary dies, and the replica takes its place.
pub(in crate::faults) async fn to_a_replica_that_lags(scene: &mut Scene) -> anyhow::Result<()> {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    for stroke in 0..scene.pace.strokes.min(3) {
        let line = Proxy::start(local(scene.stack.redis.port())).await?;
        let folder = scene.stack.folder.join(format!("replica-{stroke}"));
        let (port, home) = (line.addr.port().to_string(), folder.display().to_string());
        let arguments = ["--replicaof", "127.0.0.1", &port, "--dir", &home].map(str::to_owned);
        std::fs::create_dir_all(&folder).context("cannot make the replica's folder")?;
        scene.stack.ground.lab.give(&folder)?;
        let mut primary = scene.stack.redis.connect().await?;
        // By default it waits for further replicas.
        let sync_delay = ["SET", "repl-diskless-sync-delay", "0"];
        redis::cmd("CONFIG").arg(&sync_delay).query_async::<()>(&mut primary).await?;
        let mut replica = Redis::new(&scene.stack.ground.lab, &folder, &arguments)?;
        replica.start()?;
        replica.ready().await?;
        let mut conn = replica.connect().await?;
        Scene::until("the replica has a copy", COPIED_FOR, || {
            let mut conn = conn.clone();
            async move {
                let info: String = redis::cmd("INFO").arg("replication").query_async(&mut conn).await?;
                Ok(info.contains("master_link_status:up"))
            }
        })
        .await?;
        scene.breath().await;
        line.silent(true);
        scene.breath().await;
        let behind = offset(&mut primary).await? - offset(&mut conn).await?;
        scene.stack.redis.kill()?;
        line.cut();
        redis::cmd("REPLICAOF").arg("NO").arg("ONE").query_async::<()>(&mut conn).await?;
        let proxies = scene.stack.proxies.as_ref().context("the stack has no proxies")?;
        proxies.edge_redis.lead_to(local(replica.port()));
        proxies.control_redis.lead_to(local(replica.port()));
        scene.stack.redis = replica;
        scene.note(format!("{behind} bytes behind"));
        ensure!(behind > 0, "the replica did not lag");
        scene.breath().await;
    }
    Ok(())
}

/// How far a server's book of writes has come.
async fn offset(conn: &mut redis::aio::MultiplexedConnection) -> anyhow::Result<i64> {
    let info: String = redis::cmd("INFO").arg("replication").query_async(conn).await?;
    let offset = info.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
    offset.context("no offset")?.trim().parse().context("an offset is a number")
}

/// Masters of a cluster die, one that has click streams and one that has the link changes; their replicas take
/// over; they come back as replicas. Links go on changing.
pub(in crate::faults) async fn in_a_cluster(scene: &mut Scene) -> anyhow::Result<()> {
    let keys = Keys::new("");
    for key in [keys.clicks(0), keys.changes()] {
        scene.breath().await;
        let cluster = scene.stack.cluster.as_mut().context("the stack has no cluster")?;
        let dead = cluster.kill_master_of(&key).await?;
        let took = cluster.failed_over(&key, dead).await?;
        cluster.start_again(dead).await?;
        scene.note(format!("failed over after {:.1} s", took.as_secs_f64()));
        scene.breath().await;
    }
    let link = scene
        .cast
        .affiliate
        .call(
            "POST",
            &format!("/api/partnerships/{}/links", scene.cast.partnership),
            Some(json!({"destination_url": scene.cast.destination})),
        )
        .await?;
    let path = format!("/api/track/{}", crate::api::text(&link, "token")?);
    let started = Instant::now();
    scene.stack.wait_for_link(&crate::clicker::Target { path, ..scene.target.clone() }).await?;
    let took = started.elapsed();
    ensure!(took < CHANGED_FOR, "a new link reached the edge after {took:?}");
    scene.note(format!("a new link reached the edge after {} ms", took.as_millis()));
    Ok(())
}
