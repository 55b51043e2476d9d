//! SQL of usage.

use super::model::{Metric, Tier};
use super::ops::{ClickUse, Decided};
use crate::error::{Error, Result};
use crate::money::Micros;
use chrono::{DateTime, NaiveDate, Utc};
use shared::id::AgentId;
use sqlx::PgConnection;

/// Counts one unit within the allowance of the account's plan; `false` when the allowance is used up.
pub(crate) async fn add_included(
    conn: &mut PgConnection,
    number: i32,
    month: NaiveDate,
    metric: Metric,
) -> Result<bool> {
    let added = sqlx::query(
        "INSERT INTO usage_months AS months (advertiser, month, metric, used, included)
         VALUES ($1, $2, $3, 1, 1)
         ON CONFLICT (advertiser, month, metric) DO UPDATE
            SET used = months.used + 1, included = months.included + 1
          WHERE months.included < (SELECT CASE tier WHEN 'pro' THEN $5 ELSE $4 END FROM agents WHERE number = $1)",
    )
    .bind(number)
    .bind(month)
    .bind(metric.as_str())
    .bind(metric.allowance(Tier::Free))
    .bind(metric.allowance(Tier::Pro))
    .execute(conn)
    .await?;
    Ok(added.rows_affected() == 1)
}

/// Counts one unit that is paid for, and locks the month.
pub(crate) async fn add_billed(
    conn: &mut PgConnection,
    number: i32,
    month: NaiveDate,
    metric: Metric,
    price: Micros,
) -> Result<()> {
    sqlx::query(
        "UPDATE usage_months
            SET used = used + 1, billed = billed + 1, amount_micros = amount_micros + $4
          WHERE advertiser = $1 AND month = $2 AND metric = $3",
    )
    .bind(number)
    .bind(month)
    .bind(metric.as_str())
    .bind(price)
    .execute(conn)
    .await?;
    Ok(())
}

/// The account behind a number, deleted or not: what it used is still to be counted.
pub(crate) async fn find_payer(conn: &mut PgConnection, number: i32) -> Result<Option<(AgentId, Tier)>> {
    let row: Option<(AgentId, String)> = sqlx::query_as("SELECT id, tier FROM agents WHERE number = $1")
        .bind(number)
        .fetch_optional(conn)
        .await?;
    row.map(|(id, tier)| Ok((id, parse_tier(&tier)?))).transpose()
}

fn parse_tier(text: &str) -> Result<Tier> {
    Tier::parse(text).ok_or_else(|| Error::bug(anyhow::anyhow!("no tier {text}")))
}

/// An account's month of one metric, locked.
#[derive(sqlx::FromRow)]
pub(crate) struct MonthRow {
    pub(crate) advertiser: i32,
    pub(crate) month: NaiveDate,
    pub(crate) agent_id: AgentId,
    pub(crate) tier: String,
    pub(crate) used: i64,
    pub(crate) included: i64,
}

impl MonthRow {
    pub(crate) fn tier(&self) -> Result<Tier> {
        parse_tier(&self.tier)
    }

    /// What is left of the allowance; below zero after a change to a smaller plan.
    pub(crate) fn allowance_left(&self, metric: Metric) -> i64 {
        let tier = Tier::parse(&self.tier).unwrap_or(Tier::Free);
        metric.allowance(tier).saturating_sub(self.included)
    }
}

/// Makes the rows that are not there yet.
pub(crate) async fn ensure_months(conn: &mut PgConnection, metric: Metric, uses: &[ClickUse]) -> Result<()> {
    sqlx::query(
        "INSERT INTO usage_months (advertiser, month, metric)
         SELECT given.advertiser, given.month, $3
           FROM unnest($1::INTEGER[], $2::DATE[]) AS given (advertiser, month)
           JOIN agents ON agents.number = given.advertiser
          WHERE NOT EXISTS (
                SELECT FROM usage_months AS known
                 WHERE known.advertiser = given.advertiser AND known.month = given.month AND known.metric = $3)
          ORDER BY given.advertiser, given.month
             ON CONFLICT (advertiser, month, metric) DO NOTHING",
    )
    .bind(uses.iter().map(|one| one.advertiser).collect::<Vec<_>>())
    .bind(uses.iter().map(|one| one.month).collect::<Vec<_>>())
    .bind(metric.as_str())
    .execute(conn)
    .await?;
    Ok(())
}

/// The rows of these months, locked in their order: by advertiser, then month.
pub(crate) async fn lock_months(
    conn: &mut PgConnection,
    metric: Metric,
    uses: &[ClickUse],
) -> Result<Vec<MonthRow>> {
    Ok(sqlx::query_as(
        "SELECT months.advertiser, months.month, agents.id AS agent_id, agents.tier, months.used, months.included
           FROM unnest($1::INTEGER[], $2::DATE[]) AS given (advertiser, month)
           JOIN usage_months AS months
             ON months.advertiser = given.advertiser AND months.month = given.month AND months.metric = $3
           JOIN agents ON agents.number = months.advertiser
          ORDER BY months.advertiser, months.month
            FOR UPDATE OF months",
    )
    .bind(uses.iter().map(|one| one.advertiser).collect::<Vec<_>>())
    .bind(uses.iter().map(|one| one.month).collect::<Vec<_>>())
    .bind(metric.as_str())
    .fetch_all(conn)
    .await?)
}

