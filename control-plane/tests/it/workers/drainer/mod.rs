//! The drainer: every click once, whatever happens on the way.

mod basics;
mod crashes;
mod delivery;
mod leases;
mod poison;
mod refusals;
mod watermarks;
