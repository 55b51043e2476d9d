//! The worker: looks at the chain, then writes down what it saw; signs and sends what is due.
//!
//! No transaction is open while a node is asked. Nodes may lag, forget and contradict each other: the worst
//! that a wrong answer leads to is that the same bytes are sent again, because a payout is settled or failed
//! only by a receipt that is deep enough, and by nothing that is missing.

use super::chain::{Chain, ChainError};
use super::model::{Policy, Seen, State, Step, Transaction, Transfer, VERSIONS_MAX, WATCH_BLOCKS, furthest};
use super::ops::{self, Quote};
use super::queries;
use crate::error::{Code, Error, Result};
use crate::features::payouts::freeze;
use shared::Clock;
use shared::id::PayoutId;
use sqlx::{Connection, PgConnection, PgPool};
use std::collections::HashMap;
use std::sync::Arc;

/// Gas is asked for with a fifth more than a trial needed: the token's cost differs from block to block.
const GAS_SPARE_DIVISOR: u64 = 5;

/// Sends and follows the payouts of one address.
pub struct Worker<C> {
    db: PgPool,
    clock: Arc<dyn Clock>,
    chain: C,
    policy: Policy,
}

/// What a turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Did {
    /// Another worker has the address.
    pub elsewhere: bool,
    /// Payouts signed for.
    pub signed: u32,
    /// Dearer versions signed.
    pub replaced: u32,
    /// Times bytes were handed to a node.
    pub sent: u32,
    /// Transfers whose block is gone.
    pub reorganised: u32,
    /// Payouts that are paid.
    pub settled: u32,
    /// Payouts that failed.
    pub failed: u32,
    /// Transfers that no rule covers.
    pub alarmed: u32,
}

impl Did {
    /// Whether anything was done, other than looking.
    pub const fn anything(&self) -> bool {
        let Self { elsewhere: _, alarmed: _, signed, replaced, sent, reorganised, settled, failed } = *self;
        signed > 0 || replaced > 0 || sent > 0 || reorganised > 0 || settled > 0 || failed > 0
    }
}

impl<C: Chain> Worker<C> {
    /// A worker that pays from the chain's sender.
    pub fn new(db: PgPool, clock: Arc<dyn Clock>, chain: C, policy: Policy) -> Self {
        Self { db, clock, chain, policy }
    }

    /// The chain it works on.
    pub const fn chain(&self) -> &C {
        &self.chain
    }

    /// One turn: follow what is open, then sign what is due. One worker per address at a time.
    pub async fn turn(&self) -> Result<Did> {
        // Detached: should this turn be cut off, the lock ends with its connection.
        let mut lock = self.db.acquire().await?.detach();
        if !queries::try_lock_worker(&mut lock, self.chain.sender()).await? {
            lock.close().await?;
            return Ok(Did { elsewhere: true, ..Did::default() });
        }
        let did = self.locked_turn(&mut lock).await;
        queries::unlock_worker(&mut lock, self.chain.sender()).await?;
        lock.close().await?;
        did
    }

    async fn locked_turn(&self, conn: &mut PgConnection) -> Result<Did> {
        let mut did = Did::default();
        let head = self.chain.head().await.map_err(no_answer)?;
        let since = head.saturating_sub(WATCH_BLOCKS);
        let transfers = queries::list_followed(conn, self.chain.sender(), since).await?;
        let ids: Vec<_> = transfers.iter().map(|transfer| transfer.payout_id).collect();
        let mut versions: HashMap<PayoutId, Vec<Transaction>> = HashMap::new();
        for transaction in queries::list_transactions(conn, &ids).await? {
            versions.entry(transaction.payout_id).or_default().push(transaction);
        }
        for transfer in &transfers {
            let versions = versions.get(&transfer.payout_id).map_or(&[][..], Vec::as_slice);
            let followed = self.follow(conn, transfer, versions, head, &mut did).await;
            go_on(transfer.payout_id, followed, &mut did)?;
        }
        // What was signed may be sent again: its nonce lets it through once. A new one might pay twice.
        if !freeze::is_frozen(conn).await? {
            self.sign_due(conn, head, &mut did).await?;
        }
        self.report(conn).await?;
        Ok(did)
    }

