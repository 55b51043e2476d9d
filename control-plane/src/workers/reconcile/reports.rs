//! What edges say of their spools, in Redis: counted for the metrics, and forgotten when it is over.

use super::{SILENT_FOR_MS, queries, transit};
use crate::app::App;
use crate::error::{Error, Result};
use crate::workers::jobs::Turn;
use shared::keys::{SpoolReport, shard_of};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// An edge's last word on a spool that is all in Postgres is kept for so long.
const FORGET_AFTER_MS: i64 = 3_600_000;
/// Fields removed in one command at most.
const FIELDS_MAX: usize = 256;

/// The job: tells how many clicks are still with the edges, and removes the reports of spools that are over.
pub async fn job(app: App) -> Result<Turn> {
    let mut redis = app.redis().get().await.map_err(Error::unavailable)?;
    let shards = app.config().click_shards;
    // Reports first: what Postgres has by then covers what they say, if all is well.
    let reports = transit::read_reports(&mut redis, app.keys(), shards).await.map_err(Error::unavailable)?;
    let spools: Vec<Uuid> = reports.keys().copied().collect();
    let mut conn = app.db_worker().acquire().await?;
    let watermarks = queries::load_watermarks(&mut conn, &spools).await?;
    let now_ms = app.clock().now_ms();
    Waiting::count(&reports, &watermarks, now_ms).publish();
    let mut over: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for (spool, report) in &reports {
        let committed = watermarks.get(spool).copied().unwrap_or(0) as u64;
        if report.accepted <= committed && report.at_ms < now_ms - FORGET_AFTER_MS {
            over.entry(shard_of(*spool, shards)).or_default().push(spool.simple().to_string());
        }
    }
    for (shard, spools) in over {
        for spools in spools.chunks(FIELDS_MAX) {
            let mut forget = redis::cmd("HDEL");
            forget.arg(app.keys().reports(shard)).arg(spools);
            forget.query_async::<()>(&mut redis).await.map_err(Error::unavailable)?;
        }
    }
    Ok(Turn::Idle)
}

/// Clicks that edges have accepted and Postgres does not have.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Waiting {
    /// Never taken by Redis.
    on_edge: u64,
    /// Taken by Redis.
    in_redis: u64,
    /// With edges that say nothing any more.
    silent: u64,
}

impl Waiting {
    fn count(reports: &BTreeMap<Uuid, SpoolReport>, watermarks: &HashMap<Uuid, i64>, now_ms: i64) -> Self {
        let mut waiting = Self::default();
        for (spool, report) in reports {
            let committed = watermarks.get(spool).copied().unwrap_or(0) as u64;
            let taken = report.shipped.min(report.accepted).max(committed);
            let on_edge = report.accepted.saturating_sub(taken);
            if report.at_ms < now_ms - SILENT_FOR_MS {
                waiting.silent += report.accepted.saturating_sub(committed);
            } else {
                waiting.on_edge += on_edge;
                waiting.in_redis += taken - committed;
            }
        }
        waiting
    }

    fn publish(self) {
        metrics::gauge!("cp_on_edge_clicks").set(self.on_edge as f64);
        metrics::gauge!("cp_in_redis_clicks").set(self.in_redis as f64);
        metrics::gauge!("cp_silent_edge_clicks").set(self.silent as f64);
        if self.silent > 0 {
            tracing::error!(
                clicks = self.silent,
                "edges that say nothing any more have clicks; see `control-plane reconcile`"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_counted_where_it_waits() {
        let now_ms = 1_795_000_000_000;
        let report = SpoolReport { accepted: 100, shipped: 80, at_ms: now_ms, ..SpoolReport::default() };
        let check = |report, committed, on_edge, in_redis, silent| {
            let spool = Uuid::from_u128(1);
            let watermarks = HashMap::from([(spool, committed)]);
            let waiting = Waiting::count(&BTreeMap::from([(spool, report)]), &watermarks, now_ms);
            assert_eq!(waiting, Waiting { on_edge, in_redis, silent });
        };
        check(report, 60, 20, 20, 0);
        check(report, 90, 10, 0, 0);
        check(report, 120, 0, 0, 0);
        check(SpoolReport { at_ms: now_ms - SILENT_FOR_MS - 1, ..report }, 60, 0, 0, 40);
    }
}
