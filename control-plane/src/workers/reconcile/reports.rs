//! What edges say of their spools, in Redis: counted for the metrics, and forgotten when it is over.
//!
//! How far the drain is behind is told by the clock of each edge alone, its last word less what is committed: one
//! whose clock is wrong, and one that is gone, are no fault of the drain, and have metrics of their own.

use super::queries::{self, Committed};
use super::{SILENT_FOR_MS, transit};
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
    let committed = queries::load_committed(&mut conn, &spools).await?;
    let now_ms = app.clock().now_ms();
    Waiting::count(&reports, &committed, now_ms).publish();
    let mut over: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for (spool, report) in &reports {
        let committed = committed.get(spool).copied().unwrap_or_default();
        if report.accepted <= committed.clicks && report.at_ms < now_ms - FORGET_AFTER_MS {
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
    /// Milliseconds from what is committed to the edge's last word, of the spool that is furthest behind.
    behind_ms: u64,
}

impl Waiting {
    fn count(
        reports: &BTreeMap<Uuid, SpoolReport>,
        committed: &HashMap<Uuid, Committed>,
        now_ms: i64,
    ) -> Self {
        let mut waiting = Self::default();
        for (spool, report) in reports {
            let Committed { clicks: committed, clock_ms } = committed.get(spool).copied().unwrap_or_default();
            let behind_ms = clock_ms.map_or(0, |clock_ms| report.at_ms.saturating_sub(clock_ms));
            waiting.behind_ms = waiting.behind_ms.max(behind_ms.max(0).unsigned_abs());
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
        metrics::gauge!("cp_watermark_age").set(self.behind_ms as f64 / 1000.0);
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
        let check = |report, clicks, on_edge, in_redis, silent| {
            let spool = Uuid::from_u128(1);
            let committed = HashMap::from([(spool, Committed { clicks, clock_ms: None })]);
            let waiting = Waiting::count(&BTreeMap::from([(spool, report)]), &committed, now_ms);
            assert_eq!(waiting, Waiting { on_edge, in_redis, silent, behind_ms: 0 });
        };
        check(report, 60, 20, 20, 0);
        check(report, 90, 10, 0, 0);
        check(report, 120, 0, 0, 0);
        check(SpoolReport { at_ms: now_ms - SILENT_FOR_MS - 1, ..report }, 60, 0, 0, 40);
    }

    #[test]
    fn how_far_the_drain_is_behind_is_told_by_the_edges_own_clocks() {
        let now_ms = 1_795_000_000_000;
        let behind_ms = |spools: &[(i64, Option<i64>)]| {
            let (mut reports, mut committed) = (BTreeMap::new(), HashMap::new());
            for (number, (at_ms, clock_ms)) in (0..).zip(spools) {
                reports
                    .insert(Uuid::from_u128(number), SpoolReport { at_ms: *at_ms, ..SpoolReport::default() });
                committed.insert(Uuid::from_u128(number), Committed { clicks: 0, clock_ms: *clock_ms });
            }
            Waiting::count(&reports, &committed, now_ms).behind_ms
        };
        assert_eq!(behind_ms(&[]), 0);
        assert_eq!(behind_ms(&[(now_ms, Some(now_ms - 700)), (now_ms, Some(now_ms - 90_000))]), 90_000);
        let long_ago = now_ms - 500_000;
        assert_eq!(behind_ms(&[(long_ago, Some(long_ago - 300))]), 300, "gone, and all of it drained");
        let ahead = now_ms + 500_000;
        assert_eq!(behind_ms(&[(ahead, Some(ahead - 300))]), 300, "its clock is wrong");
        assert_eq!(behind_ms(&[(now_ms, None)]), 0, "nothing more will come");
        assert_eq!(behind_ms(&[(now_ms, Some(now_ms + 5))]), 0, "drained after its last word");
    }
}
