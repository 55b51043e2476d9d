//! Agents.

mod sign_up;
