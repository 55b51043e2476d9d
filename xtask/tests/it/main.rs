//! Tests that start real programs and real servers.
//!
//! - `postgres`: starts that do not go by the book
//! - `process`: pid files, finding and stopping
//! - `seed`: the demo, in one go and in several

mod postgres;
mod process;
mod seed;
