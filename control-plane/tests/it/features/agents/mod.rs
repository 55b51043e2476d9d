//! Agents.

mod delete;
mod profile;
mod sign_up;
