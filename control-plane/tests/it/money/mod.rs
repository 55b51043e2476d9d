//! Money as a whole: random operations at once against the real database, then every invariant.

mod chain;
mod chance;
mod operations;
mod planted;
mod races;
mod reorganised;
mod serial;
