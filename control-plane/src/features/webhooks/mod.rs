//! Events, and webhooks that deliver them.
//!
//! An event is written by [`ops::emit`] in the transaction of what it reports; its payload is rendered
//! there, once, and those bytes are what is signed, delivered and pulled. A worker then puts committed
//! events into each side's feed and queues their deliveries.
//!
//! Owns tables `events`, `event_objects`, `event_outbox`, `event_feed`, `webhook_endpoints`,
//! `webhook_deliveries`, `webhook_attempts`. Must stay true: what commits has its event and what does not
//! has none; sequences of one object grow in commit order; whoever has read a feed up to a position has
//! missed nothing below it; every delivery is tried until it is answered with 2xx or given up.
//! Others may call: `ops::emit` with an [`event::Event`], and `ops::emit_suggestions` with what the matching
//! has found.

pub mod deliver;
pub mod deliveries;
pub mod describe;
pub mod endpoints;
pub mod event;
pub mod feed;
pub mod model;
pub mod ops;
pub(crate) mod queries;
pub mod routes;
pub mod sample;
pub mod signing;
pub mod trial;
pub mod wire;
