//! Top-ups over x402: a payment shown within a request is settled and credited before the request is answered.
//!
//! Owns table `x402_payments`. Must stay true: a payment is credited once, to the account that showed it first,
//! when the facilitator says it has moved or the chain shows it; one whose settlement is unknown is neither
//! credited nor given up until the chain says which. Whatever is shown again is the same payment.

pub mod ops;
pub(crate) mod queries;
