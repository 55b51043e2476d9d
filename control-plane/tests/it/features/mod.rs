//! Endpoints by feature.

mod agents;
mod ledger;
mod wallet;
