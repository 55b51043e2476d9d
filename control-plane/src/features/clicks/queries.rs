//! SQL of clicks.

use super::fold::{Delta, HourKey, HourSum, start_of};
use super::model::LiveClick;
use super::sources::{NAMES_MAX, SourceKey};
use crate::error::Result;
use chrono::{DateTime, Utc};
use shared::id::AgentId;
use sqlx::{Connection, PgConnection};
use std::collections::BTreeMap;

/// Delta rows looked at by a reader that adds what is not folded yet. A fold that is behind by more makes
/// readers show less than there is, for a while, instead of slowing them down without limit.
pub(crate) const UNFOLDED_MAX: i64 = 1000;

/// Takes the oldest delta rows nobody else is folding.
pub(crate) async fn take_deltas(conn: &mut PgConnection, limit: i64) -> Result<Vec<Delta>> {
    Ok(sqlx::query_as(
        "DELETE FROM click_deltas
          WHERE id IN (SELECT id FROM click_deltas ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED)
         RETURNING advertisers, link_keys, hours, classes, billable, counts, created_at, source_advertisers,
                   source_link_keys, source_days, source_kinds, source_names, source_counts",
    )
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

/// Those of these account numbers that exist, deleted accounts included, sorted.
pub(crate) async fn list_accounts(conn: &mut PgConnection, numbers: &[i32]) -> Result<Vec<i32>> {
    Ok(sqlx::query_scalar("SELECT number FROM agents WHERE number = ANY ($1) ORDER BY number")
        .bind(numbers)
        .fetch_all(conn)
        .await?)
}

/// Whether a month that ends then may still get clicks: from a spool that is live since, or from rows that
/// wait for the fold. One statement, so that a drain's rows and its spools' clocks are seen together. A fold
/// that is far behind is not searched: then something waits, certainly.
pub(crate) async fn is_awaited(
    conn: &mut PgConnection,
    end: chrono::DateTime<chrono::Utc>,
    live_since: chrono::DateTime<chrono::Utc>,
) -> Result<bool> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM spools WHERE NOT finished AND clock_at < $1 AND updated_at > $2)
                OR (SELECT count(*) >= $3 FROM (SELECT FROM click_deltas LIMIT $3) AS deltas)
                OR EXISTS (
                       SELECT FROM click_deltas, unnest(hours) AS hour
                        WHERE hour < extract(EPOCH FROM $1)::BIGINT / 3600)",
    )
    .bind(end)
    .bind(live_since)
    .bind(UNFOLDED_MAX)
    .fetch_one(conn)
    .await?)
}

