//! Endpoints by feature.

mod agents;
mod conversions;
mod ledger;
mod wallet;
