//! Partnerships: an affiliate in a program.
//!
//! Owns table `partnerships`. Must stay true: one partnership per affiliate and program that is not
//! cancelled; the states and who may change them are [`model::Partnership::step`]'s; a change of state
//! leaves a row in `link_outbox` in the same transaction. Locks go program first, then partnership.
//! Others may call: [`ops`].

pub mod model;
pub mod ops;
pub(crate) mod queries;
pub mod routes;
pub mod wire;
