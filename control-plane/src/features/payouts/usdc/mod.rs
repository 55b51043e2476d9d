//! Payouts to an address: signed once, sent until the chain has them, followed until they are final.
//!
//! Owns tables `usdc_senders`, `usdc_transfers`, `usdc_transactions`. Must stay true: a payout has one
//! transfer and a transfer one nonce, both for ever; bytes are stored before they are sent, so that after
//! a crash, a lost reply or a reorganisation the same bytes are sent again; a dearer version has the same
//! nonce, payee and amount. A chain executes a nonce once, so a payout is paid once at most, whatever
//! happens here. Knows no chain: [`chain::Chain`] is the door, and `payouts-evm` what is behind it.
//!
//! Limits: [`model::Policy`] bounds how many transfers are open at once; a transfer that waits delays those
//! after it, since nonces go in order.

pub mod chain;
pub mod model;
pub mod ops;
pub(crate) mod queries;
pub mod worker;
