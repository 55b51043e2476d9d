//! Custom domains: hosts of agents' own that edges serve their links on, over HTTPS.
//!
//! Owns tables `domains`, `acme_accounts`. A domain is claimed, proven by a TXT record, given a certificate by
//! an ACME server over HTTP-01 (the edges answer the challenge), published to the edges, renewed, and removed.
//! Must stay true: at most one agent owns a host, and only after the DNS said so; a private key is readable
//! neither in Postgres nor in Redis; edges hear of every change at least once, and a later one wins.

mod acme;
mod certificate;
pub mod dns;
pub mod keeper;
pub mod model;
pub mod ops;
pub mod publish;
mod queries;
pub mod routes;
pub mod wire;
