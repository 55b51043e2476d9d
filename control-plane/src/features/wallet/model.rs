//! What may be paid in, and how a payment stands.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, clippy::as_conversions)]

use crate::config::Config;
use crate::error::{Error, Result};
use crate::features::ledger::model::AccountKind;
use crate::money::Micros;
use chrono::{DateTime, Utc};
use shared::id::{AgentId, TopupId};

/// The smallest top-up, and the step of all: below it a card payment costs more than it brings.
pub const TOPUP_STEP: Micros = Micros(5_000_000);
/// The largest top-up: what a stolen key can spend of someone's card in one call.
pub const TOPUP_MAX: Micros = Micros(500_000_000);

/// How money comes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Provider {
    /// Credits at once and charges nobody: for trying things out.
    Sandbox,
    /// Stripe Checkout, credited by its signed webhook.
    Stripe,
    /// A stablecoin payment within the request.
    X402,
}

impl Provider {
    /// How top-ups are paid when nothing else is said: at Stripe where its settings are there.
    pub const fn of(config: &Config) -> Self {
        if config.stripe.is_some() { Self::Stripe } else { Self::Sandbox }
    }

    /// The column value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Stripe => "stripe",
            Self::X402 => "x402",
        }
    }

    /// Reads the column value.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Sandbox, Self::Stripe, Self::X402].into_iter().find(|provider| provider.as_str() == text)
    }

    /// The account that stands for where the money came from.
    pub const fn source(self) -> AccountKind {
        match self {
            Self::Sandbox => AccountKind::Sandbox,
            Self::Stripe => AccountKind::Stripe,
            Self::X402 => AccountKind::X402,
        }
    }
}

/// A payment into a wallet.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Topup {
    /// Its id.
    pub id: TopupId,
    /// Whose wallet.
    pub agent_id: AgentId,
    /// How the money comes in.
    pub provider: String,
    /// How much.
    pub amount_micros: Micros,
    /// How much of it went back.
    pub refunded_micros: Micros,
    /// `pending`, `paid`, `failed`, `expired`.
    pub status: String,
    /// Its name at the provider.
    pub provider_ref: Option<String>,
    /// Where to pay.
    pub checkout_url: Option<String>,
    /// Started by the wallet itself.
    pub automatic: bool,
    /// Times money in it went back or came again.
    pub adjustments: i32,
    /// When it was started.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// What a top-up that is to be paid elsewhere needs.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// Whose wallet.
    pub agent: AgentId,
    /// How the money comes in.
    pub provider: Provider,
    /// How much, as [`topup_amount`] allows it.
    pub amount: Micros,
    /// Names the request: the same one again is the same top-up.
    pub request: Option<&'a str>,
    /// Its name at the provider, if it has one already.
    pub provider_ref: Option<&'a str>,
}

/// The settings of a wallet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Settings {
    /// Below this balance…
    pub auto_topup_threshold_micros: Option<Micros>,
    /// …this much is topped up.
    pub auto_topup_amount_micros: Option<Micros>,
}

/// Checks the amount of a top-up: $5 to $500 in steps of $5.
pub fn topup_amount(field: &str, amount: Micros) -> Result<Micros> {
    let in_steps = amount.0.checked_rem(TOPUP_STEP.0) == Some(0);
    if amount < TOPUP_STEP || amount > TOPUP_MAX || !in_steps {
        return Err(Error::invalid(
            field,
            format!("`{field}` is {amount}."),
            format!("Send `{field}` as a number from 5 to 500 in steps of 5, such as 20."),
        ));
    }
    Ok(amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_five_to_five_hundred_in_fives() {
        let check = |text: &str, fine: bool| {
            let amount = Micros::parse(text).expect("a number");
            assert_eq!(topup_amount("amount", amount).is_ok(), fine, "{text}");
        };
        for fine in ["5", "5.00", "10", "20", "495", "500"] {
            check(fine, true);
        }
        for bad in ["0", "-5", "4.99", "5.000001", "7", "12.5", "505", "1000000", "-0"] {
            check(bad, false);
        }
    }
}
