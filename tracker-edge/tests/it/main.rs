//! The edge against real sockets, a real Redis and real crashes.
//!
//! - `harness`: an edge of one's own in this process, and what a control plane would publish
//! - `redirect`: a click is answered with its destination, byte for byte, and is in the stream afterwards
//! - `ship`: spool to stream and back, through every harm a Redis can come to; `ship_drainer` stands in for
//!   the control plane, `ship_redis` provides the servers

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod harness;
mod redirect;
mod ship;
mod ship_drainer;
mod ship_redis;
