//! The control plane through its doors, on a real Postgres and a real Redis.
//!
//! - `harness`: the app in process, a database and a Redis prefix per test, clients by role
//! - `features`: every endpoint, a folder per feature
//! - `money`: random operations at once, then every invariant
//! - `openapi`: the description says all that calls can answer
//! - `processes`: the real programs, killed in the middle and taken on the documented tour
//! - `surfaces`: the other doors into the same features
//! - `web`: what holds for every route
//! - `commands`: those that do one thing and end
//! - `workers`: the drainer, the jobs, the publisher, a turn at a time

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod commands;
mod features;
mod harness;
mod money;
mod openapi;
mod processes;
mod surfaces;
mod web;
mod workers;
