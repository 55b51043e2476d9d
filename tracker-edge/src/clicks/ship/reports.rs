//! Telling the control plane what this edge has of every spool: the first line of the conservation sum.
//!
//! A report is a field of a hash beside the spool's stream, said again every [`REPORT_EVERY`] for as long as
//! anything of the spool is kept here, and once more when shipping ends. So an emptied Redis has it again at once,
//! and an edge that is gone is known by its silence. The control plane removes what is finished.

use super::Shared;
use redis::RedisResult;
use shared::keys::SpoolReport;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How often. The control plane takes ten minutes without a word for an edge that is gone.
pub(super) const REPORT_EVERY: Duration = Duration::from_secs(2);
/// Fields in one command at most.
const FIELDS_MAX: usize = 256;

/// Reports for as long as it is let.
pub(super) async fn keep_telling(shared: Arc<Shared>) {
    loop {
        // What could not be told now is told again.
        tell(&shared).await.ok();
        tokio::time::sleep(REPORT_EVERY).await;
    }
}

/// Reports every spool once. Each shard may live on another server: one that hangs holds up no other.
pub(super) async fn tell(shared: &Arc<Shared>) -> RedisResult<()> {
    let mut by_shard: BTreeMap<u16, Vec<(String, String)>> = BTreeMap::new();
    let at_ms = shared.clock.now_ms();
    for seen in shared.set.report() {
        // One that never had a click is known to nobody.
        if seen.accepted == 0 {
            continue;
        }
        let report = SpoolReport {
            accepted: seen.accepted,
            declared_loss: seen.declared_loss,
            live: seen.live,
            shipped: seen.shipped_seq,
            next_seq: seen.watermark.map_or(0, |mark| mark.next_seq),
            kept_from: seen.first_kept_seq,
            at_ms,
        };
        let shard = shared::keys::shard_of(seen.spool, shared.shards);
        by_shard.entry(shard).or_default().push((seen.spool.simple().to_string(), report.to_string()));
    }
    let mut telling = JoinSet::new();
    for (shard, fields) in by_shard {
        for fields in fields.chunks(FIELDS_MAX) {
            telling.spawn(tell_shard(Arc::clone(shared), shard, fields.to_vec()));
        }
    }
    let mut outcome = Ok(());
    while let Some(told) = telling.join_next().await {
        outcome = outcome.and(told.unwrap_or(Ok(())));
    }
    outcome
}

async fn tell_shard(shared: Arc<Shared>, shard: u16, fields: Vec<(String, String)>) -> RedisResult<()> {
    let mut conn = shared.redis.conn().await?;
    let mut set = redis::cmd("HSET");
    set.arg(shared.keys.reports(shard)).arg(fields);
    let told = set.query_async(&mut conn).await;
    if let Err(error) = &told {
        shared.redis.failed(&conn, error).await;
    }
    told
}
