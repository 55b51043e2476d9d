//! SQL of payouts.

use super::model::{Method, Payout, Status};
use super::wire::Role;
use crate::error::{Error, Result};
use crate::features::ledger::model::CURRENCY;
use crate::money::Micros;
use crate::page::{Page, REACH_MAX};
use chrono::{DateTime, Utc};
use shared::id::{AgentId, PayoutId, ProgramId};
use sqlx::PgConnection;
use std::collections::HashMap;

/// What a payout needs to know of its program.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Program {
    /// Its id.
    pub id: ProgramId,
    /// Who pays.
    pub advertiser_id: AgentId,
    /// What is not worth a payout.
    pub min_payout_micros: Micros,
}

/// What a new payout stores.
pub(crate) struct NewPayout {
    pub(crate) id: PayoutId,
    pub(crate) advertiser_id: AgentId,
    pub(crate) program_id: ProgramId,
    pub(crate) affiliate_id: AgentId,
    pub(crate) amount: Micros,
    pub(crate) method: Method,
    pub(crate) status: Status,
    pub(crate) address: Option<String>,
    pub(crate) not_before: Option<DateTime<Utc>>,
    pub(crate) requested: bool,
}

pub(crate) async fn find_program(conn: &mut PgConnection, id: ProgramId) -> Result<Option<Program>> {
    Ok(sqlx::query_as("SELECT id, advertiser_id, min_payout_micros FROM programs WHERE id = $1")
        .bind(id)
        .fetch_optional(conn)
        .await?)
}

/// Programs that owe an affiliate something payable, in the order of their ids.
pub(crate) async fn list_owing_programs(
    conn: &mut PgConnection,
    affiliate: AgentId,
    now: DateTime<Utc>,
) -> Result<Vec<Program>> {
    Ok(sqlx::query_as(
        "SELECT id, advertiser_id, min_payout_micros
           FROM programs
          WHERE id IN (SELECT program_id
                         FROM commissions
                        WHERE affiliate_id = $1 AND status = 'approved' AND payout_id IS NULL AND payable_at <= $2)
          ORDER BY id",
    )
    .bind(affiliate)
    .bind(now)
    .fetch_all(conn)
    .await?)
}

pub(crate) async fn insert_payouts(
    conn: &mut PgConnection,
    new: &[NewPayout],
    now: DateTime<Utc>,
) -> Result<()> {
    fn each<'a, T>(new: &'a [NewPayout], pick: impl Fn(&'a NewPayout) -> T) -> Vec<T> {
        new.iter().map(pick).collect()
    }
    sqlx::query(
        "INSERT INTO payouts (id, advertiser_id, program_id, affiliate_id, amount_micros, currency, method, status,
                              address, not_before, requested, created_at, updated_at, paid_at)
         SELECT id, advertiser_id, program_id, affiliate_id, amount_micros, $11, method, status,
                address, not_before, requested, $12, $12, CASE status WHEN 'paid' THEN $12 END
           FROM unnest($1::UUID[], $2::UUID[], $3::UUID[], $4::UUID[], $5::BIGINT[], $6::TEXT[], $7::TEXT[],
                       $8::TEXT[], $9::TIMESTAMPTZ[], $10::BOOLEAN[])
                AS given (id, advertiser_id, program_id, affiliate_id, amount_micros, method, status,
                          address, not_before, requested)",
    )
    .bind(each(new, |payout| payout.id.uuid()))
    .bind(each(new, |payout| payout.advertiser_id.uuid()))
    .bind(each(new, |payout| payout.program_id.uuid()))
    .bind(each(new, |payout| payout.affiliate_id.uuid()))
    .bind(each(new, |payout| payout.amount.0))
    .bind(each(new, |payout| payout.method.as_str()))
    .bind(each(new, |payout| payout.status.as_str()))
    .bind(each(new, |payout| payout.address.as_deref()))
    .bind(each(new, |payout| payout.not_before))
    .bind(each(new, |payout| payout.requested))
    .bind(CURRENCY)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

macro_rules! select_payouts {
    ($tail:literal) => {
        concat!(
            "SELECT payouts.id, payouts.advertiser_id, payouts.program_id, payouts.affiliate_id,
                    agents.handle AS affiliate_handle, payouts.amount_micros, payouts.currency, payouts.method,
                    payouts.status, payouts.address, payouts.not_before, payouts.reference, payouts.failure,
                    payouts.requested, payouts.created_at, payouts.updated_at, payouts.paid_at,
                    (SELECT count(*) FROM commissions WHERE payout_id = payouts.id) AS commission_count
               FROM payouts
               JOIN agents ON agents.id = payouts.affiliate_id ",
            $tail
        )
    };
}

