//! Payouts on a real development chain, over the real service, database and API.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod anvil;
mod chain_faults;
#[expect(dead_code, reason = "the control plane's tests use all of it")]
mod harness;
mod payouts;
mod process;
mod proxy;
mod world;
