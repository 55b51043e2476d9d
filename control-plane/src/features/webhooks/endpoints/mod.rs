//! Endpoints: where an agent wants its events delivered.
//!
//! Must stay true: secrets are stored sealed and shown once; making, changing and trying one needs Pro; a
//! URL is judged before it is stored, and at every connection again.

pub mod ops;
pub(crate) mod queries;
pub mod routes;