pub(crate) async fn find_payout(conn: &mut PgConnection, id: PayoutId) -> Result<Option<Payout>> {
    Ok(sqlx::query_as(select_payouts!("WHERE payouts.id = $1")).bind(id).fetch_optional(conn).await?)
}

pub(crate) async fn lock_payout(conn: &mut PgConnection, id: PayoutId) -> Result<Option<Payout>> {
    Ok(sqlx::query_as(select_payouts!("WHERE payouts.id = $1 FOR NO KEY UPDATE OF payouts"))
        .bind(id)
        .fetch_optional(conn)
        .await?)
}

/// The oldest payout past `after` that waits for money its advertiser's wallet holds, locked.
pub(crate) async fn lock_fundable(
    conn: &mut PgConnection,
    after: Option<PayoutId>,
) -> Result<Option<Payout>> {
    Ok(sqlx::query_as(select_payouts!(
        "JOIN ledger_accounts AS wallet ON wallet.owner_id = payouts.advertiser_id AND wallet.kind = 'wallet'
                                        AND wallet.currency = payouts.currency
         WHERE payouts.status = 'awaiting_funds' AND wallet.balance_micros >= payouts.amount_micros
           AND ($1::UUID IS NULL OR payouts.id > $1)
         ORDER BY payouts.id
         LIMIT 1
           FOR NO KEY UPDATE OF payouts SKIP LOCKED"
    ))
    .bind(after)
    .fetch_optional(conn)
    .await?)
}

pub(crate) async fn list_by_ids(conn: &mut PgConnection, ids: &[PayoutId]) -> Result<Vec<Payout>> {
    Ok(sqlx::query_as(select_payouts!("WHERE payouts.id = ANY ($1) ORDER BY payouts.id"))
        .bind(ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?)
}

/// Which payouts a list shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filter {
    pub(crate) agent: AgentId,
    pub(crate) role: Option<Role>,
    pub(crate) status: Option<Status>,
}

impl Filter {
    fn sides(&self) -> (bool, bool) {
        (self.role != Some(Role::Affiliate), self.role != Some(Role::Advertiser))
    }
}

pub(crate) async fn list_payouts(
    conn: &mut PgConnection,
    filter: &Filter,
    page: Page,
) -> Result<Vec<Payout>> {
    let (pays, gets) = filter.sides();
    let (created_at, id) = page.below_instant();
    // Each side is read in its own index's order, so that the newest of both are found without a sort.
    Ok(sqlx::query_as(select_payouts!(
        "JOIN ((SELECT id, advertiser_id, created_at
                  FROM payouts
                 WHERE $2 AND advertiser_id = $1 AND ($4::TEXT IS NULL OR status = $4)
                   AND (created_at, id) < ($5, $6)
                 ORDER BY created_at DESC, id DESC
                 LIMIT $7 + $8)
               UNION ALL
               (SELECT id, advertiser_id, created_at
                  FROM payouts
                 WHERE $3 AND affiliate_id = $1 AND NOT ($2 AND advertiser_id = $1)
                   AND ($4::TEXT IS NULL OR status = $4) AND (created_at, id) < ($5, $6)
                 ORDER BY created_at DESC, id DESC
                 LIMIT $7 + $8)
               ORDER BY created_at DESC, id DESC
               LIMIT $7 OFFSET $8) AS page
           ON page.id = payouts.id AND page.advertiser_id = payouts.advertiser_id
         ORDER BY payouts.created_at DESC, payouts.id DESC"
    ))
    .bind(filter.agent)
    .bind(pays)
    .bind(gets)
    .bind(filter.status.map(Status::as_str))
    .bind(created_at)
    .bind(id)
    .bind(page.limit_and_one())
    .bind(page.offset())
    .fetch_all(conn)
    .await?)
}

/// So many, as far as pages by number reach.
pub(crate) async fn count_payouts(conn: &mut PgConnection, filter: &Filter) -> Result<i64> {
    let (pays, gets) = filter.sides();
    Ok(sqlx::query_scalar(
        "SELECT count(*)
           FROM ((SELECT
                    FROM payouts
                   WHERE $2 AND advertiser_id = $1 AND ($4::TEXT IS NULL OR status = $4)
                   LIMIT $5)
                 UNION ALL
                 (SELECT
                    FROM payouts
                   WHERE $3 AND affiliate_id = $1 AND NOT ($2 AND advertiser_id = $1)
                     AND ($4::TEXT IS NULL OR status = $4)
                   LIMIT $5)
                 LIMIT $5) AS counted",
    )
    .bind(filter.agent)
    .bind(pays)
    .bind(gets)
    .bind(filter.status.map(Status::as_str))
    .bind(REACH_MAX)
    .fetch_one(conn)
    .await?)
}

