//! The drainer: every click once, whatever happens on the way.

mod basics;
mod watermarks;
