//! SQL of the ledger.

use super::model::{Account, CURRENCY, Entry, Posted, Posting, Side, Standing};
use crate::error::{Error, Result};
use crate::money::Micros;
use crate::page::{Page, REACH_MAX};
use chrono::{DateTime, Utc};
use shared::id::{AgentId, TransferId};
use sqlx::PgConnection;
use uuid::Uuid;

pub(crate) async fn post(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    postings: &[Posting],
) -> Result<Vec<Posted>> {
    fn each<'a, T>(postings: &'a [Posting], pick: impl Fn(&'a Posting) -> T) -> Vec<T> {
        postings.iter().map(pick).collect()
    }
    let outcomes: Vec<(TransferId, String, Micros)> = sqlx::query_as(
        "SELECT transfer_id, outcome, missing_micros
           FROM ledger_post($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(each(postings, |_| TransferId::generate().uuid()))
    .bind(each(postings, |posting| posting.debit.owner.uuid()))
    .bind(each(postings, |posting| posting.debit.kind.as_str()))
    .bind(each(postings, |posting| posting.credit.owner.uuid()))
    .bind(each(postings, |posting| posting.credit.kind.as_str()))
    .bind(each(postings, |posting| posting.amount.0))
    .bind(each(postings, |posting| posting.kind.as_str()))
    .bind(each(postings, |posting| posting.reference.as_str()))
    .bind(each(postings, |posting| posting.metered.map(|metered| metered.quantity)))
    .bind(each(postings, |posting| posting.metered.map(|metered| metered.unit.0)))
    .bind(each(postings, |posting| posting.metered.map(|metered| metered.month)))
    .bind(CURRENCY)
    .bind(now)
    .fetch_all(conn)
    .await?;
    outcomes
        .into_iter()
        .map(|(id, outcome, missing)| match outcome.as_str() {
            "posted" => Ok(Posted::Done(id)),
            "repeated" => Ok(Posted::Repeated(id)),
            "short" => Ok(Posted::Short(missing)),
            other => Err(Error::bug(anyhow::anyhow!("ledger_post said {other}"))),
        })
        .collect()
}

pub(crate) async fn find_standing(conn: &mut PgConnection, account: Account) -> Result<Option<Standing>> {
    Ok(sqlx::query_as(
        "SELECT balance_micros, version
           FROM ledger_accounts
          WHERE owner_id = $1 AND kind = $2 AND currency = $3",
    )
    .bind(account.owner)
    .bind(account.kind.as_str())
    .bind(CURRENCY)
    .fetch_optional(conn)
    .await?)
}

async fn find_account(conn: &mut PgConnection, account: Account) -> Result<Option<Uuid>> {
    Ok(sqlx::query_scalar(
        "SELECT id
           FROM ledger_accounts
          WHERE owner_id = $1 AND kind = $2 AND currency = $3",
    )
    .bind(account.owner)
    .bind(account.kind.as_str())
    .bind(CURRENCY)
    .fetch_optional(conn)
    .await?)
}

const fn sides(side: Side) -> (bool, bool) {
    match side {
        Side::Any => (true, true),
        Side::Debit => (true, false),
        Side::Credit => (false, true),
    }
}

/// So many, as far as pages by number reach.
pub(crate) async fn count_entries(conn: &mut PgConnection, account: Account, side: Side) -> Result<i64> {
    let Some(id) = find_account(conn, account).await? else { return Ok(0) };
    let (debits, credits) = sides(side);
    Ok(sqlx::query_scalar(
        "SELECT count(*)
           FROM ((SELECT FROM ledger_transfers WHERE $2 AND debit_account = $1 LIMIT $4)
                 UNION ALL
                 (SELECT FROM ledger_transfers WHERE $3 AND credit_account = $1 LIMIT $4)
                 LIMIT $4) AS counted",
    )
    .bind(id)
    .bind(debits)
    .bind(credits)
    .bind(REACH_MAX)
    .fetch_one(conn)
    .await?)
}

pub(crate) async fn list_entries(
    conn: &mut PgConnection,
    account: Account,
    side: Side,
    page: Page,
) -> Result<Vec<Entry>> {
    let Some(id) = find_account(conn, account).await? else { return Ok(Vec::new()) };
    let (debits, credits) = sides(side);
    Ok(sqlx::query_as(
        // Each side is read newest first along its own index, no further than the page reaches.
        "SELECT id, version, is_debit, amount_micros, kind, reference, quantity, unit_micros, balance_micros, created_at
           FROM ((SELECT id, TRUE AS is_debit, debit_version AS version, amount_micros, kind, reference, quantity,
                         unit_micros, debit_balance_micros AS balance_micros, created_at
                    FROM ledger_transfers
                   WHERE $2 AND debit_account = $1 AND debit_version < $6
                   ORDER BY debit_version DESC
                   LIMIT $4 + $5)
                 UNION ALL
                 (SELECT id, FALSE, credit_version, amount_micros, kind, reference, quantity,
                         unit_micros, credit_balance_micros, created_at
                    FROM ledger_transfers
                   WHERE $3 AND credit_account = $1 AND credit_version < $6
                   ORDER BY credit_version DESC
                   LIMIT $4 + $5)) AS entries
          ORDER BY version DESC
          LIMIT $4 OFFSET $5",
    )
    .bind(id)
    .bind(debits)
    .bind(credits)
    .bind(page.limit_and_one())
    .bind(page.offset())
    .bind(page.below().0)
    .fetch_all(conn)
    .await?)
}

pub(crate) async fn lock_wallets(
    conn: &mut PgConnection,
    owners: &[AgentId],
) -> Result<Vec<(AgentId, Micros)>> {
    Ok(sqlx::query_as(
        "SELECT owner_id, balance_micros
           FROM ledger_accounts
          WHERE owner_id = ANY ($1) AND kind = 'wallet' AND currency = $2
          ORDER BY id
            FOR NO KEY UPDATE",
    )
    .bind(owners.iter().map(|owner| owner.uuid()).collect::<Vec<_>>())
    .bind(CURRENCY)
    .fetch_all(conn)
    .await?)
}
