//! Stats: what an agent's links and programs brought, told over a span of days and the one before it.
//!
//! Owns no table. Reads hourly and daily counts, never single clicks; what waits for the fold is added, so
//! that a click shows at once. Must stay true: a figure here is the same as in the feature that owns it.
//! Nobody calls it but the surfaces. Limits: [`model::DAYS`] of days, the ten strongest of every list.

pub mod model;
pub mod ops;
mod queries;
pub mod routes;
pub mod wire;
