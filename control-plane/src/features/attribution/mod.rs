//! Agent attribution: what an agent recommended, and what a merchant confirmed.
//!
//! Owns tables `attribution_events` and `verifications`. Must stay true: an event is a click in metering,
//! stats and attribution, no more and no less; a token's nonce is spent once per merchant; the same
//! verification again gives the same answer. Others may call: `ops`, and `header` for what rides on a payment.

pub mod header;
pub mod model;
pub mod ops;
pub(crate) mod queries;
pub mod routes;
pub mod wire;