/// Moves locked payouts on.
pub(crate) async fn set_status(
    conn: &mut PgConnection,
    ids: &[PayoutId],
    status: Status,
    reference: Option<&str>,
    failure: Option<&str>,
    now: DateTime<Utc>,
) -> Result<()> {
    let updated = sqlx::query(
        "UPDATE payouts
            SET status = $2, reference = COALESCE($3, reference), failure = $4, updated_at = $5,
                paid_at = CASE $2 WHEN 'paid' THEN $5 END
          WHERE id = ANY ($1)",
    )
    .bind(ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
    .bind(status.as_str())
    .bind(reference)
    .bind(failure)
    .bind(now)
    .execute(conn)
    .await?;
    if updated.rows_affected() == ids.len() as u64 {
        return Ok(());
    }
    Err(Error::bug(anyhow::anyhow!("{} of {} payouts updated", updated.rows_affected(), ids.len())))
}

/// Where agents' usdc payouts go, and from when.
pub(crate) async fn list_addresses(
    conn: &mut PgConnection,
    agents: &[AgentId],
) -> Result<HashMap<AgentId, (String, DateTime<Utc>)>> {
    let rows: Vec<(AgentId, String, DateTime<Utc>)> =
        sqlx::query_as("SELECT agent_id, address, usable_at FROM payout_addresses WHERE agent_id = ANY ($1)")
            .bind(agents.iter().map(|agent| agent.uuid()).collect::<Vec<_>>())
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().map(|(agent, address, usable_at)| (agent, (address, usable_at))).collect())
}

/// Stores an address: the first is good at `now`, another one at `later`, the same one as before. Tells
/// whether it is another one than before.
pub(crate) async fn save_address(
    conn: &mut PgConnection,
    agent: AgentId,
    address: &str,
    now: DateTime<Utc>,
    later: DateTime<Utc>,
) -> Result<(String, DateTime<Utc>, bool)> {
    Ok(sqlx::query_as(
        "WITH before AS (
                 SELECT address FROM payout_addresses WHERE agent_id = $1)
         INSERT INTO payout_addresses AS kept (agent_id, address, usable_at, updated_at)
         VALUES ($1, $2, $3, $3)
         ON CONFLICT (agent_id) DO UPDATE
            SET address = EXCLUDED.address,
                usable_at = CASE WHEN kept.address = EXCLUDED.address THEN kept.usable_at ELSE $4 END,
                updated_at = EXCLUDED.updated_at
         RETURNING address, usable_at, coalesce((SELECT before.address <> kept.address FROM before), FALSE)",
    )
    .bind(agent)
    .bind(address)
    .bind(now)
    .bind(later)
    .fetch_one(conn)
    .await?)
}

/// Whether this is the cluster and the timeline in which payouts were last known to be right.
pub(crate) async fn is_known_incarnation(conn: &mut PgConnection) -> Result<bool> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (
             SELECT FROM payout_guard AS guard, pg_control_system() AS control
              WHERE guard.system_identifier = control.system_identifier
                AND guard.timeline = ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::BIT(32)::BIGINT)",
    )
    .fetch_one(conn)
    .await?)
}

pub(crate) async fn save_incarnation(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "INSERT INTO payout_guard (system_identifier, timeline, since)
         SELECT system_identifier,
                ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::BIT(32)::BIGINT, $1
           FROM pg_control_system()
         ON CONFLICT (only_row) DO UPDATE
            SET system_identifier = excluded.system_identifier, timeline = excluded.timeline, since = excluded.since",
    )
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// What an operator compares after a restore: payouts on their way first, then the latest.
pub(crate) async fn list_to_compare(conn: &mut PgConnection, limit: i64) -> Result<Vec<Payout>> {
    Ok(sqlx::query_as(select_payouts!(
        "ORDER BY payouts.status IN ('pending', 'processing') DESC, payouts.created_at DESC, payouts.id DESC
         LIMIT $1"
    ))
    .bind(limit)
    .fetch_all(conn)
    .await?)
}
