//! SQL of usdc transfers.

use super::chain::Sender;
use super::model::{Mined, Signed, State, Transaction, Transfer, Unsigned};
use crate::error::{Error, Result};
use crate::features::payouts::model::Payout;
use crate::money::Micros;
use chrono::{DateTime, Utc};
use shared::id::PayoutId;
use sqlx::PgConnection;

/// Takes the worker's lock, until it is let go or this connection ends; `false` when another worker has it.
pub(crate) async fn try_lock_worker(conn: &mut PgConnection, sender: &Sender) -> Result<bool> {
    Ok(sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended('usdc ' || $1 || ' ' || $2, 0))")
        .bind(sender.chain_id.to_string())
        .bind(&sender.address)
        .fetch_one(conn)
        .await?)
}

/// Lets the lock go. A closed connection does so too, when the server notices.
pub(crate) async fn unlock_worker(conn: &mut PgConnection, sender: &Sender) -> Result<()> {
    sqlx::query("SELECT pg_advisory_unlock(hashtextextended('usdc ' || $1 || ' ' || $2, 0))")
        .bind(sender.chain_id.to_string())
        .bind(&sender.address)
        .execute(conn)
        .await?;
    Ok(())
}

/// Gives the sender's next nonce, at least `least`, and counts it.
pub(crate) async fn take_nonce(conn: &mut PgConnection, sender: &Sender, least: u64) -> Result<u64> {
    let next: i64 = sqlx::query_scalar(
        "INSERT INTO usdc_senders AS known (chain_id, address, next_nonce)
         VALUES ($1, $2, $3 + 1)
         ON CONFLICT (chain_id, address) DO UPDATE
            SET next_nonce = GREATEST(known.next_nonce, $3) + 1
         RETURNING next_nonce",
    )
    .bind(sender.chain_id as i64)
    .bind(&sender.address)
    .bind(least as i64)
    .fetch_one(conn)
    .await?;
    Ok((next - 1) as u64)
}

