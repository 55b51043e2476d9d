//! Wallet: what an agent can spend, how it is filled, and how it is filled by itself.
//!
//! Owns tables `wallets` (settings), `topups` (payments). Must stay true: a payment credits the wallet
//! once, whatever is sent twice; what went back is never more than what came in. The balance is the
//! ledger's and is nowhere else.
//!
//! Others may call: [`ops`].

pub mod auto_topup;
pub mod model;
pub mod ops;
pub(crate) mod queries;
pub mod routes;
pub mod wire;