    async fn follow(
        &self,
        conn: &mut PgConnection,
        transfer: &Transfer,
        versions: &[Transaction],
        head: u64,
        did: &mut Did,
    ) -> Result<()> {
        let id = transfer.payout_id;
        let newest = versions
            .last()
            .ok_or_else(|| Error::bug(anyhow::anyhow!("the transfer of payout {id} was never signed")))?;
        let seen = self.look(transfer, versions).await?;
        if seen == Seen::Nowhere && self.is_displaced(transfer, head).await? {
            alarm(did);
            tracing::error!(payout.id = %id, nonce = transfer.nonce, "another transaction has the nonce of a transfer");
        }
        let clock = &*self.clock;
        match transfer.step(&seen, head, newest, clock.now(), &self.policy) {
            Step::Wait => {}
            Step::Arrived => self.note(conn, id, State::Submitted, None).await?,
            Step::SendAgain => self.send(conn, newest, did).await?,
            Step::Replace => self.replace(conn, versions.len(), newest, did).await?,
            Step::Mined(mined) => self.note(conn, id, State::Mined, Some(&mined)).await?,
            Step::Reorganised => {
                did.reorganised += 1;
                metrics::counter!("cp_usdc_reorganisations_total").increment(1);
                tracing::warn!(payout.id = %id, final = transfer.state == State::Confirmed,
                    "the block of a transfer is gone; its bytes are sent again");
                self.note(conn, id, State::Submitted, None).await?;
                self.send(conn, newest, did).await?;
            }
            Step::Settle(mined) => {
                let mut tx = conn.begin().await?;
                ops::settle(&mut tx, clock, id, &mined).await?;
                tx.commit().await?;
                did.settled += 1;
                tracing::info!(payout.id = %id, transaction = %mined.hash, "a payout is paid");
            }
            Step::Fail(mined) => {
                let mut tx = conn.begin().await?;
                let reason = format!("The token refused the transfer: transaction {}.", mined.hash);
                ops::fail(&mut tx, clock, id, Some(&mined), &reason).await?;
                tx.commit().await?;
                did.failed += 1;
                tracing::warn!(payout.id = %id, transaction = %mined.hash, "a payout failed on the chain");
            }
            Step::Alarm(mined) => {
                alarm(did);
                tracing::error!(payout.id = %id, transaction = %mined.hash,
                    "a transfer went through and moved something else; is the token's address right?");
            }
        }
        Ok(())
    }

    /// Whether the nonce of a transfer that was seen nowhere is used, so deep in the chain that it stays so. Decides
    /// nothing: the node that did not see it may lag.
    async fn is_displaced(&self, transfer: &Transfer, head: u64) -> Result<bool> {
        let deep = head.saturating_sub(self.policy.confirmations);
        match self.chain.nonce_at(deep).await {
            Ok(used) => Ok(used > transfer.nonce as u64),
            // Nodes need not remember what was so long ago.
            Err(ChainError::Refused { .. }) => Ok(false),
            Err(lost) => Err(no_answer(lost)),
        }
    }

    /// The furthest that any version got.
    async fn look(&self, transfer: &Transfer, versions: &[Transaction]) -> Result<Seen> {
        let mut all = Vec::with_capacity(versions.len());
        for version in versions.iter().rev() {
            let seen = self.chain.look_up(&version.hash, &transfer.recipient, transfer.amount_micros).await;
            let seen = seen.map_err(no_answer)?;
            let in_block = matches!(seen, Seen::Mined(_));
            all.push(seen);
            if in_block {
                break;
            }
        }
        Ok(furthest(all))
    }

