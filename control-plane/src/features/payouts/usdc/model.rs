//! What a transfer is, and what to do next about one, given what the chain shows. Pure.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, clippy::as_conversions)]

use crate::money::Micros;
use chrono::{DateTime, TimeDelta, Utc};
use shared::id::{AgentId, PayoutId};
use std::fmt;

/// How long a confirmed transfer is looked at for a reorganisation deeper than the confirmations.
pub const WATCH_BLOCKS: u64 = 256;
/// Nodes take a replacement only when both of its fees are at least a tenth higher; an eighth is safe.
const RAISE_DIVISOR: u64 = 8;
/// A transfer has at most so many versions: with an eighth each time the last costs ten times the first.
pub const VERSIONS_MAX: usize = 20;

/// A transaction's hash, as `0x` and 64 digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct TxHash(pub String);

impl fmt::Display for TxHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a transfer stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Its bytes are stored; nothing was sent.
    Signed,
    /// Sent, and no reply came: it may have arrived.
    Unknown,
    /// A node has it.
    Submitted,
    /// In a block.
    Mined,
    /// In a block that is deep enough.
    Confirmed,
    /// The chain refused it, or its nonce went to another transaction.
    Failed,
}

impl State {
    /// Every value.
    pub const ALL: &'static [Self] =
        &[Self::Signed, Self::Unknown, Self::Submitted, Self::Mined, Self::Confirmed, Self::Failed];

    /// The column value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Unknown => "unknown",
            Self::Submitted => "submitted",
            Self::Mined => "mined",
            Self::Confirmed => "confirmed",
            Self::Failed => "failed",
        }
    }
}

impl TryFrom<String> for State {
    type Error = crate::features::payouts::model::UnknownWord;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let known = Self::ALL.iter().copied().find(|state| state.as_str() == text);
        known.ok_or(crate::features::payouts::model::UnknownWord(text))
    }
}

/// Wei for a unit of gas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fees {
    /// At most.
    pub fee: u64,
    /// Of it, to whoever makes the block.
    pub tip: u64,
}

impl Fees {
    /// Fees that replace these in a node's queue: an eighth more, or what is asked now. `None` above `max`.
    pub fn raised(self, asked: Self, max: u64) -> Option<Self> {
        let more = |old: u64| old.checked_add(old.div_ceil(RAISE_DIVISOR).max(1));
        let raised = Self { fee: more(self.fee)?.max(asked.fee), tip: more(self.tip)?.max(asked.tip) };
        let raised = Self { fee: raised.fee.max(raised.tip), tip: raised.tip };
        (raised.fee <= max).then_some(raised)
    }
}

/// A transaction to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsigned {
    /// The sender's next number.
    pub nonce: u64,
    /// Who gets it.
    pub recipient: String,
    /// How much.
    pub amount: Micros,
    /// Gas at most.
    pub gas: u64,
    /// What a unit of it may cost.
    pub fees: Fees,
}

/// A signed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Its hash.
    pub hash: TxHash,
    /// Its bytes, as nodes take them.
    pub raw: Vec<u8>,
}

/// A version of a transfer.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Transaction {
    /// Its hash.
    pub hash: TxHash,
    /// The payout.
    pub payout_id: PayoutId,
    /// From 0.
    pub version: i32,
    /// Its bytes.
    pub raw: Vec<u8>,
    /// Gas at most.
    pub gas: i64,
    /// Wei for a unit of gas, at most.
    pub fee_wei: i64,
    /// Of it, to whoever makes the block.
    pub tip_wei: i64,
    /// When.
    pub signed_at: DateTime<Utc>,
}

impl Transaction {
    /// What it offers.
    pub fn fees(&self) -> Fees {
        let wei = |amount: i64| u64::try_from(amount).unwrap_or(0);
        Fees { fee: wei(self.fee_wei), tip: wei(self.tip_wei) }
    }
}

