//! The ledger: what `post` promises, and what the database refuses whoever asks.

mod post;
mod refusals;
