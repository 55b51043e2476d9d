//! Payments: how money comes in from outside, and goes back there.
//!
//! Owns the tables `stripe_*` and `x402_payments`. A provider is asked and listened to here; what its word means is carried out
//! by `wallet::payments` and `subscriptions::months`. Must stay true: nothing is credited but on a provider's
//! signed or settled word; each word takes effect once, in the transaction that remembers it, and in
//! whatever order words come the result is the same.
//!
//! Calls to a provider are made between transactions, never inside one, and can be made again: each has
//! a key of its own that stays the same from try to try.
//!
//! Lock order: the provider's facts, top-up or subscription, then as `wallet` and `subscriptions` say.

pub mod pro;
pub mod routes;
pub mod stripe;
pub mod topups;
pub mod x402;
