//! A click's way from the request to the Redis stream.
//!
//! A click is in the spool before its redirect is written; shipping takes it from there.

pub mod ship;
pub mod spool;
