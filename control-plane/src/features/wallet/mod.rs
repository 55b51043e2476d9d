//! Wallet: what an agent can spend, how it is filled, and how it is filled by itself.
//!
//! Owns tables `wallets` (settings), `topups` (payments). Must stay true: a payment credits the wallet
//! once, whatever is sent twice; what went back is never more than what came in. What a wallet cannot give
//! back is owed, and whatever comes in repays that first. The balance is the
//! ledger's and is nowhere else.
//!
//! Lock order: top-up, the agent's row of `wallets` (its debts), then the ledger.
//!
//! Others may call: [`ops`], [`payments`].

pub mod auto_topup;
pub mod model;
pub mod ops;
pub mod payments;
pub(crate) mod queries;
pub mod routes;
pub mod wire;
