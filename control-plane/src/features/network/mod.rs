//! The network: everybody's active programs, to find and to join.
//!
//! Owns no rows: it reads programs and partnerships and joins through their operations.

pub mod ops;
pub(crate) mod queries;
pub mod routes;
pub mod wire;
