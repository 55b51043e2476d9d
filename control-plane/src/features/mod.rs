//! The product: one folder per noun. Each has the same files: `routes` (HTTP), `wire` (JSON shapes),
//! `model` (pure rules), `ops` (steps in one transaction), `queries` (all SQL).

pub mod accounts;
pub mod agents;
pub mod attribution;
pub mod audit;
pub mod clicks;
pub mod commissions;
pub mod conversions;
pub mod domains;
pub mod explain;
pub mod keys;
pub mod ledger;
pub mod link_outbox;
pub mod links;
pub mod matching;
pub mod network;
pub mod partnerships;
pub mod payments;
pub mod payouts;
pub mod programs;
pub mod signers;
pub mod stats;
pub mod subscriptions;
pub mod trade;
pub mod usage;
pub mod wallet;
pub mod webhooks;
