//! The network.

mod discover;
mod figures;
mod join;
mod plans;
