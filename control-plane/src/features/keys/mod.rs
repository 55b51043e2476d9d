//! Keys of an agent: the agent key is replaced, publisher and merchant keys are made and revoked.
//!
//! Owns no table; the keys are `auth`'s. Must stay true: a key's text is in one reply and nowhere else;
//! what revokes a key has revoked it on every node when it answers.

pub mod ops;
pub mod routes;
pub mod wire;
