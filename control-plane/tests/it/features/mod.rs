//! Endpoints by feature.

mod agents;
mod conversions;
mod keys;
mod ledger;
mod payouts;
mod links;
mod network;
mod partnerships;
mod programs;
mod usage;
mod wallet;
mod webhooks;
