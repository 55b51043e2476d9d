//! Endpoints by feature.

mod agents;
mod conversions;
mod keys;
mod ledger;
mod payouts;
mod programs;
mod usage;
mod wallet;
mod webhooks;
