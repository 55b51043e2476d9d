//! What the control plane's tests stand on, as far as it is needed here: the whole service over a database of
//! its own, clients by role, and valid things with one call.

#[path = "../../../control-plane/tests/it/harness/app.rs"]
mod app;
#[path = "../../../control-plane/tests/it/harness/client.rs"]
mod client;
#[path = "../../../control-plane/tests/it/harness/contract.rs"]
mod contract;
#[path = "../../../control-plane/tests/it/harness/database.rs"]
mod database;
#[path = "../../../control-plane/tests/it/harness/factory.rs"]
mod factory;

pub(crate) use app::TestApp;
pub(crate) use client::Client;
pub(crate) use factory::Offer;
