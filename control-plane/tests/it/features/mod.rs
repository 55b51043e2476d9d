//! Endpoints by feature.

mod agents;
mod conversions;
mod ledger;
mod usage;
mod wallet;
