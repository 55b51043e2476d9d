//! What a payout is, which way it may go, and who gets how much. Pure.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, clippy::as_conversions)]

use crate::error::{Code, Error, Result};
use crate::features::commissions::claims::Payable;
use crate::features::webhooks::event::PayoutObject;
use crate::money::{Micros, OutOfRange};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::id::{AgentId, CommissionId, PayoutId, ProgramId};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// How long a changed address waits before it is paid to.
pub const ADDRESS_HOLD: TimeDelta = TimeDelta::hours(72);
/// Affiliates paid in one call; the rest is for the next.
pub const AFFILIATES_MAX: usize = 1_000;

/// How the money goes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PayoutMethod)]
pub enum Method {
    /// From the advertiser's wallet to the affiliate's, at once.
    #[default]
    Wallet,
    /// The advertiser pays elsewhere and says so with mark-paid.
    External,
    /// From the advertiser's wallet to the affiliate's address.
    Usdc,
}

/// Where a payout stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PayoutStatus)]
pub enum Status {
    /// Asked for by the affiliate; the advertiser's wallet cannot cover it yet.
    AwaitingFunds,
    /// Its commissions are taken; nothing has left yet.
    Pending,
    /// On its way.
    Processing,
    /// Arrived.
    Paid,
    /// It did not; its commissions are free again.
    Failed,
}

macro_rules! columns {
    ($($name:ident { $($variant:ident = $text:literal),* })*) => {$(
        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The column value and the API's word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl TryFrom<String> for $name {
            type Error = UnknownWord;

            fn try_from(text: String) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or(UnknownWord(text))
            }
        }
    )*};
}
columns! {
    Method { Wallet = "wallet", External = "external", Usdc = "usdc" }
    Status { AwaitingFunds = "awaiting_funds", Pending = "pending", Processing = "processing", Paid = "paid", Failed = "failed" }
}

/// A column holds a word this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("unknown word `{0}`")]
pub struct UnknownWord(pub(super) String);

impl Status {
    /// Whether a payout may go from here to there.
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::AwaitingFunds, Self::Pending | Self::Paid | Self::Failed)
                | (Self::Pending, Self::Processing | Self::Paid | Self::Failed)
                | (Self::Processing, Self::Paid | Self::Failed)
        )
    }

    /// The next state, or 409.
    pub fn become_next(self, next: Self) -> Result<Self> {
        if self.may_become(next) {
            return Ok(next);
        }
        Err(Error::new(
            Code::InvalidState,
            format!("The payout is {}.", self.as_str()),
            "Nothing is left to do: GET /api/payouts/:id shows it.",
        )
        .with("status", self.as_str()))
    }
}

/// A payout.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Payout {
    /// Its id.
    pub id: PayoutId,
    /// Who pays.
    pub advertiser_id: AgentId,
    /// For what program.
    pub program_id: ProgramId,
    /// Who is paid.
    pub affiliate_id: AgentId,
    /// The payee's handle.
    pub affiliate_handle: String,
    /// How much.
    pub amount_micros: Micros,
    /// In what.
    pub currency: String,
    /// How.
    #[sqlx(try_from = "String")]
    pub method: Method,
    /// How far it is.
    #[sqlx(try_from = "String")]
    pub status: Status,
    /// usdc: where to.
    pub address: Option<String>,
    /// usdc: not before.
    pub not_before: Option<DateTime<Utc>>,
    /// What names the payment outside.
    pub reference: Option<String>,
    /// Why it failed.
    pub failure: Option<String>,
    /// The affiliate asked for it.
    pub requested: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last moved on.
    pub updated_at: DateTime<Utc>,
    /// When it arrived.
    pub paid_at: Option<DateTime<Utc>>,
    /// How many commissions it pays; none once it failed.
    pub commission_count: i64,
}