/// A payout's transfer.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Transfer {
    /// What it pays.
    pub payout_id: PayoutId,
    /// Whose money it is.
    pub advertiser_id: AgentId,
    /// The sender's number for it.
    pub nonce: i64,
    /// Who gets it.
    pub recipient: String,
    /// How much.
    pub amount_micros: Micros,
    /// Where it stands.
    #[sqlx(try_from = "String")]
    pub state: State,
    /// The block it is in.
    pub block_hash: Option<String>,
}

/// What became of a transaction in a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The amount went to the recipient.
    Moved,
    /// The token refused it.
    Reverted,
    /// It went through, and something else moved: not the token it should be.
    Strange,
}

/// A transaction in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mined {
    /// The version.
    pub hash: TxHash,
    /// The block.
    pub block_number: u64,
    /// Its hash.
    pub block_hash: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// Where a transaction is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The node does not know it.
    Nowhere,
    /// It waits in the node's queue.
    Waiting,
    /// In a block of the chain.
    Mined(Mined),
}

/// How patient, and how generous.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Blocks from which a transfer counts as final, its own included.
    pub confirmations: u64,
    /// A version that waited this long is replaced by a dearer one.
    pub stuck_after: TimeDelta,
    /// Wei for a unit of gas, at most.
    pub fee_max: u64,
    /// Transfers that are not in a block yet, at most: nodes keep a bounded queue for a sender.
    pub open_max: i64,
}

/// What to do about a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing has changed.
    Wait,
    /// A node has it.
    Arrived,
    /// Hand the newest version to a node again.
    SendAgain,
    /// Sign a dearer version.
    Replace,
    /// It is in this block now.
    Mined(Mined),
    /// The block it was in is gone: it waits again.
    Reorganised,
    /// It is final: the payout is paid.
    Settle(Mined),
    /// It is final that it was refused: the payout failed.
    Fail(Mined),
    /// It is final and wrong: a person has to look.
    Alarm(Mined),
}

impl Transfer {
    /// What to do, given the furthest any of its versions got.
    pub fn step(
        &self,
        seen: &Seen,
        head: u64,
        newest: &Transaction,
        now: DateTime<Utc>,
        policy: &Policy,
    ) -> Step {
        let was_in_block = matches!(self.state, State::Mined | State::Confirmed);
        let stuck = now.signed_duration_since(newest.signed_at) >= policy.stuck_after;
        match seen {
            Seen::Mined(mined) => self.step_mined(mined, head, policy),
            Seen::Waiting | Seen::Nowhere if was_in_block => Step::Reorganised,
            Seen::Waiting | Seen::Nowhere if stuck => Step::Replace,
            Seen::Waiting if self.state == State::Submitted => Step::Wait,
            Seen::Waiting => Step::Arrived,
            Seen::Nowhere => Step::SendAgain,
        }
    }

    fn step_mined(&self, mined: &Mined, head: u64, policy: &Policy) -> Step {
        let depth = head.saturating_sub(mined.block_number).saturating_add(1);
        let known = self.block_hash.as_ref() == Some(&mined.block_hash)
            && matches!(self.state, State::Mined | State::Confirmed);
        match mined.outcome {
            _ if depth < policy.confirmations && known => Step::Wait,
            _ if depth < policy.confirmations => Step::Mined(mined.clone()),
            Outcome::Moved if known && self.state == State::Confirmed => Step::Wait,
            Outcome::Moved => Step::Settle(mined.clone()),
            Outcome::Reverted => Step::Fail(mined.clone()),
            Outcome::Strange => Step::Alarm(mined.clone()),
        }
    }
}

/// The furthest of what was seen of a transfer's versions.
pub fn furthest(seen: impl IntoIterator<Item = Seen>) -> Seen {
    seen.into_iter().fold(Seen::Nowhere, |best, next| match (&best, &next) {
        (Seen::Mined(_), _) | (Seen::Waiting, Seen::Nowhere) => best,
        _ => next,
    })
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "cases are far from the numbers' ends")]
#[path = "model/tests.rs"]
mod tests;
