//! `/v1`, the agent attribution API: track, verify, commissions, payouts.
//!
//! Publisher and merchant keys, prefixed ids, amounts as integers in minor units, errors as
//! `{"error":{"code","message","details"}}`, limits per key with three headers on every reply.

mod error;
pub use error::V1Failure;
pub mod routes;
mod wire;
