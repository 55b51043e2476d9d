//! What Stripe's words amount to, whatever order they come in. Pure.
//!
//! Everything here only rises: a stage never goes back, a sum of refunds is the largest ever told. So events
//! need no order: the same set of them gives the same result.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, clippy::as_conversions)]

use crate::money::{Micros, OutOfRange};

/// A kind of reversal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// We or the operator gave money back.
    Refund,
    /// The card's owner took it back.
    Dispute,
}

impl Kind {
    /// The column value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refund => "refund",
            Self::Dispute => "dispute",
        }
    }

    /// How far a reversal of this status has come, and whether the money is away at that stage.
    pub fn stage(self, status: &str) -> (i16, bool) {
        match (self, status) {
            (Self::Refund, "pending" | "requires_action") => (0, true),
            (Self::Refund, "failed" | "canceled") => (2, false),
            (Self::Refund, _) => (1, true),
            // A question of the bank's: nothing has moved.
            (Self::Dispute, "warning_needs_response") => (0, false),
            (Self::Dispute, "warning_under_review") => (1, false),
            (Self::Dispute, "needs_response") => (2, true),
            (Self::Dispute, "lost") => (4, true),
            // A dispute that was lost can still be won; one that was won stays so.
            (Self::Dispute, "won" | "warning_closed" | "prevented") => (5, false),
            (Self::Dispute, _) => (3, true),
        }
    }
}

/// What is known of a payment's way back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, sqlx::FromRow)]
pub struct Reversed {
    /// The largest sum of refunds that its charge was ever said to have.
    pub charge_micros: Micros,
    /// Refunds that stand.
    pub refunds_micros: Micros,
    /// Refunds that came to nothing.
    pub failed_micros: Micros,
    /// Disputes that hold the money or were lost.
    pub disputes_micros: Micros,
}

impl Reversed {
    /// How much of the payment is back with its payer. Refunds are told twice, one by one and as the
    /// charge's sum; either may come first or alone.
    pub fn total(self) -> Result<Micros, OutOfRange> {
        let by_charge = self.charge_micros.minus(self.failed_micros)?;
        self.refunds_micros.max(by_charge).max(Micros::ZERO).plus(self.disputes_micros)
    }
}

/// How far an invoice has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum InvoiceStage {
    /// Its payment failed, and is tried again.
    Failed,
    /// It will not be paid.
    GivenUp,
    /// It is paid.
    Paid,
}

impl InvoiceStage {
    /// The column value.
    pub const fn number(self) -> i16 {
        match self {
            Self::Failed => 2,
            Self::GivenUp => 3,
            Self::Paid => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_away_is_the_same_whoever_told_it() {
        let check = |charge, refunds, failed, disputes, total| {
            let reversed = Reversed {
                charge_micros: Micros(charge),
                refunds_micros: Micros(refunds),
                failed_micros: Micros(failed),
                disputes_micros: Micros(disputes),
            };
            assert_eq!(reversed.total(), Ok(Micros(total)), "{reversed:?}");
        };
        check(0, 0, 0, 0, 0);
        check(20, 0, 0, 0, 20); // the charge's sum alone
        check(0, 20, 0, 0, 20); // the refund alone
        check(20, 20, 0, 0, 20); // both
        check(20, 0, 20, 0, 0); // it failed
        check(25, 5, 20, 0, 5); // the first of two failed
        check(20, 5, 20, 0, 5); // the same, the sum told before the second
        check(5, 5, 0, 15, 20); // the rest is disputed
        check(0, 0, 20, 0, 0);
    }

    #[test]
    fn stages_rise_along_every_way_a_reversal_can_go() {
        for (kind, way) in [
            (Kind::Refund, &["pending", "succeeded", "failed"][..]),
            (Kind::Refund, &["requires_action", "succeeded"]),
            (Kind::Dispute, &["warning_needs_response", "warning_under_review", "warning_closed"]),
            (Kind::Dispute, &["warning_needs_response", "needs_response", "under_review", "lost", "won"]),
            (Kind::Dispute, &["needs_response", "under_review", "won"]),
        ] {
            let stages: Vec<i16> = way.iter().map(|status| kind.stage(status).0).collect();
            assert!(stages.windows(2).all(|pair| pair[0] < pair[1]), "{way:?}: {stages:?}");
        }
    }
}
