//! SQL of trade.

use crate::error::Result;
use crate::money::Micros;
use crate::page::Page;
use chrono::{DateTime, Utc};
use shared::id::{AgentId, ProgramId};
use sqlx::PgConnection;
use uuid::Uuid;

/// Adds the oldest deltas to the sums; gives how many.
pub(crate) async fn fold(conn: &mut PgConnection, most: i64) -> Result<i64> {
    Ok(sqlx::query_scalar("SELECT fold_trade($1)").bind(most).fetch_one(conn).await?)
}

/// What one side of one agent comes to between two instants, and before them.
#[derive(Debug, Default, sqlx::FromRow)]
pub(crate) struct Traded {
    pub(crate) leads: i64,
    pub(crate) sales: i64,
    pub(crate) pending: i64,
    pub(crate) approved: i64,
    pub(crate) rejected: i64,
    pub(crate) revenue: Micros,
    pub(crate) previous: i64,
    pub(crate) commissions_pending: Micros,
    pub(crate) commissions_approved: Micros,
    pub(crate) commissions_paid: Micros,
    pub(crate) commissions_previous: Micros,
}

/// Sums over whole hours, from `from` to `to`; `previous` ones are those from `before` to `from`.
pub(crate) async fn sum_hours(
    conn: &mut PgConnection,
    agent: AgentId,
    is_advertiser: bool,
    (before, from, to): (DateTime<Utc>, DateTime<Utc>, DateTime<Utc>),
) -> Result<Traded> {
    // Told apart here: a CASE in the query would hide the columns from the indexes.
    macro_rules! hours {
        ($waiting:literal, $side:literal) => {
            concat!(
                "SELECT coalesce(sum(leads) FILTER (WHERE hour >= $3), 0)::BIGINT AS leads,
                        coalesce(sum(sales) FILTER (WHERE hour >= $3), 0)::BIGINT AS sales,
                        coalesce(sum(pending) FILTER (WHERE hour >= $3), 0)::BIGINT AS pending,
                        coalesce(sum(approved) FILTER (WHERE hour >= $3), 0)::BIGINT AS approved,
                        coalesce(sum(rejected) FILTER (WHERE hour >= $3), 0)::BIGINT AS rejected,
                        coalesce(sum(revenue_micros) FILTER (WHERE hour >= $3), 0)::BIGINT AS revenue,
                        coalesce(sum(leads + sales) FILTER (WHERE hour < $3), 0)::BIGINT AS previous,
                        coalesce(sum(pending_micros) FILTER (WHERE hour >= $3), 0)::BIGINT AS commissions_pending,
                        coalesce(sum(approved_micros) FILTER (WHERE hour >= $3), 0)::BIGINT AS commissions_approved,
                        coalesce(sum(paid_micros) FILTER (WHERE hour >= $3), 0)::BIGINT AS commissions_paid,
                        coalesce(sum(pending_micros + approved_micros + paid_micros) FILTER (WHERE hour < $3), 0)::BIGINT
                            AS commissions_previous
                   FROM (SELECT hour, leads, sales, pending, approved, rejected, revenue_micros, pending_micros,
                                approved_micros, paid_micros
                           FROM trade_hours
                          WHERE agent_id = $1 AND advertiser = ",
                $side,
                "           AND hour >= $2 AND hour < $4
                          UNION ALL
                         SELECT hour, leads, sales, pending, approved, rejected, revenue_micros, pending_micros,
                                owed_micros + processing_micros, paid_micros
                           FROM trade_deltas
                          WHERE ",
                $waiting,
                " = $1 AND hour >= $2 AND hour < $4) AS hours"
            )
        };
    }
    let query = if is_advertiser {
        sqlx::query_as(hours!("advertiser_id", "TRUE"))
    } else {
        sqlx::query_as(hours!("affiliate_id", "FALSE"))
    };
    Ok(query.bind(agent).bind(before).bind(from).bind(to).fetch_one(conn).await?)
}

/// What one side of one program's commissions comes to, by state; without a key, the sum of all.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct SumRow {
    /// The program, or the affiliate: what the sums are told apart by.
    pub(crate) key: Option<Uuid>,
    pub(crate) groups: i64,
    pub(crate) name: String,
    pub(crate) handle: Option<String>,
    pub(crate) conversions: i64,
    pub(crate) pending: Micros,
    pub(crate) approved: Micros,
    pub(crate) payable: Micros,
    pub(crate) processing: Micros,
    pub(crate) paid: Micros,
    pub(crate) rejected: Micros,
    pub(crate) reversed: Micros,
}