    async fn note(
        &self,
        conn: &mut PgConnection,
        id: PayoutId,
        state: State,
        mined: Option<&super::model::Mined>,
    ) -> Result<()> {
        let mut tx = conn.begin().await?;
        ops::note(&mut tx, &*self.clock, id, state, mined).await?;
        Ok(tx.commit().await?)
    }

    /// Hands bytes to a node. Whatever it says, the next turn looks at the chain.
    async fn send(&self, conn: &mut PgConnection, transaction: &Transaction, did: &mut Did) -> Result<()> {
        let id = transaction.payout_id;
        did.sent += 1;
        metrics::counter!("cp_usdc_sends_total").increment(1);
        match self.chain.send(&transaction.raw).await {
            Ok(()) => self.note(conn, id, State::Submitted, None).await,
            Err(ChainError::Lost(cause)) => {
                tracing::warn!(payout.id = %id, cause, "no reply to a transfer; it may have arrived");
                self.note(conn, id, State::Unknown, None).await
            }
            Err(refused @ ChainError::Refused { .. }) => {
                // Known already, a nonce that was used by a version of it: looked at next turn.
                metrics::counter!("cp_usdc_refusals_total").increment(1);
                tracing::warn!(payout.id = %id, cause = %refused, "a node did not take a transfer");
                Ok(())
            }
        }
    }

    async fn replace(
        &self,
        conn: &mut PgConnection,
        versions: usize,
        newest: &Transaction,
        did: &mut Did,
    ) -> Result<()> {
        let asked = self.chain.fees().await.map_err(no_answer)?;
        let raised = newest.fees().raised(asked, self.policy.fee_max).filter(|_| versions < VERSIONS_MAX);
        let Some(fees) = raised else {
            tracing::warn!(payout.id = %newest.payout_id, "a transfer is stuck and its fee may not be raised further");
            return self.send(conn, newest, did).await;
        };
        let mut tx = conn.begin().await?;
        let replacement = ops::replace(&mut tx, &*self.clock, &self.chain, newest, fees).await?;
        tx.commit().await?;
        if let Some(replacement) = replacement {
            did.replaced += 1;
            metrics::counter!("cp_usdc_replacements_total").increment(1);
            self.send(conn, &replacement, did).await?;
        }
        Ok(())
    }

    /// Signs and sends what is due, as far as the address's funds and the limit of open transfers go.
    async fn sign_due(&self, conn: &mut PgConnection, head: u64, did: &mut Did) -> Result<()> {
        let (open, reserved) = queries::sum_open(conn, self.chain.sender()).await?;
        // A block that was taken back may leave more open than were ever let out at once.
        let room = (self.policy.open_max - open).max(0);
        let due = queries::list_due(conn, self.clock.now(), room).await?;
        if due.is_empty() {
            metrics::gauge!("cp_usdc_short").set(0.0);
            return Ok(());
        }
        let fees = self.chain.fees().await.map_err(no_answer)?;
        let funds = self.chain.funds().await.map_err(no_answer)?;
        let nonce_least = self.chain.nonce_at(head).await.map_err(no_answer)?;
        let mut token = funds.token.minus(reserved).map_err(Error::bug)?;
        let mut short = fees.fee > self.policy.fee_max;
        for (id, address, amount) in due {
            if short || token < amount {
                short = true;
                break;
            }
            let gas = match self.chain.gas_for(&address, amount).await {
                Ok(gas) => gas + gas / GAS_SPARE_DIVISOR,
                Err(ChainError::Refused { message, .. }) => {
                    self.refuse(conn, id, &message, did).await?;
                    continue;
                }
                Err(lost) => return Err(no_answer(lost)),
            };
            if funds.wei < u128::from(gas) * u128::from(fees.fee) {
                short = true;
                break;
            }
            token = token.minus(amount).map_err(Error::bug)?;
            let signed = self.sign(conn, id, Quote { nonce_least, gas, fees }, did).await;
            go_on(id, signed, did)?;
        }
        metrics::gauge!("cp_usdc_short").set(u8::from(short));
        Ok(())
    }

