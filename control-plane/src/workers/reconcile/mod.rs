//! The conservation sum: every click an edge accepted is stored, on its way, parked or declared lost, and every
//! stored click is counted in an hour, metered and billed once.
//!
//! Stages compared, each with the one before: the edge's report and the frames in Redis against the spool's
//! watermark; the watermark against stored, parked and declared lost; stored against the rows of `clicks`;
//! rows against the hours and what waits for the fold; hours against the metered usage; what was billed against
//! the ledger, and the ledger against its own rules. Whatever does not fit is *unaccounted for*, a click at a
//! time: `accepted = on the edge + in Redis + stored + parked + declared loss + off` for every spool. Edges'
//! reports are read first and the database in one snapshot after them, so a running system is never off, only
//! on its way.
//!
//! A click that is only on an edge's disk is accounted for while that edge says so: after [`SILENT_FOR_MS`]
//! without a word from it, it is off.

pub mod queries;
pub mod reports;
mod transit;

use crate::error::{Error, Result};
use crate::features::audit;
use crate::redis::Target;
use chrono::{DateTime, Utc};
use queries::{AccountRow, SpoolRow, TagRow};
use shared::keys::{Keys, SpoolReport};
use sqlx::{Acquire, PgConnection};
use std::collections::BTreeMap;
use uuid::Uuid;

/// An edge that says nothing for so long is gone. It speaks every two seconds.
pub const SILENT_FOR_MS: i64 = 10 * 60_000;

/// A spool's sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolSum {
    /// The spool.
    pub spool: Uuid,
    /// What the edge says it gave out; what Redis and Postgres have seen when it says nothing.
    pub accepted: i64,
    /// Not committed yet and not in Redis: on the disk of an edge that says so.
    pub on_edge: i64,
    /// Not committed yet: in a frame in Redis.
    pub in_redis: i64,
    /// Rows.
    pub stored: i64,
    /// In parked frames.
    pub parked: i64,
    /// Declared lost.
    pub declared_loss: i64,
    /// Unaccounted for.
    pub off: i64,
}

impl SpoolSum {
    /// On their way to Postgres.
    pub const fn in_transit(&self) -> i64 {
        self.on_edge + self.in_redis
    }
}

/// Rows of spools that share a tag, where they differ from what the spools say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagSum {
    /// The tag.
    pub spool_tag: i32,
    /// Rows there should be.
    pub stored: i64,
    /// Rows there are, dropped days included.
    pub rows: i64,
    /// Rows that repeat a sequence.
    pub doubled: i64,
}

impl TagSum {
    /// Unaccounted for.
    pub const fn off(&self) -> i64 {
        (self.stored - self.rows).abs() + self.doubled
    }
}

/// An account's sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountSum {
    /// The stages.
    pub row: AccountRow,
    /// Unaccounted for.
    pub off: i64,
}

/// Everything, compared.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By spool.
    pub spools: Vec<SpoolSum>,
    /// By tag, only those that are off.
    pub tags: Vec<TagSum>,
    /// By account.
    pub accounts: Vec<AccountSum>,
    /// Rules of the ledger and its neighbours that rows break.
    pub broken: Vec<String>,
}

impl Report {
    /// Clicks unaccounted for, and rules broken.
    pub fn off(&self) -> i64 {
        self.spools.iter().map(|sum| sum.off).sum::<i64>()
            + self.tags.iter().map(TagSum::off).sum::<i64>()
            + self.accounts.iter().map(|sum| sum.off).sum::<i64>()
            + self.broken.len() as i64
    }

    /// Clicks on their way to Postgres.
    pub fn in_transit(&self) -> i64 {
        self.spools.iter().map(SpoolSum::in_transit).sum()
    }

    /// Clicks that wait for the fold.
    pub fn waiting(&self) -> i64 {
        self.accounts.iter().map(|sum| sum.row.waiting).sum()
    }
}

/// Compares everything. Without Redis (`None`) only what Postgres has.
pub async fn reconcile(
    conn: &mut PgConnection,
    redis: Option<(&Target, &Keys, u16)>,
    now: DateTime<Utc>,
) -> Result<Report> {
    let seen = match redis {
        Some((target, keys, shards)) => {
            transit::look(target, keys, shards).await.map_err(Error::unavailable)?
        }
        None => transit::Seen::default(),
    };
    let mut tx = conn.begin().await?;
    queries::one_snapshot(&mut tx).await?;
    let spools = queries::list_spools(&mut tx).await?;
    let tags = queries::list_tags(&mut tx).await?;
    let accounts = queries::list_accounts(&mut tx).await?;
    let broken = audit::ops::broken(&mut tx).await?;
    tx.rollback().await?;
    Ok(Report {
        tags: sum_tags(&spools, &tags),
        spools: sum_spools(&spools, &seen, now.timestamp_millis()),
        accounts: accounts.into_iter().map(sum_account).collect(),
        broken: broken.iter().map(ToString::to_string).collect(),
    })
}

