//! SQL of the network: figures over programs, partnerships, clicks and commissions.

use super::wire::Niche;
use crate::error::Result;
use crate::money::Micros;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

/// What earnings per click and trade look back on.
const WINDOW: TimeDelta = TimeDelta::days(30);
/// With fewer clicks one lucky sale would lead the ranking.
const EPC_CLICKS_MIN: i64 = 100;

/// What approvals and payments look back on: they take longer than clicks.
const RELIABILITY_WINDOW: TimeDelta = TimeDelta::days(90);
/// With fewer decided conversions, or payments, one would decide the figure.
const DECIDED_MIN: i64 = 10;
const PAID_MIN: i64 = 3;

/// Niches shown at most.
const NICHES_MAX: i64 = 200;

pub(crate) async fn list_niches(conn: &mut PgConnection) -> Result<Vec<Niche>> {
    Ok(sqlx::query_as(
        "SELECT lower(niche) AS niche, count(*) AS programs, sum(affiliates)::BIGINT AS affiliates
           FROM programs
          WHERE status = 'active' AND niche IS NOT NULL
          GROUP BY lower(niche)
          ORDER BY programs DESC, niche
          LIMIT $1",
    )
    .bind(NICHES_MAX)
    .fetch_all(conn)
    .await?)
}

/// What there is now.
#[derive(sqlx::FromRow)]
pub(crate) struct Census {
    pub(crate) agents: i64,
    pub(crate) active_programs: i64,
    pub(crate) advertisers: i64,
    pub(crate) partnerships: i64,
    pub(crate) niches: i64,
}

pub(crate) async fn census(conn: &mut PgConnection) -> Result<Census> {
    Ok(sqlx::query_as(
        "SELECT (SELECT count(*) FROM agents WHERE deleted_at IS NULL) AS agents,
                count(*) AS active_programs,
                count(DISTINCT advertiser_id) AS advertisers,
                COALESCE(sum(affiliates), 0)::BIGINT AS partnerships,
                count(DISTINCT lower(niche)) AS niches
           FROM programs
          WHERE status = 'active'",
    )
    .fetch_one(conn)
    .await?)
}

/// What happened lately.
#[derive(sqlx::FromRow)]
pub(crate) struct Trade {
    pub(crate) clicks: i64,
    pub(crate) conversions: i64,
    pub(crate) commissions: Micros,
    pub(crate) as_of: DateTime<Utc>,
}

pub(crate) async fn measure_trade(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Trade> {
    Ok(sqlx::query_as(
        "SELECT (SELECT COALESCE(sum(billable), 0)::BIGINT FROM link_hours WHERE hour >= $1) AS clicks,
                (SELECT count(*) FROM conversions WHERE created_at >= $1 AND status <> 'rejected') AS conversions,
                (SELECT COALESCE(sum(amount_micros), 0)::BIGINT
                   FROM commissions
                  WHERE created_at >= $1 AND status <> 'rejected' AND currency = 'usd') AS commissions,
                $2 AS as_of",
    )
    .bind(now - WINDOW)
    .bind(now)
    .fetch_one(conn)
    .await?)
}

pub(crate) async fn find_trade(conn: &mut PgConnection) -> Result<Option<Trade>> {
    Ok(sqlx::query_as(
        "SELECT clicks, conversions, commissions_micros AS commissions, as_of FROM network_trade WHERE singleton",
    )
    .fetch_optional(conn)
    .await?)
}

pub(crate) async fn store_trade(conn: &mut PgConnection, trade: &Trade) -> Result<()> {
    sqlx::query(
        "INSERT INTO network_trade (singleton, clicks, conversions, commissions_micros, as_of)
         VALUES (TRUE, $1, $2, $3, $4)
         ON CONFLICT (singleton) DO UPDATE
            SET clicks = EXCLUDED.clicks, conversions = EXCLUDED.conversions,
                commissions_micros = EXCLUDED.commissions_micros, as_of = EXCLUDED.as_of",
    )
    .bind(trade.clicks)
    .bind(trade.conversions)
    .bind(trade.commissions)
    .bind(trade.as_of)
    .execute(conn)
    .await?;
    Ok(())
}

/// Sets what a counted click earned its affiliate on average, of every program that is open. Rows that
/// stay the same are not touched; a program that is being changed is left for the next run.
pub(crate) async fn refresh_epc(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "WITH clicked AS (
             -- counted clicks by program
             SELECT links.program_id, sum(link_hours.billable) AS clicks
               FROM link_hours
               JOIN links ON links.key = link_hours.link_key
              WHERE link_hours.hour >= $1
              GROUP BY links.program_id
             HAVING sum(link_hours.billable) >= $2),
         earned AS (
             -- commissions by program, those taken back deducted
             SELECT program_id, sum(amount_micros) AS micros
               FROM commissions
              WHERE created_at >= $1 AND status <> 'rejected' AND currency = 'usd'
              GROUP BY program_id),
         figures AS (
             SELECT programs.id,
                    CASE WHEN clicked.clicks IS NOT NULL
                         THEN GREATEST(div(COALESCE(earned.micros, 0), clicked.clicks), 0)::BIGINT
                    END AS epc_micros
               FROM programs
               LEFT JOIN clicked ON clicked.program_id = programs.id
               LEFT JOIN earned ON earned.program_id = programs.id
              WHERE programs.status <> 'archived'),
         changed AS (
             SELECT programs.id, figures.epc_micros
               FROM figures
               JOIN programs ON programs.id = figures.id
              WHERE programs.epc_micros IS DISTINCT FROM figures.epc_micros
              ORDER BY programs.id
                FOR NO KEY UPDATE OF programs SKIP LOCKED)
         UPDATE programs SET epc_micros = changed.epc_micros FROM changed WHERE changed.id = programs.id",
    )
    .bind(now - WINDOW)
    .bind(EPC_CLICKS_MIN)
    .execute(conn)
    .await?;
    Ok(())
}

