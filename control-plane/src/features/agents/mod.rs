//! Agents: the accounts. Any agent can be advertiser, affiliate or both.
//!
//! Owns table `agents`. Must stay true: a handle belongs to one live agent; an account number is never
//! given twice; the key made at sign-up is shown once.

pub mod model;
pub mod ops;
pub(crate) mod queries;
pub mod routes;
pub mod wire;
