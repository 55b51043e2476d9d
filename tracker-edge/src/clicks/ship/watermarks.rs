//! Asking Redis what Postgres has, and whether this edge is alone with its id.

use super::Shared;
use crate::clicks::spool::state::Spool;
use redis::RedisResult;
use shared::keys::Watermark;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How often spools that wait for a commit are asked for.
pub(super) const POLL: Duration = Duration::from_millis(50);
/// How often all are: a database that went back is noticed this late.
pub(super) const POLL_ALL: Duration = Duration::from_secs(2);
/// How often the edge's id is claimed.
pub(super) const CLAIM: Duration = Duration::from_secs(10);
/// A claim ends by itself after this.
const CLAIM_FOR_SECS: u64 = 60;
/// Keys in one command at most.
pub(super) const KEYS_MAX: usize = 256;

/// Polls for as long as it is let.
pub(super) async fn poll(shared: Arc<Shared>) {
    let mut asked_all = None::<Instant>;
    let mut claimed = Claim::default();
    loop {
        let now = Instant::now();
        let all = asked_all.is_none_or(|at| now.duration_since(at) >= POLL_ALL);
        if all {
            asked_all = Some(now);
        }
        let reached = ask(&shared, all).await;
        if let Some(reached) = reached {
            shared.metrics().connected.set(f64::from(u8::from(reached)));
        }
        claimed.renew(&shared, now).await;
        tokio::time::sleep(POLL).await;
    }
}

/// Asks for the watermarks of all spools, or of those that wait; `None` when there was nothing to ask.
async fn ask(shared: &Arc<Shared>, all: bool) -> Option<bool> {
    let mut by_shard: BTreeMap<u16, Vec<Arc<Spool>>> = BTreeMap::new();
    for spool in shared.set.spools() {
        let progress = spool.progress();
        let committed = progress.watermark.map_or(0, |mark| mark.next_seq);
        if all || !progress.polled || is_due(committed, spool.accepted()) {
            by_shard.entry(shared.shard(&spool)).or_default().push(spool);
        }
    }
    // Each shard may live on another server: one that hangs must not hide the others.
    let mut asking = JoinSet::new();
    for (shard, spools) in by_shard {
        for spools in spools.chunks(KEYS_MAX) {
            asking.spawn(ask_shard(Arc::clone(shared), shard, spools.to_vec()));
        }
    }
    let mut reached = None;
    while let Some(answered) = asking.join_next().await {
        let answered = answered.is_ok_and(|answer| answer.is_ok());
        reached = Some(reached.unwrap_or(true) && answered);
    }
    reached
}

/// Whether a spool waits for a commit.
pub(super) const fn is_due(committed: u64, accepted: u64) -> bool {
    committed < accepted
}

async fn ask_shard(shared: Arc<Shared>, shard: u16, spools: Vec<Arc<Spool>>) -> RedisResult<()> {
    let mut conn = shared.redis.conn().await?;
    let mut mget = redis::cmd("MGET");
    for spool in &spools {
        mget.arg(shared.keys.watermark(shard, spool.id));
    }
    let values: Vec<Option<String>> = match mget.query_async(&mut conn).await {
        Ok(values) => values,
        Err(error) => {
            shared.redis.failed(&conn, &error).await;
            return Err(error);
        }
    };
    for (spool, value) in spools.iter().zip(values) {
        let heard = value.as_deref().and_then(Watermark::parse);
        spool.update(|progress| {
            progress.polled = true;
            progress.heard = heard.or(progress.heard);
        });
    }
    Ok(())
}

/// The claim on this edge's id: a cloned disk brings a second process with the same.
#[derive(Default)]
struct Claim {
    renewed_at: Option<Instant>,
    held: bool,
}

impl Claim {
    async fn renew(&mut self, shared: &Shared, now: Instant) {
        if self.renewed_at.is_some_and(|at| now.duration_since(at) < CLAIM) {
            return;
        }
        self.renewed_at = Some(now);
        let Ok(mut conn) = shared.redis.conn().await else { return };
        let key = shared.keys.named(&format!("edge:{:016x}", shared.set.edge_id()));
        let mut set = redis::cmd("SET");
        set.arg(key).arg(&shared.process).arg("EX").arg(CLAIM_FOR_SECS).arg("GET");
        match set.query_async::<Option<String>>(&mut conn).await {
            Ok(Some(before)) if self.held && before != shared.process => {
                shared.metrics().shared_id.increment(1);
                tracing::error!(
                    "another process runs with this edge's id: its spool folder is on a cloned disk"
                );
            }
            Ok(_) => self.held = true,
            Err(error) => shared.redis.failed(&conn, &error).await,
        }
    }
}
