//! Commands of the program that do one thing and end.

mod parked;
mod reconcile;
