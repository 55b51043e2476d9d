//! Endpoints by feature.

mod agents;
mod conversions;
mod keys;
mod ledger;
mod programs;
mod usage;
mod wallet;
mod webhooks;
