//! How each fault is caused and healed. A cause returns when its fault is over; an error means that the
//! system did not do what the matrix asks, beyond what the account shows by itself.

pub(super) mod clients;
pub(super) mod control;
pub(super) mod crowds;
pub(super) mod edge;
pub(super) mod failover;
pub(super) mod frames;
pub(super) mod http2;
pub(super) mod links;
pub(super) mod postgres;
pub(super) mod redis;
pub(super) mod time;
pub(super) mod tls;

use crate::stack::SHARDS;

/// The click streams of a stack.
fn streams() -> impl Iterator<Item = String> {
    let keys = shared::keys::Keys::new("");
    (0..SHARDS).map(move |shard| keys.clicks(shard))
}
