//! What runs by itself, driven a turn at a time.

mod clicks;
mod drainer;
mod fold;
mod publisher;