/// Sets how reliable every program is that is open: the share of decided conversions it did not reject, the
/// days until it pays, whether its advertiser's wallet covers what is owed. Rows that stay the same are not
/// touched; a program that is being changed is left for the next run.
pub(crate) async fn refresh_reliability(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "WITH decided AS (
             SELECT program_id, count(*) AS decided, count(*) FILTER (WHERE status <> 'rejected') AS approved
               FROM conversions
              WHERE decided_at >= $1 AND status <> 'pending'
              GROUP BY program_id
             HAVING count(*) >= $2),
         paid AS (
             SELECT commissions.program_id,
                    avg(extract(EPOCH FROM payouts.paid_at - commissions.created_at)) / 8640 AS tenths
               FROM payouts
               JOIN commissions ON commissions.payout_id = payouts.id AND NOT commissions.reversal
              WHERE payouts.paid_at >= $1
              GROUP BY commissions.program_id
             HAVING count(*) >= $3),
         owed AS (
             -- of the whole advertiser: one wallet pays for all its programs
             SELECT commissions.advertiser_id, sum(commissions.amount_micros) AS micros
               FROM commissions
               LEFT JOIN payouts ON payouts.id = commissions.payout_id
              WHERE commissions.status = 'approved' AND commissions.currency = 'usd'
                AND (commissions.payout_id IS NULL OR payouts.status = 'awaiting_funds')
              GROUP BY commissions.advertiser_id),
         figures AS (
             SELECT programs.id,
                    (decided.approved * 10000 / decided.decided)::INTEGER AS approval_bp,
                    CASE WHEN paid.tenths IS NOT NULL THEN GREATEST(round(paid.tenths), 0)::INTEGER END AS days_to_pay_tenths,
                    COALESCE(wallets.balance_micros > 0
                        AND wallets.balance_micros >= COALESCE(owed.micros, 0), FALSE) AS funded
               FROM programs
               LEFT JOIN decided ON decided.program_id = programs.id
               LEFT JOIN paid ON paid.program_id = programs.id
               LEFT JOIN owed ON owed.advertiser_id = programs.advertiser_id
               LEFT JOIN ledger_accounts AS wallets
                 ON wallets.owner_id = programs.advertiser_id AND wallets.kind = 'wallet' AND wallets.currency = 'usd'
              WHERE programs.status <> 'archived'),
         changed AS (
             SELECT programs.id, figures.approval_bp, figures.days_to_pay_tenths, figures.funded
               FROM figures
               JOIN programs ON programs.id = figures.id
              WHERE (programs.approval_bp, programs.days_to_pay_tenths, programs.funded)
                    IS DISTINCT FROM (figures.approval_bp, figures.days_to_pay_tenths, figures.funded)
              ORDER BY programs.id
                FOR NO KEY UPDATE OF programs SKIP LOCKED)
         UPDATE programs
            SET approval_bp = changed.approval_bp, days_to_pay_tenths = changed.days_to_pay_tenths,
                funded = changed.funded
           FROM changed
          WHERE changed.id = programs.id",
    )
    .bind(now - RELIABILITY_WINDOW)
    .bind(DECIDED_MIN)
    .bind(PAID_MIN)
    .execute(conn)
    .await?;
    Ok(())
}
