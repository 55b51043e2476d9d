//! What runs by itself, driven a turn at a time.

mod drainer;
mod fold;
mod publisher;
