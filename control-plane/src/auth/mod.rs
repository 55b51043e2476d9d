//! Who is calling. Used by every feature, knows none.
//!
//! A caller proves itself with a bearer key, a person's browser with a session that a key began. Keys are looked up on every request, never cached, so a
//! revoked one stops working at once on every node.

pub mod api_keys;
pub mod extract;
pub(crate) mod queries;
pub mod sessions;
pub mod slat;

pub use extract::{Agent, MaybeAgent, SignedIn};
