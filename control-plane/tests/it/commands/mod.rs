//! Commands of the program that do one thing and end.

mod grants;
mod migrate;
mod parked;
mod reconcile;
mod redis_users;
