//! What Redis knows of clicks that are not in Postgres yet.

use crate::redis::{Conn, Target};
use redis::aio::ConnectionLike;
use redis::{RedisResult, Value};
use shared::frame;
use shared::keys::{Keys, SpoolReport};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Entries read at once.
const PAGE: usize = 200;

/// What edges said, and how far the frames in the streams reach.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By spool.
    pub(super) reports: BTreeMap<Uuid, SpoolReport>,
    /// By spool: the sequence after the last one in a stream.
    pub(super) reach: BTreeMap<Uuid, u64>,
}

pub(super) async fn look(target: &Target, keys: &Keys, shards: u16) -> RedisResult<Seen> {
    let mut conn = target.connect().await?;
    let mut seen = Seen { reports: read_reports(&mut conn, keys, shards).await?, ..Seen::default() };
    for shard in 0..shards {
        walk(&mut conn, &keys.clicks(shard), &mut seen.reach).await?;
    }
    Ok(seen)
}

/// Reads every edge's word on every spool; what is no report is nobody's word.
pub(super) async fn read_reports(
    conn: &mut impl ConnectionLike,
    keys: &Keys,
    shards: u16,
) -> RedisResult<BTreeMap<Uuid, SpoolReport>> {
    let report = |(spool, report): (String, String)| {
        Some((Uuid::try_parse(&spool).ok()?, SpoolReport::parse(&report)?))
    };
    let mut reports = BTreeMap::new();
    for shard in 0..shards {
        let found: BTreeMap<String, String> =
            redis::cmd("HGETALL").arg(keys.reports(shard)).query_async(conn).await?;
        reports.extend(found.into_iter().filter_map(report));
    }
    Ok(reports)
}

/// Goes through a stream. A frame of a later format cannot be read, but its clicks are the edge's to report.
async fn walk(conn: &mut Conn, stream: &str, reach: &mut BTreeMap<Uuid, u64>) -> RedisResult<()> {
    let mut from = "-".to_owned();
    loop {
        let reply: Vec<(String, Vec<Value>)> = redis::cmd("XRANGE")
            .arg(stream)
            .arg(&from)
            .arg("+")
            .arg("COUNT")
            .arg(PAGE)
            .query_async(conn)
            .await?;
        for (_, fields) in &reply {
            let frames = fields.iter().filter_map(|field| match field {
                Value::BulkString(bytes) => frame::peek(bytes).filter(|peek| peek.intact),
                _ => None,
            });
            for peek in frames {
                let end = peek.header.first_seq + u64::from(peek.clicks);
                let furthest = reach.entry(peek.header.spool).or_default();
                *furthest = end.max(*furthest);
            }
        }
        match reply.last() {
            Some((last, _)) => from = format!("({last}"),
            None => return Ok(()),
        }
    }
}
