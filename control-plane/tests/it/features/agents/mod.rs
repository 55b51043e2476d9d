//! Agents.

mod profile;
mod sign_up;
