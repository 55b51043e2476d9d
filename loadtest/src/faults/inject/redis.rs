//! Faults of Redis and of the lines to it.

use super::streams;
use crate::faults::scene::Scene;
use anyhow::Context;
use redis::aio::MultiplexedConnection;
use std::time::Duration;

/// A full disk must be noticed within this time: the file is flushed every second.
const DISK_NOTICED_FOR: Duration = Duration::from_secs(20);

async fn configure(redis: &mut MultiplexedConnection, name: &str, value: &str) -> anyhow::Result<()> {
    Ok(redis::cmd("CONFIG").arg("SET").arg(name).arg(value).query_async(redis).await?)
}

pub(in crate::faults) async fn down(scene: &mut Scene) -> anyhow::Result<()> {
    scene.stack.redis.kill()?;
    scene.outage().await;
    scene.stack.redis.start()
}

pub(in crate::faults) async fn stopped(scene: &mut Scene) -> anyhow::Result<()> {
    scene.stack.redis.signal(libc::SIGSTOP)?;
    scene.outage().await;
    scene.stack.redis.signal(libc::SIGCONT)
}

pub(in crate::faults) async fn slow(scene: &mut Scene) -> anyhow::Result<()> {
    let proxies = scene.stack.proxies.as_ref().context("the stack has no proxies")?;
    proxies.edge_redis.delay(Duration::from_millis(200));
    scene.outage().await;
    proxies.edge_redis.delay(Duration::ZERO);
    Ok(())
}

pub(in crate::faults) async fn flushall(scene: &mut Scene) -> anyhow::Result<()> {
    for _ in 0..scene.pace.strokes {
        scene.breath().await;
        let mut redis = scene.stack.redis.connect().await?;
        redis::cmd("FLUSHALL").query_async::<()>(&mut redis).await?;
    }
    Ok(())
}

pub(in crate::faults) async fn restarted(scene: &mut Scene) -> anyhow::Result<()> {
    for _ in 0..scene.pace.strokes {
        scene.breath().await;
        scene.stack.redis.kill()?;
        scene.stack.redis.start()?;
    }
    Ok(())
}

pub(in crate::faults) async fn full(scene: &mut Scene) -> anyhow::Result<()> {
    let mut redis = scene.stack.redis.connect().await?;
    configure(&mut redis, "maxmemory", "1mb").await?;
    scene.outage().await;
    configure(&mut redis, "maxmemory", "0").await
}

pub(in crate::faults) async fn readonly(scene: &mut Scene) -> anyhow::Result<()> {
    let mut redis = scene.stack.redis.connect().await?;
    // Port 1 never answers: a replica without a master that refuses writes.
    redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1).query_async::<()>(&mut redis).await?;
    scene.outage().await;
    Ok(redis::cmd("REPLICAOF").arg("NO").arg("ONE").query_async(&mut redis).await?)
}

pub(in crate::faults) async fn reply_lost(scene: &mut Scene) -> anyhow::Result<()> {
    let proxies = scene.stack.proxies.as_ref().context("the stack has no proxies")?;
    for _ in 0..scene.pace.strokes {
        proxies.edge_redis.forget_replies(true);
        scene.breath().await;
        proxies.edge_redis.forget_replies(false);
        scene.breath().await;
    }
    Ok(())
}

pub(in crate::faults) async fn stream_trimmed(scene: &mut Scene) -> anyhow::Result<()> {
    let mut redis = scene.stack.redis.connect().await?;
    for _ in 0..200 {
        for stream in streams() {
            redis::cmd("XTRIM").arg(&stream).arg("MAXLEN").arg(0).query_async::<()>(&mut redis).await?;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

pub(in crate::faults) async fn silent(scene: &mut Scene) -> anyhow::Result<()> {
    let proxies = scene.stack.proxies.as_ref().context("the stack has no proxies")?;
    for proxy in [&proxies.edge_redis, &proxies.control_redis] {
        proxy.silent(true);
    }
    scene.outage().await;
    for proxy in [&proxies.edge_redis, &proxies.control_redis] {
        proxy.silent(false);
        proxy.cut();
    }
    Ok(())
}

/// The disk of the append-only file is full: with `everysec` Redis refuses writes, with `always` it ends.
pub(in crate::faults) async fn disk_full(scene: &mut Scene) -> anyhow::Result<()> {
    scene.disk()?.fill()?;
    let mut redis = scene.stack.redis.connect().await?;
    let refused = Scene::until("Redis refuses writes", DISK_NOTICED_FOR, || {
        let mut redis = redis.clone();
        async move {
            let set = redis::cmd("SET").arg("disk").arg("full").query_async::<()>(&mut redis).await;
            Ok(set.is_err_and(|error| error.to_string().contains("MISCONF")))
        }
    })
    .await?;
    scene.outage().await;
    scene.disk()?.empty()?;
    scene.note(format!("MISCONF after {:.1} s", refused.as_secs_f64()));
    // It takes writes again once its next flush went well.
    Scene::until("Redis takes writes again", DISK_NOTICED_FOR, || {
        let mut redis = redis.clone();
        async move { Ok(redis::cmd("SET").arg("disk").arg("free").query_async::<()>(&mut redis).await.is_ok()) }
    })
    .await?;
    configure(&mut redis, "appendfsync", "always").await?;
    scene.disk()?.fill()?;
    let started = std::time::Instant::now();
    while !scene.stack.redis.has_ended()? {
        anyhow::ensure!(started.elapsed() < DISK_NOTICED_FOR, "Redis goes on with `always` on a full disk");
        scene.breath().await;
    }
    scene.note("with appendfsync always it ended by itself");
    scene.disk()?.empty()?;
    scene.stack.redis.kill()?;
    scene.stack.redis.start()
}
