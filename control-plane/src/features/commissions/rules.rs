//! Terms and conversion to amount. Pure.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, clippy::as_conversions)]

use crate::money::{Micros, OutOfRange};

/// Hundredths of a percent in one.
const WHOLE_BP: i64 = 10_000;

/// What a program pays, as it was at the conversion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Terms {
    /// A share of a sale, in hundredths of a percent; leads earn nothing.
    Percentage {
        /// 0 to 10,000.
        rate_bp: i32,
    },
    /// The same for every lead or sale.
    Fixed {
        /// Per lead or sale.
        amount: Micros,
    },
}

impl Terms {
    /// The terms in a row's two columns, of which exactly one is set.
    pub fn from_columns(rate_bp: Option<i32>, fixed: Option<Micros>) -> Option<Self> {
        match (rate_bp, fixed) {
            (Some(rate_bp), None) => Some(Self::Percentage { rate_bp }),
            (None, Some(amount)) => Some(Self::Fixed { amount }),
            _ => None,
        }
    }

    /// The two columns.
    pub const fn to_columns(self) -> (Option<i32>, Option<Micros>) {
        match self {
            Self::Percentage { rate_bp } => (Some(rate_bp), None),
            Self::Fixed { amount } => (None, Some(amount)),
        }
    }

    /// The API's word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Percentage { .. } => "percentage",
            Self::Fixed { .. } => "fixed",
        }
    }

    /// The API's number: percent, or units of the currency. A basis point is 10,000 millionths of a percent.
    pub fn value(self) -> Micros {
        match self {
            Self::Percentage { rate_bp } => Micros(i64::from(rate_bp).saturating_mul(WHOLE_BP)),
            Self::Fixed { amount } => amount,
        }
    }

    /// What one lead (`revenue` is `None`) or sale earns, rounded half to even to the cent, once.
    pub fn earn(self, revenue: Option<Micros>) -> Result<Micros, OutOfRange> {
        match (self, revenue) {
            (Self::Percentage { rate_bp }, Some(revenue)) => revenue.share(rate_bp.into(), WHOLE_BP),
            (Self::Percentage { .. }, None) => Ok(Micros::ZERO),
            (Self::Fixed { amount }, _) => amount.share(1, 1),
        }
    }
}

/// What is left of a commission once `refunded` of `revenue` went back to the customer. It depends on the
/// total alone, not on the steps, so refunds that add up to the sale leave exactly nothing.
pub fn left_after_refunds(
    commission: Micros,
    revenue: Micros,
    refunded: Micros,
) -> Result<Micros, OutOfRange> {
    commission.share(revenue.minus(refunded)?.0, revenue.0)
}

#[cfg(test)]
#[path = "rules/tests.rs"]
mod tests;