/// Payouts that may be sent at `now`, oldest first.
pub(crate) async fn list_due(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<(PayoutId, String, Micros)>> {
    Ok(sqlx::query_as(
        "SELECT id, address, amount_micros
           FROM payouts
          WHERE method = 'usdc' AND status = 'pending' AND (not_before IS NULL OR not_before <= $1)
          ORDER BY created_at, id
          LIMIT $2",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

/// How many transfers are in no block yet, and what they will take.
pub(crate) async fn sum_open(conn: &mut PgConnection, sender: &Sender) -> Result<(i64, Micros)> {
    Ok(sqlx::query_as(
        "SELECT count(*), coalesce(sum(amount_micros), 0)::BIGINT
           FROM usdc_transfers
          WHERE chain_id = $1 AND sender = $2 AND state IN ('signed', 'unknown', 'submitted')",
    )
    .bind(sender.chain_id as i64)
    .bind(&sender.address)
    .fetch_one(conn)
    .await?)
}

pub(crate) async fn insert_transfer(
    conn: &mut PgConnection,
    sender: &Sender,
    payout: &Payout,
    unsigned: &Unsigned,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO usdc_transfers (payout_id, advertiser_id, chain_id, sender, nonce, token, recipient, amount_micros,
                                     state, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'signed', $9, $9)",
    )
    .bind(payout.id)
    .bind(payout.advertiser_id)
    .bind(sender.chain_id as i64)
    .bind(&sender.address)
    .bind(unsigned.nonce as i64)
    .bind(&sender.token)
    .bind(&unsigned.recipient)
    .bind(unsigned.amount)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn insert_transaction(
    conn: &mut PgConnection,
    payout: PayoutId,
    version: i32,
    unsigned: &Unsigned,
    signed: &Signed,
    now: DateTime<Utc>,
) -> Result<()> {
    let wei = |amount: u64| i64::try_from(amount).map_err(Error::bug);
    let inserted = sqlx::query(
        "INSERT INTO usdc_transactions (hash, payout_id, advertiser_id, version, raw, gas, fee_wei, tip_wei, signed_at)
         SELECT $1, payout_id, advertiser_id, $3, $4, $5, $6, $7, $8
           FROM usdc_transfers
          WHERE payout_id = $2",
    )
    .bind(&signed.hash)
    .bind(payout)
    .bind(version)
    .bind(&signed.raw)
    .bind(wei(unsigned.gas)?)
    .bind(wei(unsigned.fees.fee)?)
    .bind(wei(unsigned.fees.tip)?)
    .bind(now)
    .execute(conn)
    .await?;
    if inserted.rows_affected() == 1 {
        return Ok(());
    }
    Err(Error::bug(anyhow::anyhow!("payout {payout} has no transfer to sign for")))
}

macro_rules! select_transfers {
    ($tail:literal) => {
        concat!(
            "SELECT payout_id, advertiser_id, nonce, recipient, amount_micros, state, block_hash
               FROM usdc_transfers ",
            $tail
        )
    };
}

/// Transfers to look after, in the order of their nonces: those that are not final, and those confirmed in
/// a block from `since` on.
pub(crate) async fn list_followed(
    conn: &mut PgConnection,
    sender: &Sender,
    since: u64,
) -> Result<Vec<Transfer>> {
    Ok(sqlx::query_as(select_transfers!(
        "WHERE chain_id = $1 AND sender = $2
           AND (state IN ('signed', 'unknown', 'submitted', 'mined') OR (state = 'confirmed' AND block_number >= $3))
         ORDER BY nonce"
    ))
    .bind(sender.chain_id as i64)
    .bind(&sender.address)
    .bind(since as i64)
    .fetch_all(conn)
    .await?)
}

pub(crate) async fn find_transfer(conn: &mut PgConnection, payout: PayoutId) -> Result<Option<Transfer>> {
    Ok(sqlx::query_as(select_transfers!("WHERE payout_id = $1")).bind(payout).fetch_optional(conn).await?)
}

pub(crate) async fn lock_transfer(conn: &mut PgConnection, payout: PayoutId) -> Result<Option<Transfer>> {
    Ok(sqlx::query_as(select_transfers!("WHERE payout_id = $1 FOR NO KEY UPDATE"))
        .bind(payout)
        .fetch_optional(conn)
        .await?)
}

/// Every version of some transfers, each transfer's oldest first.
pub(crate) async fn list_transactions(
    conn: &mut PgConnection,
    payouts: &[PayoutId],
) -> Result<Vec<Transaction>> {
    Ok(sqlx::query_as(
        "SELECT hash, payout_id, version, raw, gas, fee_wei, tip_wei, signed_at
           FROM usdc_transactions
          WHERE payout_id = ANY ($1)
          ORDER BY payout_id, version",
    )
    .bind(payouts.iter().map(|id| id.uuid()).collect::<Vec<_>>())
    .fetch_all(conn)
    .await?)
}

/// Sets the state of a locked transfer, and the block it is in; none takes it out of its block.
pub(crate) async fn set_state(
    conn: &mut PgConnection,
    payout: PayoutId,
    state: State,
    mined: Option<&Mined>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "UPDATE usdc_transfers
            SET state = $2, hash = $3, block_number = $4, block_hash = $5, updated_at = $6
          WHERE payout_id = $1",
    )
    .bind(payout)
    .bind(state.as_str())
    .bind(mined.map(|mined| &mined.hash))
    .bind(mined.map(|mined| mined.block_number as i64))
    .bind(mined.map(|mined| mined.block_hash.as_str()))
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// The states of a sender's transfers and how many are in each, and how long the oldest open one has waited.
pub(crate) async fn measure(
    conn: &mut PgConnection,
    sender: &Sender,
    now: DateTime<Utc>,
) -> Result<(i64, i64, i64)> {
    Ok(sqlx::query_as(
        "SELECT (SELECT count(*) FROM payouts WHERE method = 'usdc' AND status = 'pending'
                                                AND (not_before IS NULL OR not_before <= $3)),
                coalesce(extract(EPOCH FROM $3 - min(created_at)), 0)::BIGINT, count(*)
           FROM usdc_transfers
          WHERE chain_id = $1 AND sender = $2 AND state IN ('signed', 'unknown', 'submitted', 'mined')",
    )
    .bind(sender.chain_id as i64)
    .bind(&sender.address)
    .bind(now)
    .fetch_one(conn)
    .await?)
}