/// Adds what was decided to locked rows.
pub(crate) async fn add_decided(conn: &mut PgConnection, metric: Metric, decided: &[Decided]) -> Result<()> {
    fn each<T>(decided: &[Decided], pick: impl Fn(&Decided) -> T) -> Vec<T> {
        decided.iter().map(pick).collect()
    }
    let updated = sqlx::query(
        "UPDATE usage_months AS months
            SET used = months.used + split.included + split.billed + split.over_limit + split.capped,
                included = months.included + split.included,
                billed = months.billed + split.billed,
                over_limit = months.over_limit + split.over_limit,
                amount_micros = months.amount_micros + split.amount_micros,
                late = months.late + split.late,
                capped = months.capped + split.capped
           FROM unnest($1::INTEGER[], $2::DATE[], $3::BIGINT[], $4::BIGINT[], $5::BIGINT[], $6::BIGINT[],
                       $8::BIGINT[], $9::BIGINT[])
                AS split (advertiser, month, included, billed, over_limit, amount_micros, late, capped)
          WHERE months.advertiser = split.advertiser AND months.month = split.month AND months.metric = $7",
    )
    .bind(each(decided, |one| one.clicks.advertiser))
    .bind(each(decided, |one| one.clicks.month))
    .bind(each(decided, |one| one.split.included))
    .bind(each(decided, |one| one.split.billed))
    .bind(each(decided, |one| one.split.over_limit))
    .bind(each(decided, |one| one.amount.0))
    .bind(metric.as_str())
    .bind(each(decided, |one| one.clicks.late))
    .bind(each(decided, |one| one.split.capped))
    .execute(conn)
    .await?;
    if updated.rows_affected() != decided.len() as u64 {
        return Err(Error::bug(anyhow::anyhow!(
            "{} of {} usage rows updated",
            updated.rows_affected(),
            decided.len()
        )));
    }
    Ok(())
}

/// What an account was billed for in a month, all metrics together.
pub(crate) async fn sum_spent(conn: &mut PgConnection, number: i32, month: NaiveDate) -> Result<Micros> {
    Ok(sqlx::query_scalar(
        "SELECT coalesce(sum(amount_micros), 0)::BIGINT
           FROM usage_months
          WHERE advertiser = $1 AND month = $2",
    )
    .bind(number)
    .bind(month)
    .fetch_one(conn)
    .await?)
}

pub(crate) async fn find_spend_cap(conn: &mut PgConnection, number: i32) -> Result<Option<Micros>> {
    Ok(sqlx::query_scalar("SELECT cap_micros FROM spend_caps WHERE advertiser = $1")
        .bind(number)
        .fetch_optional(conn)
        .await?)
}

/// The account's cap, locked: whoever bills it next waits, so that the sum below it stays true.
pub(crate) async fn lock_spend_cap(conn: &mut PgConnection, number: i32) -> Result<Option<Micros>> {
    Ok(sqlx::query_scalar("SELECT cap_micros FROM spend_caps WHERE advertiser = $1 FOR UPDATE")
        .bind(number)
        .fetch_optional(conn)
        .await?)
}

/// The same for many accounts, locked in their order.
pub(crate) async fn lock_spend_caps(conn: &mut PgConnection, numbers: &[i32]) -> Result<Vec<(i32, Micros)>> {
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_as(
        "SELECT advertiser, cap_micros
           FROM spend_caps
          WHERE advertiser = ANY ($1)
          ORDER BY advertiser
            FOR UPDATE",
    )
    .bind(numbers)
    .fetch_all(conn)
    .await?)
}

pub(crate) async fn save_spend_cap(
    conn: &mut PgConnection,
    number: i32,
    cap: Micros,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO spend_caps (advertiser, cap_micros, updated_at)
         VALUES ($1, $2, $3)
         ON CONFLICT (advertiser) DO UPDATE
            SET cap_micros = EXCLUDED.cap_micros, updated_at = EXCLUDED.updated_at",
    )
    .bind(number)
    .bind(cap)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn delete_spend_cap(conn: &mut PgConnection, number: i32) -> Result<()> {
    sqlx::query("DELETE FROM spend_caps WHERE advertiser = $1").bind(number).execute(conn).await?;
    Ok(())
}

/// The last closed month; nobody closes another before the transaction ends.
pub(crate) async fn hold_closed(conn: &mut PgConnection) -> Result<Option<NaiveDate>> {
    Ok(sqlx::query_scalar("SELECT through FROM usage_closed FOR SHARE").fetch_one(conn).await?)
}

/// The last closed month.
pub(crate) async fn last_closed(conn: &mut PgConnection) -> Result<Option<NaiveDate>> {
    Ok(sqlx::query_scalar("SELECT through FROM usage_closed").fetch_one(conn).await?)
}

/// The last closed month, locked against everybody.
pub(crate) async fn lock_closed(conn: &mut PgConnection) -> Result<Option<NaiveDate>> {
    Ok(sqlx::query_scalar("SELECT through FROM usage_closed FOR UPDATE").fetch_one(conn).await?)
}

pub(crate) async fn first_month(conn: &mut PgConnection) -> Result<Option<NaiveDate>> {
    Ok(sqlx::query_scalar("SELECT min(month) FROM usage_months").fetch_one(conn).await?)
}

pub(crate) async fn close_through(
    conn: &mut PgConnection,
    month: NaiveDate,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query("UPDATE usage_closed SET through = $1, closed_at = $2")
        .bind(month)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}
