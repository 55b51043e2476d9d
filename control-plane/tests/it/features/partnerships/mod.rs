//! Partnerships.

mod read;
mod update;
