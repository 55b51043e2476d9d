//! What tests stand on: [`TestApp`] runs the whole service on a port of its own, over a database of its
//! own (cloned from a migrated template) and under a Redis prefix of its own. The clock stands still.

mod app;
mod client;
pub(crate) mod contract;
mod database;
mod dns;
mod edge;
mod factory;
mod line;
mod pebble;
pub(crate) mod peers;
mod pooler;
mod process;
pub(crate) mod providers;
mod receiver;
mod roles;
mod rows;
mod site;

pub(crate) use app::TestApp;
pub(crate) use client::{Client, Reply};
pub(crate) use database::{TestDatabase, setting};
pub(crate) use dns::NameServer;
pub(crate) use edge::{SHARDS, TestSpool};
pub(crate) use factory::Offer;
pub(crate) use line::Line;
pub(crate) use pebble::Pebble;
pub(crate) use pooler::Pooler;
pub(crate) use process::Process;
pub(crate) use receiver::{Answer, Received, Receiver};
pub(crate) use site::{Site, System};
