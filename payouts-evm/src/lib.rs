//! Sends usdc payouts: signs token transfers, broadcasts them and follows them on an EVM chain.
//!
//! A program of its own, so that the key which can move the money lies in one small process without a
//! public listener, and nobody else builds the chain's libraries. What to send, when and what is final is
//! decided by `control_plane::features::payouts::usdc`; here is how a chain is spoken to.
//!
//! Must stay true: the key is never logged, stored or sent; a node is believed about what it has, never
//! about what it lacks.

pub mod admin;
pub mod config;
pub mod evm;
pub mod rpc;
pub mod run;
