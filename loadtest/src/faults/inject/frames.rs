//! Frames that should not be there: copies, nonsense, other versions.

use super::streams;
use crate::faults::scene::Scene;
use crate::stack::{SECRET, SHARDS};
use anyhow::{Context, ensure};
use chrono::Datelike;
use redis::{AsyncCommands, Value};
use shared::click::{Click, ClickClass, FLAG_BILLABLE, note, push_note};
use shared::frame::{self, FrameHeader};
use shared::{Clock, Secret, SystemClock, TokenKey};
use std::time::{Duration, Instant};

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

/// Clicks of last month that come in now.
const LATE: u64 = 300;
const FOLDED_FOR: Duration = Duration::from_secs(20);

/// An edge that was away since last month ships what it has.
pub(in crate::faults) async fn late(scene: &mut Scene) -> anyhow::Result<()> {
    let database = scene.stack.database().await?;
    let advertiser: i32 = sqlx::query_scalar(
        "SELECT agents.number FROM programs JOIN agents ON agents.id = programs.advertiser_id WHERE programs.id = $1::UUID",
    )
    .bind(&scene.cast.program)
    .fetch_one(&database)
    .await?;
    let key = TokenKey::new(&Secret::parse(SECRET)?);
    let link = key.parse(scene.cast.token.as_bytes()).context("the token is not one of ours")?;
    let now = SystemClock.now();
    let at = now - chrono::TimeDelta::days(i64::from(now.day()) + 3);
    let notes: Vec<Vec<u8>> = (0..LATE)
        .map(|nth| {
            let mut notes = Vec::new();
            push_note(&mut notes, note::SUB1, &(5_000_000_000 + nth).to_string());
            notes
        })
        .collect();
    let clicks: Vec<Click<'_>> = notes
        .iter()
        .zip(1..)
        .map(|(notes, visitor)| Click {
            at_ms: at.timestamp_millis(),
            link,
            advertiser: advertiser.unsigned_abs(),
            visitor,
            class: ClickClass::Human,
            flags: FLAG_BILLABLE,
            country: [0; 2],
            notes,
        })
        .collect();
    let spool = shared::id::EventId::generate().uuid();
    let header = FrameHeader {
        spool,
        edge: 1,
        first_seq: 0,
        clock_ms: at.timestamp_millis(),
        lost_before: 0,
        last: true,
    };
    let mut bytes = Vec::new();
    frame::encode(&header, &clicks, &mut bytes);
    let stream = shared::keys::Keys::new("").clicks(shared::keys::shard_of(spool, SHARDS));
    let mut redis = scene.stack.redis.connect().await?;
    redis::cmd("XADD").arg(&stream).arg("*").arg("f").arg(bytes).query_async::<()>(&mut redis).await?;
    // Its own month while that is open; after it, or when it is too old to be dated, this one, and flagged.
    let month = at.date_naive().with_day(1);
    let months = "SELECT coalesce(sum(used) FILTER (WHERE month = $1), 0)::BIGINT,
                         (SELECT count(*) FROM clicks WHERE flags & 6 <> 0)
                    FROM usage_months
                   WHERE metric = 'clicks'";
    let mut counted = (0i64, 0i64);
    let deadline = Instant::now() + FOLDED_FOR;
    while counted.0 + counted.1 != LATE as i64 {
        ensure!(
            Instant::now() < deadline,
            "{} in their own month, {} flagged, of {LATE}",
            counted.0,
            counted.1
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
        counted = sqlx::query_as(months).bind(month).fetch_one(&database).await?;
    }
    scene.note(format!("{} counted in their own month, {} flagged in this one", counted.0, counted.1));
    Ok(())
}