    async fn sign(&self, conn: &mut PgConnection, id: PayoutId, quote: Quote, did: &mut Did) -> Result<()> {
        let mut tx = conn.begin().await?;
        let signed = ops::sign(&mut tx, &*self.clock, &self.chain, id, quote).await?;
        // From here on the bytes outlive this process; nothing was sent before.
        tx.commit().await?;
        if let Some(transaction) = signed {
            did.signed += 1;
            self.send(conn, &transaction, did).await?;
        }
        Ok(())
    }

    /// Fails a payout that the token would refuse, before anything was signed for it.
    async fn refuse(
        &self,
        conn: &mut PgConnection,
        id: PayoutId,
        message: &str,
        did: &mut Did,
    ) -> Result<()> {
        let reason = format!("The token would refuse the transfer: {message}");
        let reason: String = reason.chars().filter(|c| !c.is_control()).take(200).collect();
        let mut tx = conn.begin().await?;
        ops::refuse(&mut tx, &*self.clock, id, &reason).await?;
        tx.commit().await?;
        did.failed += 1;
        tracing::warn!(payout.id = %id, "the token would refuse a payout");
        Ok(())
    }

    async fn report(&self, conn: &mut PgConnection) -> Result<()> {
        let (due, age, open) = queries::measure(conn, self.chain.sender(), self.clock.now()).await?;
        metrics::gauge!("cp_usdc_due_payouts").set(shown(due));
        metrics::gauge!("cp_usdc_open_transfers").set(shown(open));
        metrics::gauge!("cp_usdc_open_age").set(shown(age));
        Ok(())
    }

    /// Gives a payout up whose nonce another transaction used, as the chain shows from `confirmations` blocks
    /// ago; anything else is refused. For an operator who has looked.
    pub async fn abandon(&self, id: PayoutId) -> anyhow::Result<()> {
        let mut lock = self.db.acquire().await?.detach();
        anyhow::ensure!(
            queries::try_lock_worker(&mut lock, self.chain.sender()).await?,
            "a worker runs for this address: stop it first"
        );
        let outcome = self.abandon_locked(&mut lock, id).await;
        queries::unlock_worker(&mut lock, self.chain.sender()).await?;
        lock.close().await?;
        outcome
    }

    async fn abandon_locked(&self, conn: &mut PgConnection, id: PayoutId) -> anyhow::Result<()> {
        let (transfer, versions) = ops::load(conn, id).await?;
        let seen = self.look(&transfer, &versions).await?;
        anyhow::ensure!(seen == Seen::Nowhere, "the chain knows a transaction of this payout: {seen:?}");
        let deep = self.chain.head().await?.saturating_sub(self.policy.confirmations);
        let used = self.chain.nonce_at(deep).await?;
        anyhow::ensure!(
            used > transfer.nonce as u64,
            "nonce {} is not used {} blocks ago: the transfer may still go through",
            transfer.nonce,
            self.policy.confirmations
        );
        let mut tx = conn.begin().await?;
        let reason = "Its transaction was displaced by another one of the same address.";
        ops::fail(&mut tx, &*self.clock, id, None, reason).await?;
        Ok(tx.commit().await?)
    }
}

/// One payout that cannot be dealt with is no reason to leave the others; a node or a database that is away is.
fn go_on(id: PayoutId, outcome: Result<()>, did: &mut Did) -> Result<()> {
    match outcome {
        Err(error) if error.code == Code::Internal => {
            alarm(did);
            tracing::error!(payout.id = %id, cause = ?error, "a payout cannot be dealt with");
            Ok(())
        }
        outcome => outcome,
    }
}

/// Somebody has to look.
fn alarm(did: &mut Did) {
    did.alarmed += 1;
    metrics::counter!("cp_usdc_alarms_total").increment(1);
}

/// As a gauge takes it.
fn shown(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn no_answer(error: ChainError) -> Error {
    Error::unavailable(error)
}
