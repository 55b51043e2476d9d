//! Commands of the program that do one thing and end.

mod grants;
mod parked;
mod reconcile;
mod redis_users;
