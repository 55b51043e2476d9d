//! Endpoints by feature.

mod agents;
mod conversions;
mod ledger;
mod programs;
mod usage;
mod wallet;
mod webhooks;
