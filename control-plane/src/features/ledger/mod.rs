//! Ledger: who has how much, and every movement that made it so.
//!
//! Owns tables `ledger_accounts`, `ledger_transfers`. Must stay true: a transfer moves a positive amount
//! from one account to another and never changes; a balance is the sum of its account's transfers; a
//! wallet is never negative. The database itself refuses anything else (see the migration), and chains
//! each account's transfers by digest, so that a later change would show.
//!
//! Lock order: usage rows first, then ledger accounts. A transaction posts once, with everything it has
//! to post: accounts are locked in the order of their ids within one call, not across calls.
//!
//! Others may call: [`ops`], above all [`ops::post`], the one door.

pub mod model;
pub mod ops;
pub(crate) mod queries;
