//! Endpoints by feature.

mod agents;
mod conversions;
pub(crate) mod domains;
mod explain;
mod keys;
mod ledger;
mod links;
mod matching;
mod network;
mod partnerships;
mod payments;
mod payouts;
mod programs;
mod signers;
pub(crate) mod stats;
mod subscriptions;
mod trade;
mod usage;
mod wallet;
mod webhooks;
