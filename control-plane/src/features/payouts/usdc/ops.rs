//! Steps on transfers. The caller owns the transaction; nothing here waits for a chain.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, clippy::as_conversions)]

use super::chain::Chain;
use super::model::{Fees, Mined, State, Transaction, Transfer, Unsigned};
use super::queries;
use crate::error::{Error, Result};
use crate::features::commissions::claims;
use crate::features::ledger::model::{Account, AccountKind, Posted, Posting, TransferKind};
use crate::features::ledger::ops as ledger;
use crate::features::payouts::model::{Method, Payout, Status};
use crate::features::payouts::{ops as payouts, queries as payout_queries};
use shared::Clock;
use shared::id::PayoutId;
use sqlx::PgConnection;

/// What signing needs to know of the moment.
#[derive(Clone, Copy, Debug)]
pub struct Quote {
    /// Transactions the sender has made: no nonce below this is free.
    pub nonce_least: u64,
    /// Gas the transfer needs.
    pub gas: u64,
    /// What it may cost.
    pub fees: Fees,
}

/// Signs a payout's only transfer and stores it; the payout is on its way. `None` when somebody was faster
/// or it may not be sent any more.
pub async fn sign<C: Chain>(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    chain: &C,
    id: PayoutId,
    quote: Quote,
) -> Result<Option<Transaction>> {
    let now = clock.now();
    let Some(payout) = lock_due(conn, clock, id).await? else { return Ok(None) };
    let recipient =
        payout.address.clone().ok_or_else(|| Error::bug(anyhow::anyhow!("payout {id} has no address")))?;
    let nonce = queries::take_nonce(conn, chain.sender(), quote.nonce_least).await?;
    let unsigned =
        Unsigned { nonce, recipient, amount: payout.amount_micros, gas: quote.gas, fees: quote.fees };
    queries::insert_transfer(conn, chain.sender(), &payout, &unsigned, now).await?;
    let transaction = store(conn, clock, chain, id, 0, &unsigned).await?;
    payouts::set_status(conn, clock, &payout, Status::Processing, None).await?;
    Ok(Some(transaction))
}

async fn lock_due(conn: &mut PgConnection, clock: &dyn Clock, id: PayoutId) -> Result<Option<Payout>> {
    let payout = payout_queries::lock_payout(conn, id).await?.ok_or_else(payouts::not_found)?;
    let held = payout.not_before.is_some_and(|usable_at| usable_at > clock.now());
    Ok((payout.method == Method::Usdc && payout.status == Status::Pending && !held).then_some(payout))
}

/// Signs a version and stores it.
async fn store<C: Chain>(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    chain: &C,
    id: PayoutId,
    version: i32,
    unsigned: &Unsigned,
) -> Result<Transaction> {
    let now = clock.now();
    let signed = chain.sign(unsigned).map_err(Error::bug)?;
    queries::insert_transaction(conn, id, version, unsigned, &signed, now).await?;
    Ok(Transaction {
        hash: signed.hash,
        payout_id: id,
        version,
        raw: signed.raw,
        gas: i64::try_from(unsigned.gas).map_err(Error::bug)?,
        fee_wei: i64::try_from(unsigned.fees.fee).map_err(Error::bug)?,
        tip_wei: i64::try_from(unsigned.fees.tip).map_err(Error::bug)?,
        signed_at: now,
    })
}

/// Signs a dearer version of a transfer: the same nonce, recipient and amount. `None` when it is in a block
/// by now.
pub async fn replace<C: Chain>(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    chain: &C,
    newest: &Transaction,
    fees: Fees,
) -> Result<Option<Transaction>> {
    let id = newest.payout_id;
    let Some(transfer) = queries::lock_transfer(conn, id).await? else { return Ok(None) };
    if !matches!(transfer.state, State::Signed | State::Unknown | State::Submitted) {
        return Ok(None);
    }
    let unsigned = Unsigned {
        nonce: u64::try_from(transfer.nonce).map_err(Error::bug)?,
        recipient: transfer.recipient.clone(),
        amount: transfer.amount_micros,
        gas: u64::try_from(newest.gas).map_err(Error::bug)?,
        fees,
    };
    let version =
        newest.version.checked_add(1).ok_or_else(|| Error::bug(anyhow::anyhow!("too many versions")))?;
    store(conn, clock, chain, id, version, &unsigned).await.map(Some)
}

/// Notes where a transfer is; what is final stays as it is. Tells whether that was news.
pub async fn note(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    id: PayoutId,
    state: State,
    mined: Option<&Mined>,
) -> Result<bool> {
    let Some(transfer) = queries::lock_transfer(conn, id).await? else { return Ok(false) };
    if transfer.state == State::Failed
        || (transfer.state == state && transfer.block_hash.as_ref() == mined.map(|mined| &mined.block_hash))
    {
        return Ok(false);
    }
    queries::set_state(conn, id, state, mined, clock.now()).await?;
    Ok(true)
}

/// The transfer is deep enough in the chain: the payout is paid, and what was set aside has left. Doing it
/// twice does it once.
pub async fn settle(conn: &mut PgConnection, clock: &dyn Clock, id: PayoutId, mined: &Mined) -> Result<()> {
    let payout = payout_queries::lock_payout(conn, id).await?.ok_or_else(payouts::not_found)?;
    let now = clock.now();
    if note(conn, clock, id, State::Confirmed, Some(mined)).await? && payout.status == Status::Processing {
        claims::settle(conn, &[id], now).await?;
        let posting = Posting {
            debit: Account::of(payout.advertiser_id, AccountKind::Held),
            credit: Account::of(payout.advertiser_id, AccountKind::PaidOut),
            amount: payout.amount_micros,
            kind: TransferKind::PayoutSent,
            reference: id.to_string(),
            metered: None,
        };
        if !matches!(ledger::post(conn, now, &posting).await?, Posted::Done(_)) {
            return Err(Error::bug(anyhow::anyhow!("payout {id} was not set aside")));
        }
        payouts::set_status(conn, clock, &payout, Status::Paid, Some(&mined.hash.0)).await?;
    }
    Ok(())
}

/// The transfer can never take effect any more: the payout failed and gives everything back.
pub async fn fail(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    id: PayoutId,
    mined: Option<&Mined>,
    reason: &str,
) -> Result<()> {
    let payout = payout_queries::lock_payout(conn, id).await?.ok_or_else(payouts::not_found)?;
    if payout.status != Status::Processing {
        return Err(Error::bug(anyhow::anyhow!(
            "payout {id} is {} and its transfer failed: {reason}",
            payout.status.as_str()
        )));
    }
    if note(conn, clock, id, State::Failed, mined).await? {
        payouts::fail(conn, clock, &payout, reason).await?;
    }
    Ok(())
}

/// A payout that cannot be signed for, because the token would refuse it.
pub async fn refuse(conn: &mut PgConnection, clock: &dyn Clock, id: PayoutId, reason: &str) -> Result<()> {
    let Some(payout) = lock_due(conn, clock, id).await? else { return Ok(()) };
    payouts::fail(conn, clock, &payout, reason).await.map(drop)
}

/// A payout's transfer with its versions, oldest first.
pub async fn load(conn: &mut PgConnection, id: PayoutId) -> Result<(Transfer, Vec<Transaction>)> {
    let transfer = queries::find_transfer(conn, id).await?.ok_or_else(payouts::not_found)?;
    Ok((transfer, queries::list_transactions(conn, &[id]).await?))
}
