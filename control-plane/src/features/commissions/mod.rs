//! Commissions: what a conversion earns the affiliate.
//!
//! Owns table `commissions`. Must stay true: the terms of a commission are those of its conversion's
//! moment and never change; an amount changes only while no payout has taken the row; what is taken back
//! later is a row of its own with a negative amount. Others may call: everything in `ops`.

pub mod claims;
pub mod ops;
pub(crate) mod queries;
pub mod rules;
