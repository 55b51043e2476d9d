//! How each fault is caused and healed. A cause returns when its fault is over.

use crate::programs::Program;
use crate::stack::Stack;
use anyhow::Context;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, Value};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Between two strokes of one fault.
const BREATH: Duration = Duration::from_millis(700);
/// How long an outage lasts.
const OUTAGE: Duration = Duration::from_secs(8);
/// Streams of the run (`AOS_CLICK_SHARDS` of the stack).
const SHARDS: u16 = 4;

async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

pub(super) async fn edge_killed(stack: &mut Stack) -> anyhow::Result<()> {
    for _ in 0..5 {
        pause(BREATH).await;
        stack.edge.kill()?;
        stack.edge.start()?;
        stack.edge.ready().await?;
    }
    Ok(())
}

pub(super) async fn edge_drained(stack: &mut Stack) -> anyhow::Result<()> {
    for _ in 0..3 {
        pause(BREATH).await;
        stack.edge.stop()?;
        stack.edge.start()?;
        stack.edge.ready().await?;
    }
    Ok(())
}

/// Appends nothing and removes nothing: writes garbage after the last record of every segment, as a torn
/// page would leave it.
pub(super) async fn torn_spool(stack: &mut Stack) -> anyhow::Result<()> {
    pause(BREATH).await;
    stack.edge.kill()?;
    for path in files_below(&stack.spool)? {
        let bytes = std::fs::read(&path)?;
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let at = used.next_multiple_of(64);
        if at + 64 <= bytes.len() && used > 4096 {
            let mut file = std::fs::OpenOptions::new().write(true).open(&path)?;
            file.seek(SeekFrom::Start(at as u64))?;
            file.write_all(&[0xa5; 48])?;
        }
    }
    stack.edge.start()?;
    stack.edge.ready().await
}

fn files_below(folder: &PathBuf) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).context("cannot read the spool")? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

pub(super) async fn cold_start_alone(stack: &mut Stack) -> anyhow::Result<()> {
    // A snapshot is written when the edge stops.
    stack.edge.stop()?;
    stack.control_plane.kill()?;
    stack.kill_redis()?;
    stack.edge.start()?;
    pause(Duration::from_secs(3)).await;
    stack.start_redis()?;
    stack.control_plane.start()?;
    stack.control_plane.ready().await?;
    stack.edge.ready().await
}

pub(super) async fn redis_down(stack: &mut Stack) -> anyhow::Result<()> {
    stack.kill_redis()?;
    pause(OUTAGE).await;
    stack.start_redis()
}

pub(super) async fn redis_stopped(stack: &mut Stack) -> anyhow::Result<()> {
    stack.signal_redis(libc::SIGSTOP)?;
    pause(OUTAGE).await;
    stack.signal_redis(libc::SIGCONT)
}

pub(super) async fn redis_slow(stack: &mut Stack) -> anyhow::Result<()> {
    let proxies = stack.proxies.as_ref().context("the stack has no proxies")?;
    proxies.edge_redis.delay(Duration::from_millis(200));
    pause(OUTAGE).await;
    proxies.edge_redis.delay(Duration::ZERO);
    Ok(())
}

pub(super) async fn flushall(stack: &mut Stack) -> anyhow::Result<()> {
    for _ in 0..3 {
        pause(BREATH).await;
        let mut redis = stack.redis().await?;
        redis::cmd("FLUSHALL").query_async::<()>(&mut redis).await?;
    }
    Ok(())
}

pub(super) async fn redis_restarted(stack: &mut Stack) -> anyhow::Result<()> {
    for _ in 0..3 {
        pause(BREATH).await;
        stack.kill_redis()?;
        stack.start_redis()?;
    }
    Ok(())
}

async fn configure(redis: &mut MultiplexedConnection, name: &str, value: &str) -> anyhow::Result<()> {
    Ok(redis::cmd("CONFIG").arg("SET").arg(name).arg(value).query_async(redis).await?)
}

pub(super) async fn redis_full(stack: &mut Stack) -> anyhow::Result<()> {
    let mut redis = stack.redis().await?;
    configure(&mut redis, "maxmemory", "1mb").await?;
    pause(OUTAGE).await;
    configure(&mut redis, "maxmemory", "0").await
}

pub(super) async fn redis_readonly(stack: &mut Stack) -> anyhow::Result<()> {
    let mut redis = stack.redis().await?;
    // Port 1 never answers: a replica without a master that refuses writes.
    redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1).query_async::<()>(&mut redis).await?;
    pause(OUTAGE).await;
    Ok(redis::cmd("REPLICAOF").arg("NO").arg("ONE").query_async(&mut redis).await?)
}

pub(super) async fn reply_lost(stack: &mut Stack) -> anyhow::Result<()> {
    let proxies = stack.proxies.as_ref().context("the stack has no proxies")?;
    for _ in 0..5 {
        proxies.edge_redis.forget_replies(true);
        pause(BREATH).await;
        proxies.edge_redis.forget_replies(false);
        pause(BREATH).await;
    }
    Ok(())
}