/// The sum of all, then a page of them, all seen at one moment. `$2` is now: what is held longer is subtracted
/// from what is owed.
macro_rules! sums {
    ($whose:literal, $by:literal, $named:literal) => {
        concat!(
            "WITH parts AS MATERIALIZED (
                 SELECT ", $by, " AS key, commissions, pending_micros, owed_micros, 0::BIGINT AS held_micros,
                        processing_micros, paid_micros, rejected_micros, reversed_micros
                   FROM trade_sums
                  WHERE ", $whose, " = $1
                  UNION ALL
                 SELECT ", $by, ", commissions, pending_micros, owed_micros, 0, processing_micros, paid_micros,
                        rejected_micros, reversed_micros
                   FROM trade_deltas
                  WHERE ", $whose, " = $1
                  UNION ALL
                 SELECT ", $by, ", 0, 0, 0, sum(amount_micros)::BIGINT, 0, 0, 0, 0
                   FROM commissions
                  WHERE ", $whose, " = $1 AND payable_at > $2 AND status = 'approved' AND payout_id IS NULL
                    AND currency = 'usd'
                  GROUP BY ", $by, "),
             keys AS MATERIALIZED (SELECT DISTINCT key FROM parts),
             -- Only a page's keys are summed one by one.
             page AS MATERIALIZED (
                 SELECT key FROM keys WHERE key < $3 ORDER BY key DESC LIMIT $4 OFFSET $5)
             SELECT NULL::UUID AS key, (SELECT count(*) FROM keys) AS groups, '' AS name, NULL::TEXT AS handle,
                    coalesce(sum(commissions), 0)::BIGINT AS conversions,
                    coalesce(sum(pending_micros), 0)::BIGINT AS pending,
                    coalesce(sum(owed_micros), 0)::BIGINT AS approved,
                    coalesce(sum(owed_micros - held_micros), 0)::BIGINT AS payable,
                    coalesce(sum(processing_micros), 0)::BIGINT AS processing,
                    coalesce(sum(paid_micros), 0)::BIGINT AS paid,
                    coalesce(sum(rejected_micros), 0)::BIGINT AS rejected,
                    coalesce(sum(reversed_micros), 0)::BIGINT AS reversed
               FROM parts
              UNION ALL
             (SELECT key, 1, named.name, named.handle, conversions, pending, approved, payable, processing, paid,
                     rejected, reversed
                FROM (SELECT key, sum(commissions)::BIGINT AS conversions, sum(pending_micros)::BIGINT AS pending,
                             sum(owed_micros)::BIGINT AS approved,
                             sum(owed_micros - held_micros)::BIGINT AS payable,
                             sum(processing_micros)::BIGINT AS processing, sum(paid_micros)::BIGINT AS paid,
                             sum(rejected_micros)::BIGINT AS rejected, sum(reversed_micros)::BIGINT AS reversed
                        FROM page JOIN parts USING (key)
                       GROUP BY key) AS page
                CROSS JOIN LATERAL (", $named, " LIMIT 1) AS named
               ORDER BY key DESC)
              ORDER BY key DESC NULLS FIRST"
        )
    };
}

/// What an affiliate earned: all of it, and a page of programs, the newest program first.
pub(crate) async fn sum_by_program(
    conn: &mut PgConnection,
    affiliate: AgentId,
    now: DateTime<Utc>,
    page: Page,
) -> Result<Vec<SumRow>> {
    let by_program = sums!(
        "affiliate_id",
        "program_id",
        "SELECT name, NULL::TEXT AS handle FROM programs WHERE programs.id = page.key"
    );
    Ok(sqlx::query_as(by_program)
        .bind(affiliate)
        .bind(now)
        .bind(page.below().1)
        .bind(page.limit_and_one())
        .bind(page.offset())
        .fetch_all(conn)
        .await?)
}

/// What a program owes and paid: all of it, and a page of affiliates, the newest affiliate first.
pub(crate) async fn sum_by_affiliate(
    conn: &mut PgConnection,
    program: ProgramId,
    now: DateTime<Utc>,
    page: Page,
) -> Result<Vec<SumRow>> {
    let by_affiliate =
        sums!("program_id", "affiliate_id", "SELECT name, handle FROM agents WHERE agents.id = page.key");
    Ok(sqlx::query_as(by_affiliate)
        .bind(program)
        .bind(now)
        .bind(page.below().1)
        .bind(page.limit_and_one())
        .bind(page.offset())
        .fetch_all(conn)
        .await?)
}
