//! Frames that should not be there: copies, nonsense, other versions.

use super::streams;
use crate::faults::scene::Scene;
use redis::{AsyncCommands, Value};
use std::time::Duration;

/// A stream entry: its id and its fields.
type Entry = (String, Vec<(String, Vec<u8>)>);

/// Frames of a stream that are added again at a time: more would grow the stream without bound.
const REPLAYED: usize = 20;

/// The newest frames are added again and again, twice each, the later ones first.
pub(in crate::faults) async fn replayed(scene: &mut Scene) -> anyhow::Result<()> {
    let mut redis = scene.stack.redis.connect().await?;
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
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

pub(in crate::faults) async fn poison(scene: &mut Scene) -> anyhow::Result<()> {
    let mut redis = scene.stack.redis.connect().await?;
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
        scene.breath().await;
    }
    Ok(())
}

/// Left where it is, and nothing else waits for it.
pub(in crate::faults) async fn unknown_version(scene: &mut Scene) -> anyhow::Result<()> {
    let mut redis = scene.stack.redis.connect().await?;
    for (nth, stream) in streams().enumerate() {
        let mut bytes = b"AOSF\xff".to_vec();
        // Equal bytes would be copies of one frame, of which one is enough.
        bytes.extend([nth as u8; 200]);
        redis::cmd("XADD").arg(&stream).arg("*").arg("f").arg(bytes).query_async::<()>(&mut redis).await?;
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    for stream in streams() {
        let entries: Vec<Value> = redis.xrange_count(&stream, "-", "+", 1).await?;
        anyhow::ensure!(!entries.is_empty(), "a frame of an unknown version was dropped from {stream}");
    }
    Ok(())
}
