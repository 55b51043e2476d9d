//! Why a click was counted and a conversion credited, step by step: rule, figures, time.
//!
//! Owns no table and decides nothing: it reads what clicks, conversions, commissions, payouts and the ledger
//! recorded, and says it in [`model::Reason`]s. Must stay true: what only the advertiser may know (its usage
//! and its wallet) is told to the advertiser alone.

mod clicks;
mod conversions;
pub mod model;
mod queries;
pub mod routes;
