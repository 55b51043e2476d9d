//! Payouts: approved commissions on their way to affiliates.
//!
//! Owns tables `payouts`, `payout_addresses`, `payout_guard`. Must stay true: a commission is in one payout at most,
//! claimed row by row under lock and never summed first and marked later; a payout's amount is the sum of
//! its commissions and never changes; `pending → processing → paid | failed`, and a failed one gives its
//! commissions back. An affiliate whose refunds outweigh its sales waits until they no longer do.
//!
//! Lock order: payout, its transfer, conversions by id, commissions by id, then the ledger.

pub mod address;
pub mod freeze;
pub mod funding;
pub mod model;
pub mod ops;
pub(crate) mod queries;
pub mod routes;
pub mod usdc;
pub mod wire;
