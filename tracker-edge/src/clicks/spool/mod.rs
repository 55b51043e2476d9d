//! The spool: clicks on local disk until Postgres has them.

pub mod config;

pub use config::SpoolConfig;
