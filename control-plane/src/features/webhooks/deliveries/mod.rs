//! Deliveries as their owner sees them: the log of tries, and sending one again.

pub mod ops;
pub(crate) mod queries;
pub mod routes;