impl Payout {
    /// What its events say.
    pub fn as_event(&self) -> PayoutObject {
        PayoutObject {
            id: self.id,
            status: self.status.as_str().to_owned(),
            method: self.method.as_str().to_owned(),
            program_id: self.program_id,
            advertiser_id: self.advertiser_id,
            affiliate_id: self.affiliate_id,
            amount: self.amount_micros,
            currency: self.currency.clone(),
            commission_count: self.commission_count,
            reference: self.reference.clone(),
            failure: self.failure.clone(),
            created_at: self.created_at.into(),
            paid_at: self.paid_at.map(Into::into),
        }
    }
}

/// What one affiliate is to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Who.
    pub affiliate: AgentId,
    /// How much, what was taken back subtracted.
    pub amount: Micros,
    /// For which commissions.
    pub commissions: Vec<CommissionId>,
}

/// Why an affiliate gets nothing now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeftReason {
    /// Less than the program's `min_payout`.
    BelowMinPayout,
    /// Refunds outweigh what it earned since.
    NothingDue,
    /// It has set no address for usdc.
    NoAddress,
    /// More affiliates than one call pays: call again.
    NextCall,
}

/// An affiliate that gets nothing now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Who.
    pub affiliate: AgentId,
    /// How much is open.
    pub amount: Micros,
    /// Why.
    pub reason: LeftReason,
}

/// Who gets what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Paid now.
    pub due: Vec<Due>,
    /// Not now.
    pub left: Vec<Left>,
}

impl Plan {
    /// Groups what is payable by affiliate and nets off what was taken back.
    pub fn of(payable: &[Payable], min_payout: Micros) -> Result<Self, OutOfRange> {
        let mut by_affiliate: BTreeMap<AgentId, Due> = BTreeMap::new();
        for one in payable {
            let due = by_affiliate.entry(one.affiliate_id).or_insert_with(|| Due {
                affiliate: one.affiliate_id,
                amount: Micros::ZERO,
                commissions: Vec::new(),
            });
            due.amount = due.amount.plus(one.amount_micros)?;
            due.commissions.push(one.id);
        }
        let mut plan = Self::default();
        for due in by_affiliate.into_values() {
            let reason = if due.amount <= Micros::ZERO {
                LeftReason::NothingDue
            } else if due.amount < min_payout {
                LeftReason::BelowMinPayout
            } else if plan.due.len() >= AFFILIATES_MAX {
                LeftReason::NextCall
            } else {
                plan.due.push(due);
                continue;
            };
            plan.left.push(Left { affiliate: due.affiliate, amount: due.amount, reason });
        }
        Ok(plan)
    }

    /// Leaves out those for whom there is a reason.
    pub fn leave(&mut self, reason_for: impl Fn(AgentId) -> Option<LeftReason>) {
        let left = &mut self.left;
        self.due.retain(|due| match reason_for(due.affiliate) {
            None => true,
            Some(reason) => {
                left.push(Left { affiliate: due.affiliate, amount: due.amount, reason });
                false
            }
        });
    }

    /// The sum of what is paid now.
    pub fn total(&self) -> Result<Micros, OutOfRange> {
        self.due.iter().try_fold(Micros::ZERO, |sum, due| sum.plus(due.amount))
    }

    /// Names exactly this plan: the same payees, amounts and commissions, by the same way.
    pub fn token(&self, program: ProgramId, method: Method) -> String {
        let mut hash = Sha256::new();
        hash.update(program.uuid().as_bytes());
        hash.update(method.as_str());
        for due in &self.due {
            hash.update(due.affiliate.uuid().as_bytes());
            hash.update(due.amount.0.to_be_bytes());
            let mut commissions = due.commissions.clone();
            commissions.sort_unstable();
            for id in commissions {
                hash.update(id.uuid().as_bytes());
            }
            hash.update([0]);
        }
        format!("prv_{}", hex::encode(hash.finalize()))
    }
}

#[cfg(test)]
#[path = "model/tests.rs"]
mod tests;