/// Adds to the hourly counts, row by row in the order of the keys.
pub(crate) async fn add_hours(conn: &mut PgConnection, hours: &BTreeMap<HourKey, HourSum>) -> Result<()> {
    sqlx::query(
        "INSERT INTO link_hours AS hours (advertiser, link_key, hour, class, clicks, billable)
         SELECT advertiser, link_key, hour, class, clicks, billable
           FROM unnest($1::INTEGER[], $2::BIGINT[], $3::TIMESTAMPTZ[], $4::SMALLINT[], $5::BIGINT[], $6::BIGINT[])
                AS sums (advertiser, link_key, hour, class, clicks, billable)
          ORDER BY advertiser, link_key, hour, class
         ON CONFLICT (advertiser, link_key, hour, class) DO UPDATE
            SET clicks = hours.clicks + excluded.clicks, billable = hours.billable + excluded.billable",
    )
    .bind(hours.keys().map(|key| key.advertiser).collect::<Vec<_>>())
    .bind(hours.keys().map(|key| key.link_key).collect::<Vec<_>>())
    .bind(hours.keys().map(|key| start_of(key.hour)).collect::<Vec<_>>())
    .bind(hours.keys().map(|key| key.class).collect::<Vec<_>>())
    .bind(hours.values().map(|sum| sum.clicks).collect::<Vec<_>>())
    .bind(hours.values().map(|sum| sum.billable).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// Adds to the daily counts of sources, row by row in the order of the keys. A link and day that has its
/// limit of sub ids gets no new ones: they count under the empty name.
pub(crate) async fn add_sources(conn: &mut PgConnection, sources: &BTreeMap<SourceKey, i64>) -> Result<()> {
    sqlx::query(
        "WITH given AS MATERIALIZED (
             SELECT advertiser, link_key, DATE '1970-01-01' + day AS day, kind, name, clicks
               FROM unnest($1::INTEGER[], $2::BIGINT[], $3::INTEGER[], $4::SMALLINT[], $5::TEXT[], $6::BIGINT[])
                    AS sums (advertiser, link_key, day, kind, name, clicks)),
              -- Days that can take no more names.
              full_days AS MATERIALIZED (
             SELECT days.advertiser, days.link_key, days.day
               FROM (SELECT DISTINCT advertiser, link_key, day FROM given WHERE kind = 1) AS days
              WHERE (SELECT count(*)
                       FROM link_sources AS known
                      WHERE known.advertiser = days.advertiser AND known.link_key = days.link_key
                        AND known.day = days.day AND known.kind = 1) >= $7),
              placed AS (
             SELECT given.advertiser, given.link_key, given.day, given.kind,
                    CASE WHEN full_days.day IS NOT NULL AND known.name IS NULL THEN '' ELSE given.name END AS name,
                    given.clicks
               FROM given
               LEFT JOIN full_days ON given.kind = 1 AND full_days.advertiser = given.advertiser
                AND full_days.link_key = given.link_key AND full_days.day = given.day
               LEFT JOIN link_sources AS known ON full_days.day IS NOT NULL
                AND known.advertiser = given.advertiser AND known.link_key = given.link_key
                AND known.day = given.day AND known.kind = given.kind AND known.name = given.name)
         INSERT INTO link_sources AS sources (advertiser, link_key, day, kind, name, clicks)
         SELECT advertiser, link_key, day, kind, name, sum(clicks)
           FROM placed
          GROUP BY advertiser, link_key, day, kind, name
          ORDER BY advertiser, link_key, day, kind, name
         ON CONFLICT (advertiser, link_key, day, kind, name) DO UPDATE
            SET clicks = sources.clicks + excluded.clicks",
    )
    .bind(sources.keys().map(|key| key.advertiser).collect::<Vec<_>>())
    .bind(sources.keys().map(|key| key.link_key).collect::<Vec<_>>())
    .bind(sources.keys().map(|key| key.day).collect::<Vec<_>>())
    .bind(sources.keys().map(|key| key.kind).collect::<Vec<_>>())
    .bind(sources.keys().map(|key| key.name.as_str()).collect::<Vec<_>>())
    .bind(sources.values().copied().collect::<Vec<_>>())
    .bind(NAMES_MAX)
    .execute(conn)
    .await?;
    Ok(())
}

/// Clicks by link: the folded hours, and what waits for the fold. One statement, so that a fold in between
/// is seen on one side only.
pub(crate) async fn count_by_link(conn: &mut PgConnection, links: &[i64]) -> Result<Vec<(i64, i64)>> {
    Ok(sqlx::query_as(
        "SELECT link_key, sum(clicks)::BIGINT
           FROM (SELECT link_key, clicks
                   FROM link_hours
                  WHERE link_key = ANY ($1)
                  UNION ALL
                 SELECT waiting.link_key, waiting.clicks
                   FROM (SELECT link_keys, counts FROM click_deltas ORDER BY id LIMIT $2) AS deltas,
                        unnest(deltas.link_keys, deltas.counts) AS waiting (link_key, clicks)
                  WHERE waiting.link_key = ANY ($1)) AS all_clicks
          GROUP BY link_key",
    )
    .bind(links)
    .bind(UNFOLDED_MAX)
    .fetch_all(conn)
    .await?)
}

/// Makes the day partitions from one day to another, both included; gives how many were missing.
pub(crate) async fn ensure_partitions(
    conn: &mut PgConnection,
    first: chrono::NaiveDate,
    last: chrono::NaiveDate,
) -> Result<i32> {
    let mut tx = conn.begin().await?;
    // A statement of its own: only the next one sees what whoever had the lock has made.
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('click partitions', 0))")
        .execute(&mut *tx)
        .await?;
    let made = sqlx::query_scalar("SELECT ensure_click_partitions($1, $2)")
        .bind(first)
        .bind(last)
        .fetch_one(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(made)
}

/// The oldest day that has a partition.
pub(crate) async fn oldest_partition(conn: &mut PgConnection) -> Result<Option<chrono::NaiveDate>> {
    Ok(sqlx::query_scalar(
        "SELECT min(to_date(right(child.relname, 8), 'YYYYMMDD'))
           FROM pg_inherits
           JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
          WHERE pg_inherits.inhparent = 'clicks'::REGCLASS AND child.relname ~ '^clicks_[0-9]{8}$'",
    )
    .fetch_one(conn)
    .await?)
}

/// Drops a day; its rows stay in the sums.
pub(crate) async fn drop_partition(
    conn: &mut PgConnection,
    day: chrono::NaiveDate,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<bool> {
    Ok(sqlx::query_scalar("SELECT drop_click_partition($1, $2)").bind(day).bind(now).fetch_one(conn).await?)
}

/// A stored click, by what its id says. A time that was corrected when it was stored is not where the id says,
/// so the second look goes through all days.
pub(crate) async fn find_click(
    conn: &mut PgConnection,
    id: &shared::ClickId,
) -> Result<Option<super::model::StoredClick>> {
    let at = chrono::DateTime::from_timestamp_millis(id.at_ms).unwrap_or_default();
    let found = sqlx::query_as(
        "SELECT at, advertiser, class, flags, country, notes
           FROM clicks
          WHERE at = $1 AND seq = $2 AND spool_tag = $3 AND link_key = $4
          LIMIT 1",
    )
    .bind(at)
    .bind(id.seq as i64)
    .bind(id.spool_tag as i32)
    .bind(id.link.to_i64())
    .fetch_optional(&mut *conn)
    .await?;
    if found.is_some() {
        return Ok(found);
    }
    Ok(sqlx::query_as(
        "SELECT at, advertiser, class, flags, country, notes
           FROM clicks
          WHERE seq = $1 AND spool_tag = $2 AND link_key = $3 AND flags & 2 = 2
          LIMIT 1",
    )
    .bind(id.seq as i64)
    .bind(id.spool_tag as i32)
    .bind(id.link.to_i64())
    .fetch_optional(conn)
    .await?)
}

macro_rules! latest_clicks {
    ($whose:literal) => {
        concat!(
            "SELECT at, advertiser, class, flags, country, notes, spool_tag, seq, links.destination_url,
                    programs.name AS program_name
               FROM clicks
               JOIN links ON links.key = clicks.link_key
               JOIN programs ON programs.id = links.program_id
              WHERE clicks.at >= $2 AND ",
            $whose,
            " ORDER BY clicks.at DESC, clicks.seq DESC
              LIMIT $3"
        )
    };
}

pub(crate) async fn list_latest_of_advertiser(
    conn: &mut PgConnection,
    advertiser: i32,
    since: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<LiveClick>> {
    let sql = latest_clicks!("clicks.advertiser = $1");
    Ok(sqlx::query_as(sql).bind(advertiser).bind(since).bind(limit).fetch_all(conn).await?)
}

pub(crate) async fn list_latest_of_affiliate(
    conn: &mut PgConnection,
    affiliate: AgentId,
    since: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<LiveClick>> {
    let sql = latest_clicks!("links.affiliate_id = $1");
    Ok(sqlx::query_as(sql).bind(affiliate).bind(since).bind(limit).fetch_all(conn).await?)
}

/// How far everything between the edges and the usage has come.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct PipelineRow {
    pub(crate) stored: i64,
    pub(crate) parked: i64,
    pub(crate) declared_loss: i64,
    pub(crate) off: i64,
    pub(crate) parked_frames: i64,
    pub(crate) waiting_batches: i64,
    pub(crate) waiting_since: Option<chrono::DateTime<chrono::Utc>>,
    pub(crate) outbox: i64,
    pub(crate) outbox_since: Option<chrono::DateTime<chrono::Utc>>,
    pub(crate) undated: bool,
}

pub(crate) async fn load_pipeline(conn: &mut PgConnection) -> Result<PipelineRow> {
    Ok(sqlx::query_as(
        "SELECT coalesce(sum(stored), 0)::BIGINT AS stored, coalesce(sum(parked), 0)::BIGINT AS parked,
                coalesce(sum(declared_loss), 0)::BIGINT AS declared_loss,
                coalesce(sum(abs(watermark - stored - parked - declared_loss)), 0)::BIGINT AS off,
                (SELECT count(*) FROM parked_frames) AS parked_frames,
                (SELECT count(*) FROM click_deltas) AS waiting_batches,
                (SELECT min(created_at) FROM click_deltas) AS waiting_since,
                (SELECT count(*) FROM link_outbox) AS outbox,
                (SELECT min(created_at) FROM link_outbox) AS outbox_since,
                EXISTS (SELECT FROM clicks_default) AS undated
           FROM spools",
    )
    .fetch_one(conn)
    .await?)
}
