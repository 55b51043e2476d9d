//! SQL of clicks.

use super::fold::{Delta, HourKey, HourSum, start_of};
use crate::error::Result;
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// Delta rows looked at by a reader that adds what is not folded yet. A fold that is behind by more makes
/// readers show less than there is, for a while, instead of slowing them down without limit.
pub(crate) const UNFOLDED_MAX: i64 = 1000;

/// Takes the oldest delta rows nobody else is folding.
pub(crate) async fn take_deltas(conn: &mut PgConnection, limit: i64) -> Result<Vec<Delta>> {
    Ok(sqlx::query_as(
        "DELETE FROM click_deltas
          WHERE id IN (SELECT id FROM click_deltas ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED)
         RETURNING advertisers, link_keys, hours, classes, billable, counts, created_at",
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
    Ok(sqlx::query_scalar("SELECT ensure_click_partitions($1, $2)")
        .bind(first)
        .bind(last)
        .fetch_one(conn)
        .await?)
}
