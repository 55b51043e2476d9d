//! The spool: clicks on local disk until Postgres has them.

pub mod config;
mod folder;
mod format;
pub mod fs;
pub mod mapping;
pub(crate) mod metrics;
mod quarantine;
pub(crate) mod reader;
mod recovery;
mod segment;
mod set;
pub(crate) mod state;
mod upkeep;
mod writer;

pub use config::SpoolConfig;
pub use set::{OpenError, SpoolReport, SpoolSet};
pub use writer::{Appended, Durability, Slot, Writer};

#[cfg(test)]
mod tests;