fn sum_spools(rows: &[SpoolRow], seen: &transit::Seen, now_ms: i64) -> Vec<SpoolSum> {
    let mut all: BTreeMap<Uuid, SpoolRow> = rows.iter().map(|row| (row.spool, row.clone())).collect();
    for spool in seen.reports.keys().chain(seen.reach.keys()) {
        // Postgres has not heard of it yet: as if of a spool without clicks.
        all.entry(*spool).or_insert_with(|| SpoolRow { spool: *spool, ..SpoolRow::default() });
    }
    let sum = |row: &SpoolRow| {
        let report = seen.reports.get(&row.spool);
        let reach = seen.reach.get(&row.spool).copied().unwrap_or(0) as i64;
        sum_spool(row, report, reach, now_ms)
    };
    all.values().map(sum).collect()
}

/// `reach`: where the last frame in Redis ends.
fn sum_spool(row: &SpoolRow, report: Option<&SpoolReport>, reach: i64, now_ms: i64) -> SpoolSum {
    let said = report.map_or(0, |report| report.accepted as i64);
    let reach = reach.max(row.watermark);
    let accepted = said.max(reach);
    let mut off = (row.watermark - row.stored - row.parked - row.declared_loss).abs();
    off += (row.parked - row.parked_frames).abs();
    let mut on_edge = accepted - reach;
    if let Some(report) = report {
        // Lost at the edge, and Postgres has not been told yet. The other way round, parked frames were dropped.
        let untold = (report.declared_loss as i64 - row.declared_loss).max(0);
        if said == row.watermark {
            off += untold;
        }
        let kept = accepted - reach.max(report.kept_from as i64);
        let missing = if report.at_ms < now_ms - SILENT_FOR_MS {
            on_edge
        } else {
            // Let go of by an edge that was told it is committed, and this database does not have it.
            (on_edge - kept - untold).max(0)
        };
        off += missing;
        on_edge -= missing;
    }
    SpoolSum {
        spool: row.spool,
        accepted,
        on_edge,
        in_redis: reach - row.watermark,
        stored: row.stored,
        parked: row.parked,
        declared_loss: row.declared_loss,
        off,
    }
}

/// First four bytes of a spool's id, as the column holds them.
fn tag_of(spool: Uuid) -> i32 {
    let bytes = spool.as_bytes();
    i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Clicks that came without a spool, reported by servers, have tag 0.
const NO_SPOOL: i32 = 0;

fn sum_tags(spools: &[SpoolRow], tags: &[TagRow]) -> Vec<TagSum> {
    // Stored, and how many spools share the tag.
    let mut stored: BTreeMap<i32, (i64, u32)> = BTreeMap::new();
    for row in spools {
        let sum = stored.entry(tag_of(row.spool)).or_default();
        sum.0 += row.stored;
        sum.1 += 1;
    }
    for tag in tags {
        stored.entry(tag.spool_tag).or_default();
    }
    let found: BTreeMap<i32, &TagRow> = tags.iter().map(|tag| (tag.spool_tag, tag)).collect();
    let sums = stored.into_iter().map(|(spool_tag, (stored, sharing))| {
        let tag = found.get(&spool_tag).copied().copied().unwrap_or_default();
        let rows = tag.rows + tag.dropped;
        // Two spools with one tag may both have a sequence; then only the sum can be compared.
        let doubled = if sharing > 1 { 0 } else { tag.rows - tag.sequences };
        let stored = if spool_tag == NO_SPOOL { stored.max(rows) } else { stored };
        TagSum { spool_tag, stored, rows, doubled }
    });
    sums.filter(|sum| sum.off() > 0).collect()
}

fn sum_account(row: AccountRow) -> AccountSum {
    let metered = if row.exists { (row.billable - row.used).abs() } else { row.used };
    let posted = (row.billed - row.posted).abs();
    AccountSum { row, off: (row.rows - row.counted).abs() + metered + posted }
}

#[cfg(test)]
mod tests;
