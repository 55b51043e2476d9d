//! What runs by itself, driven a turn at a time.

mod clicks;
mod cluster;
mod drainer;
mod fold;
mod publisher;
