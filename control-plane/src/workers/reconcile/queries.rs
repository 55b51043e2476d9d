//! SQL of the conservation sum. All of it runs in one snapshot.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Result};
use std::collections::HashMap;
use uuid::Uuid;

/// A spool's row and the frames parked of it.
#[derive(Clone, Debug, Default, sqlx::FromRow)]
pub struct SpoolRow {
    /// The spool.
    pub spool: Uuid,
    /// Every sequence below is committed.
    pub watermark: i64,
    /// Stored.
    pub stored: i64,
    /// Parked.
    pub parked: i64,
    /// Declared lost.
    pub declared_loss: i64,
    /// Nothing follows.
    pub finished: bool,
    /// What its parked frames stand for.
    pub parked_frames: i64,
}

pub(super) async fn list_spools(conn: &mut PgConnection) -> Result<Vec<SpoolRow>> {
    sqlx::query_as(
        "SELECT spools.spool, watermark, stored, parked, declared_loss, finished,
                coalesce(frames.counted, 0)::BIGINT AS parked_frames
           FROM spools
           LEFT JOIN (SELECT spool, sum(counted) AS counted FROM parked_frames GROUP BY spool) AS frames
             ON frames.spool = spools.spool
          ORDER BY spools.spool",
    )
    .fetch_all(conn)
    .await
}

/// What is committed of a spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Committed {
    /// Clicks.
    pub(super) clicks: u64,
    /// The edge's clock with the last of them, in milliseconds; `None` when nothing more will come.
    pub(super) clock_ms: Option<i64>,
}

/// What is committed of these spools; those never heard of are left out.
pub(super) async fn load_committed(
    conn: &mut PgConnection,
    spools: &[Uuid],
) -> Result<HashMap<Uuid, Committed>> {
    let rows: Vec<(Uuid, i64, Option<DateTime<Utc>>)> = sqlx::query_as(
        "SELECT spool, watermark, CASE WHEN finished THEN NULL ELSE clock_at END
           FROM spools WHERE spool = ANY ($1)",
    )
    .bind(spools)
    .fetch_all(conn)
    .await?;
    let committed = rows.into_iter().map(|(spool, watermark, clock_at)| {
        let clock_ms = clock_at.map(|at| at.timestamp_millis());
        (spool, Committed { clicks: watermark.unsigned_abs(), clock_ms })
    });
    Ok(committed.collect())
}

/// Rows of the spools with one tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct TagRow {
    /// First four bytes of the spools' ids.
    pub spool_tag: i32,
    /// Rows there are.
    pub rows: i64,
    /// Different sequences among them.
    pub sequences: i64,
    /// Rows dropped with their day.
    pub dropped: i64,
}

pub(super) async fn list_tags(conn: &mut PgConnection) -> Result<Vec<TagRow>> {
    sqlx::query_as(
        "SELECT coalesce(kept.spool_tag, dropped_clicks.spool_tag) AS spool_tag,
                coalesce(kept.rows, 0) AS rows, coalesce(kept.sequences, 0) AS sequences,
                coalesce(dropped_clicks.clicks, 0) AS dropped
           FROM (SELECT spool_tag, count(*) AS rows, count(DISTINCT seq) AS sequences
                   FROM clicks
                  GROUP BY spool_tag) AS kept
           FULL JOIN dropped_clicks ON dropped_clicks.spool_tag = kept.spool_tag
          ORDER BY 1",
    )
    .fetch_all(conn)
    .await
}

/// An account's clicks on each stage of their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct AccountRow {
    /// Its number.
    pub advertiser: i32,
    /// Rows, of the days that are kept.
    pub rows: i64,
    /// Counted in hours of these days, or waiting for the fold.
    pub counted: i64,
    /// Metered clicks among all ever counted, the waiting ones left out.
    pub billable: i64,
    /// Waiting for the fold.
    pub waiting: i64,
    /// Metered.
    pub used: i64,
    /// Billed among the metered.
    pub billed: i64,
    /// Clicks the ledger moved money for.
    pub posted: i64,
    /// Whether the account exists; clicks that name none are not metered.
    pub exists: bool,
}

pub(super) async fn list_accounts(conn: &mut PgConnection) -> Result<Vec<AccountRow>> {
    sqlx::query_as(
        "WITH kept AS (
                 -- Days before it are dropped.
                 SELECT coalesce((max(day) + 1)::TIMESTAMP AT TIME ZONE 'UTC', '-infinity') AS since
                   FROM click_days_dropped),
              stages AS (
                 SELECT advertiser, count(*) AS rows, 0 AS counted, 0 AS billable, 0 AS waiting, 0 AS used, 0 AS billed,
                        0 AS posted
                   FROM clicks, kept
                  WHERE at >= kept.since
                  GROUP BY advertiser
                  UNION ALL
                 SELECT advertiser, 0, coalesce(sum(clicks) FILTER (WHERE hour >= kept.since), 0), sum(billable), 0, 0, 0, 0
                   FROM link_hours, kept
                  GROUP BY advertiser
                  UNION ALL
                 SELECT delta.advertiser, 0,
                        coalesce(sum(delta.clicks) FILTER (
                            WHERE to_timestamp(delta.hour * 3600::BIGINT) >= kept.since), 0),
                        0, sum(delta.clicks), 0, 0, 0
                   FROM click_deltas, kept,
                        unnest(advertisers, hours, counts) AS delta (advertiser, hour, clicks)
                  GROUP BY delta.advertiser
                  UNION ALL
                 SELECT advertiser, 0, 0, 0, 0, sum(used), sum(billed), 0
                   FROM usage_months
                  WHERE metric = 'clicks'
                  GROUP BY advertiser
                  UNION ALL
                 SELECT agents.number, 0, 0, 0, 0, 0, 0, sum(transfer.quantity)
                   FROM ledger_transfers AS transfer
                   JOIN ledger_accounts AS account ON account.id = transfer.credit_account
                   JOIN agents ON agents.id = account.owner_id
                  WHERE account.kind = 'clicks'
                  GROUP BY agents.number)
         SELECT advertiser, sum(rows)::BIGINT AS rows, sum(counted)::BIGINT AS counted,
                sum(billable)::BIGINT AS billable, sum(waiting)::BIGINT AS waiting, sum(used)::BIGINT AS used,
                sum(billed)::BIGINT AS billed, sum(posted)::BIGINT AS posted,
                EXISTS (SELECT FROM agents WHERE number = advertiser) AS exists
           FROM stages
          GROUP BY advertiser
          ORDER BY advertiser",
    )
    .fetch_all(conn)
    .await
}

/// Everything below sees one state of the database.
pub(super) async fn one_snapshot(conn: &mut PgConnection) -> Result<()> {
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").execute(&mut *conn).await?;
    // Counting every row takes as long as it takes.
    sqlx::query("SET LOCAL statement_timeout = 0").execute(conn).await.map(drop)
}
