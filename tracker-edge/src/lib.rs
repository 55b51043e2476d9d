//! The data plane: answers a tracking link with its redirect and remembers the click.

pub mod clicks;
