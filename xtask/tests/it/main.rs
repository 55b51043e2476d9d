//! Tests that start real servers.
//!
//! - `postgres`: starts that do not go by the book

mod postgres;
