//! SQL of hammered links.

use super::{Charge, LinkUse, MEAN_HOURS};
use crate::error::Result;
use crate::features::webhooks::event::LinkCappedObject;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

fn each<T>(uses: &[LinkUse], pick: impl Fn(&LinkUse) -> T) -> Vec<T> {
    uses.iter().map(pick).collect()
}

/// Paid clicks let through so far, in the order of the uses.
pub(super) async fn load_passed(conn: &mut PgConnection, uses: &[LinkUse]) -> Result<Vec<i64>> {
    Ok(sqlx::query_scalar(
        "SELECT coalesce(charges.passed, 0)
           FROM unnest($1::INTEGER[], $2::BIGINT[], $3::TIMESTAMPTZ[], $4::DATE[]) WITH ORDINALITY
                AS given (advertiser, link_key, hour, month, place)
           LEFT JOIN link_charges AS charges
             ON charges.advertiser = given.advertiser AND charges.link_key = given.link_key
            AND charges.hour = given.hour AND charges.month = given.month
          ORDER BY given.place",
    )
    .bind(each(uses, |one| one.advertiser))
    .bind(each(uses, |one| one.link_key))
    .bind(each(uses, |one| one.hour))
    .bind(each(uses, |one| one.month))
    .fetch_all(conn)
    .await?)
}

/// Metered clicks of the links in the week before, in the order of the uses.
pub(super) async fn load_weeks(conn: &mut PgConnection, uses: &[LinkUse]) -> Result<Vec<i64>> {
    Ok(sqlx::query_scalar(
        "SELECT (SELECT coalesce(sum(billable), 0)::BIGINT
                   FROM link_hours AS before
                  WHERE before.advertiser = given.advertiser AND before.link_key = given.link_key
                    AND before.hour < given.hour AND before.hour >= given.hour - make_interval(hours => $4))
           FROM unnest($1::INTEGER[], $2::BIGINT[], $3::TIMESTAMPTZ[]) WITH ORDINALITY
                AS given (advertiser, link_key, hour, place)
          ORDER BY given.place",
    )
    .bind(each(uses, |one| one.advertiser))
    .bind(each(uses, |one| one.link_key))
    .bind(each(uses, |one| one.hour))
    .bind(i32::try_from(MEAN_HOURS).unwrap_or(i32::MAX))
    .fetch_all(conn)
    .await?)
}

/// Deletes hours before this one in which nothing was capped.
pub(super) async fn delete_ordinary(conn: &mut PgConnection, before: DateTime<Utc>) -> Result<()> {
    sqlx::query("DELETE FROM link_charges WHERE capped = 0 AND hour < $1").bind(before).execute(conn).await?;
    Ok(())
}

/// Adds to the hours.
pub(super) async fn add(conn: &mut PgConnection, charges: &[Charge]) -> Result<()> {
    sqlx::query(
        "INSERT INTO link_charges AS charges (advertiser, link_key, hour, month, passed, capped)
         SELECT *
           FROM unnest($1::INTEGER[], $2::BIGINT[], $3::TIMESTAMPTZ[], $4::DATE[], $5::BIGINT[], $6::BIGINT[])
         ON CONFLICT (advertiser, link_key, hour, month) DO UPDATE
            SET passed = charges.passed + excluded.passed, capped = charges.capped + excluded.capped",
    )
    .bind(charges.iter().map(|one| one.advertiser).collect::<Vec<_>>())
    .bind(charges.iter().map(|one| one.link_key).collect::<Vec<_>>())
    .bind(charges.iter().map(|one| one.hour).collect::<Vec<_>>())
    .bind(charges.iter().map(|one| one.month).collect::<Vec<_>>())
    .bind(charges.iter().map(|one| one.passed).collect::<Vec<_>>())
    .bind(charges.iter().map(|one| one.capped).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// What advertisers have not heard of yet: those just capped whose link had no capped hour earlier that day.
pub(super) async fn list_news(conn: &mut PgConnection, capped: &[Charge]) -> Result<Vec<LinkCappedObject>> {
    Ok(sqlx::query_as(
        "SELECT DISTINCT ON (links.id) links.id, links.token, links.program_id, links.partnership_id,
                links.advertiser_id, links.affiliate_id, given.hour, given.cap, given.capped
           FROM unnest($1::INTEGER[], $2::BIGINT[], $3::TIMESTAMPTZ[], $4::BIGINT[], $5::BIGINT[])
                AS given (advertiser, link_key, hour, cap, capped)
           JOIN links ON links.key = given.link_key
          WHERE given.capped = (SELECT sum(charges.capped)
                                  FROM link_charges AS charges
                                 WHERE charges.advertiser = given.advertiser AND charges.link_key = given.link_key
                                   AND charges.hour <= given.hour
                                   AND charges.hour >= date_trunc('day', given.hour, 'UTC'))
          ORDER BY links.id, given.hour",
    )
    .bind(capped.iter().map(|one| one.advertiser).collect::<Vec<_>>())
    .bind(capped.iter().map(|one| one.link_key).collect::<Vec<_>>())
    .bind(capped.iter().map(|one| one.hour).collect::<Vec<_>>())
    .bind(capped.iter().map(|one| one.cap).collect::<Vec<_>>())
    .bind(capped.iter().map(|one| one.capped).collect::<Vec<_>>())
    .fetch_all(conn)
    .await?)
}