pub(super) async fn stream_trimmed(stack: &mut Stack) -> anyhow::Result<()> {
    let mut redis = stack.redis().await?;
    for _ in 0..200 {
        for stream in streams() {
            redis::cmd("XTRIM").arg(&stream).arg("MAXLEN").arg(0).query_async::<()>(&mut redis).await?;
        }
        pause(Duration::from_millis(10)).await;
    }
    Ok(())
}

pub(super) async fn redis_silent(stack: &mut Stack) -> anyhow::Result<()> {
    let proxies = stack.proxies.as_ref().context("the stack has no proxies")?;
    for proxy in [&proxies.edge_redis, &proxies.control_redis] {
        proxy.silent(true);
    }
    pause(OUTAGE).await;
    for proxy in [&proxies.edge_redis, &proxies.control_redis] {
        proxy.silent(false);
        proxy.cut();
    }
    Ok(())
}

pub(super) async fn control_plane_killed(stack: &mut Stack) -> anyhow::Result<()> {
    for _ in 0..5 {
        pause(BREATH).await;
        stack.control_plane.kill()?;
        stack.control_plane.start()?;
        stack.control_plane.ready().await?;
    }
    Ok(())
}

pub(super) async fn two_drainers(stack: &mut Stack) -> anyhow::Result<()> {
    let mut second = stack.second_drainer()?;
    second.start()?;
    second.ready().await?;
    pause(OUTAGE).await;
    Program::stop(&mut second)
}

fn streams() -> impl Iterator<Item = String> {
    let keys = shared::keys::Keys::new("");
    (0..SHARDS).map(move |shard| keys.clicks(shard))
}

/// A stream entry: its id and its fields.
type Entry = (String, Vec<(String, Vec<u8>)>);

/// Frames of a stream that are added again at a time: more would grow the stream without bound.
const REPLAYED: usize = 20;

/// The newest frames are added again and again, twice each, the later ones first.
pub(super) async fn replayed_frames(stack: &mut Stack) -> anyhow::Result<()> {
    let mut redis = stack.redis().await?;
    for _ in 0..300 {
        for stream in streams() {
            let entries: Vec<Entry> = redis::cmd("XREVRANGE")
                .arg(&stream)
                .arg("+")
                .arg("-")
                .arg("COUNT")
                .arg(REPLAYED)
                .query_async(&mut redis)
                .await?;
            for frame in entries.iter().chain(&entries).flat_map(|(_, fields)| fields) {
                redis::cmd("XADD")
                    .arg(&stream)
                    .arg("*")
                    .arg("f")
                    .arg(&frame.1)
                    .query_async::<()>(&mut redis)
                    .await?;
            }
        }
        pause(Duration::from_millis(10)).await;
    }
    Ok(())
}

pub(super) async fn poison_frames(stack: &mut Stack) -> anyhow::Result<()> {
    let mut redis = stack.redis().await?;
    for round in 0u8..5 {
        for stream in streams() {
            let mut looks_right = b"AOSF\x01".to_vec();
            looks_right.extend(std::iter::repeat_n(round.wrapping_mul(37), 300));
            for bytes in [vec![round; 100], looks_right, Vec::new()] {
                redis::cmd("XADD")
                    .arg(&stream)
                    .arg("*")
                    .arg("f")
                    .arg(bytes)
                    .query_async::<()>(&mut redis)
                    .await?;
            }
            // An entry without the field at all.
            redis::cmd("XADD").arg(&stream).arg("*").arg("x").arg("y").query_async::<()>(&mut redis).await?;
        }
        pause(BREATH).await;
    }
    Ok(())
}

/// Left where it is, and nothing else waits for it.
pub(super) async fn unknown_version(stack: &mut Stack) -> anyhow::Result<()> {
    let mut redis = stack.redis().await?;
    for (nth, stream) in streams().enumerate() {
        let mut bytes = b"AOSF\xff".to_vec();
        // Equal bytes would be copies of one frame, of which one is enough.
        bytes.extend([nth as u8; 200]);
        redis::cmd("XADD").arg(&stream).arg("*").arg("f").arg(bytes).query_async::<()>(&mut redis).await?;
    }
    pause(Duration::from_secs(4)).await;
    for stream in streams() {
        let entries: Vec<Value> = redis.xrange_count(&stream, "-", "+", 1).await?;
        anyhow::ensure!(!entries.is_empty(), "a frame of an unknown version was dropped from {stream}");
    }
    Ok(())
}

pub(super) async fn postgres_killed(stack: &mut Stack) -> anyhow::Result<()> {
    stack.kill_postgres()?;
    pause(Duration::from_secs(2)).await;
    stack.start_postgres()?;
    stack.control_plane.ready().await
}

pub(super) async fn backend_killed(stack: &mut Stack) -> anyhow::Result<()> {
    for _ in 0..4 {
        pause(BREATH).await;
        stack.kill_a_backend().await?;
        pause(Duration::from_secs(1)).await;
    }
    stack.control_plane.ready().await
}

pub(super) async fn postgres_stopped(stack: &mut Stack) -> anyhow::Result<()> {
    stack.signal_postgres(libc::SIGSTOP)?;
    pause(OUTAGE).await;
    stack.signal_postgres(libc::SIGCONT)?;
    stack.control_plane.ready().await
}
