//! What runs by itself, without a caller: the drainer of clicks and the background jobs.
//!
//! Every loop has the form: take a bounded batch, one transaction, commit, acknowledge. It stops at once
//! when asked to, between two turns.

pub mod backoff;
pub mod drainer;
pub mod jobs;
pub mod reconcile;
