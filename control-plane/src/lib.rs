//! The control plane: decides what a click was worth, and serves everything but the click.
//!
//! Five groups: `auth` (who is calling), `web` (how HTTP works), `features` (what the product does, a
//! folder per noun), `surfaces` (other doors into the same features), `workers` (what runs by itself).
//! Around them plumbing: `app`, `config`, `db`, `redis`, `error`, `money`, `page`, `text`, `metrics`,
//! `trace`.
//!
//! Must stay true: one transaction decides (rows, money, events and jobs of a call commit together);
//! the ledger is the only way money moves; a drained batch takes effect exactly once.

pub mod admin;
pub mod app;
pub mod auth;
pub mod commands;
pub mod config;
pub mod db;
pub mod error;
pub mod features;
pub mod metrics;
pub mod money;
mod named;
pub mod page;
pub mod redis;
pub mod seal;
pub mod stripe;
pub mod surfaces;
pub mod text;
pub mod time;
pub mod trace;
pub mod web;
pub mod workers;
pub mod x402;

pub use app::App;
pub use config::Config;
