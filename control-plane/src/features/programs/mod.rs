//! Programs: what an advertiser pays for, and the rules under which it does.
//!
//! Owns table `programs` and, with a program that goes for good, the rows that hang on it. Must stay
//! true: a program with conversions is never deleted, only archived; every change an edge must know
//! of leaves a row in `link_outbox` in the same transaction; whoever changes a program or a
//! partnership locks the program's row first.
//! Others may call: [`ops`], and use [`model::Program`] and [`hosts`].

pub mod hosts;
pub mod model;
pub mod ops;
pub(crate) mod queries;
pub mod routes;
mod settings;
pub mod wire;
