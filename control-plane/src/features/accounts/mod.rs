//! Opening an account with everything to start at once, and closing it: everything an agent owns ends with
//! it, except what money was moved for.
//!
//! Owns no table. Must stay true: after the answer no key of the agent works and none of its links count;
//! conversions, commissions, payouts and the ledger stay as they are.

pub mod ops;
pub mod routes;
pub mod wire;
