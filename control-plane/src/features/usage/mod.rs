//! Usage: what accounts used of what is metered.
//!
//! Owns table `usage_months`. Must stay true: a unit is metered in the transaction of its effect.

pub mod ops;
pub(crate) mod queries;
