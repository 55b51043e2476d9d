//! x402, payments within a request: what is asked for ([`terms`]), what is shown ([`payment`]), who carries it
//! out ([`facilitator`]) and what the chain says became of it ([`chain`]). No SQL, no HTTP of ours.
//!
//! Both versions of the protocol: 2 speaks in the headers `PAYMENT-REQUIRED`, `PAYMENT-SIGNATURE` and
//! `PAYMENT-RESPONSE`; 1 in the 402's body, `X-PAYMENT` and `X-PAYMENT-RESPONSE`. One scheme: `exact`, a USDC
//! transfer that the payer authorizes by signature (EIP-3009), whose smallest unit is our micro-dollar.

pub mod chain;
pub mod facilitator;
pub mod payment;
pub mod terms;

pub use terms::Terms;
