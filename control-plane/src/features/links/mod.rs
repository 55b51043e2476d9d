//! Links: a destination behind a token, made by an affiliate for a program.
//!
//! Owns table `links`. Must stay true: a destination is a URL as the URL standard writes it, within the
//! program's hosts, and a valid `Location` as it stands; a key names one link for ever, also after its
//! end; a change that edges must know of leaves a row in `link_outbox` in the same transaction.
//! Others may call: [`ops`].

pub mod destination;
pub mod model;
pub mod ops;
pub mod publish;
pub(crate) mod queries;
pub mod routes;
pub mod wire;
