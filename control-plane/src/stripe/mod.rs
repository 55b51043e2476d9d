//! Stripe's protocol: its REST API ([`client`]), its webhooks ([`signature`], [`event`]), its settings.
//!
//! Knows what Stripe says and how; what it means for wallets and subscriptions is `features::payments`'.
//! No SQL here. Nothing of a secret or of a card holder is logged.

pub mod client;
pub mod event;
pub mod signature;

use secrecy::{ExposeSecret, SecretString};

/// The version of Stripe's API every call is pinned to. Events come in the version of the endpoint that the
/// operator made; what we read of them is read in the shapes of this version and of those before 2025-03-31.
pub const VERSION: &str = "2026-10-28.endive";
/// Where Stripe's API is.
pub const API_BASE: &str = "https://api.stripe.com";

/// An account at Stripe, as the settings name it.
#[derive(Clone, Debug)]
pub struct Account {
    /// `sk_…` or a restricted `rk_…`.
    pub secret_key: SecretString,
    /// What the webhook endpoint signs with; several while one is being rolled.
    pub webhook_secrets: Vec<SecretString>,
    /// The recurring price of Pro.
    pub pro_price: String,
    /// A one-time price of $5, if top-ups are to be so many of it; else their price is made inline.
    pub topup_price: Option<String>,
    /// Where the API is, without a slash at the end.
    pub api_base: String,
}

impl Account {
    /// Whether real money moves.
    pub fn is_live(&self) -> bool {
        self.secret_key.expose_secret().contains("_live_")
    }
}
