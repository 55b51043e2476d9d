//! The edge against real sockets, a real Redis and real crashes.
//!
//! - `ship`: spool to stream and back, through every harm a Redis can come to; `ship_drainer` stands in for
//!   the control plane, `ship_redis` provides the servers

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod ship;
mod ship_drainer;
mod ship_redis;
