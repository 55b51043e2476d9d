//! What runs by itself, driven a turn at a time.

mod clicks;
mod closing;
mod cluster;
mod drainer;
mod fold;
mod publisher;
