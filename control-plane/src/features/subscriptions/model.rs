//! What a subscription is, its periods, and what a renewal leads to. Pure.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, clippy::as_conversions)]

use crate::features::ledger::model::AccountKind;
use crate::money::Micros;
use chrono::{DateTime, Months, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use shared::id::{AgentId, SubscriptionId};
use utoipa::ToSchema;

/// A month of Pro.
pub const PRICE: Micros = Micros(99_000_000);
/// How long Pro stays after a renewal failed.
pub const GRACE: TimeDelta = TimeDelta::days(7);
/// When a failed renewal is tried again.
pub const RETRY: TimeDelta = TimeDelta::days(1);

macro_rules! words {
    ($(#[$doc:meta])* $enum:ident { $($(#[$variant_doc:meta])* $name:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $enum { $($(#[$variant_doc])* $name,)* }

        impl $enum {
            /// The column value and the API's word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }

        impl TryFrom<String> for $enum {
            type Error = UnknownWord;

            fn try_from(text: String) -> Result<Self, UnknownWord> {
                match text.as_str() { $($text => Ok(Self::$name),)* _ => Err(UnknownWord(text)) }
            }
        }
    };
}

/// A column holds a word this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("unknown word `{0}`")]
pub struct UnknownWord(String);

words! {
    /// How a subscription is paid.
    Source {
        /// The sandbox: charges nobody.
        Sandbox = "sandbox",
        /// A card, through Stripe.
        Stripe = "stripe",
        /// The agent's own wallet.
        Wallet = "wallet",
    }
}

words! {
    /// Where a subscription stands.
    Status {
        /// Waits for its first payment.
        Pending = "pending",
        /// Paid.
        Active = "active",
        /// Its renewal failed; Pro stays until `grace_until`.
        PastDue = "past_due",
        /// Over.
        Canceled = "canceled",
    }
}

impl Source {
    /// The account the money comes from.
    pub const fn account(self) -> AccountKind {
        match self {
            Self::Sandbox => AccountKind::Sandbox,
            Self::Stripe => AccountKind::Stripe,
            Self::Wallet => AccountKind::Wallet,
        }
    }
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// Whose.
    pub agent_id: AgentId,
    /// How it is paid.
    #[sqlx(try_from = "String")]
    pub source: Source,
    /// How it stands.
    #[sqlx(try_from = "String")]
    pub status: Status,
    /// What a month costs.
    pub price_micros: Micros,
    /// When its first month began.
    pub anchor_at: Option<DateTime<Utc>>,
    /// Months paid.
    pub periods: i32,
    /// What is paid now: from…
    pub current_period_start: Option<DateTime<Utc>>,
    /// …to.
    pub current_period_end: Option<DateTime<Utc>>,
    /// Whether it ends there.
    pub cancel_at_period_end: bool,
    /// Until when Pro stays after a failed renewal.
    pub grace_until: Option<DateTime<Utc>>,
    /// When payment is tried again.
    pub retry_at: Option<DateTime<Utc>>,
    /// Stripe's name of the subscription.
    pub provider_ref: Option<String>,
    /// Where to pay.
    pub checkout_url: Option<String>,
    /// When it was started.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// A month of a subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Period {
    /// Its number, from 1.
    pub number: i32,
    /// From.
    pub start: DateTime<Utc>,
    /// To, itself not in it.
    pub end: DateTime<Utc>,
}

/// The month of this number: months are counted from the anchor, so that a subscription of the 31st is
/// renewed on the last day of shorter months and on the 31st of the others.
pub fn period(anchor: DateTime<Utc>, number: i32) -> Period {
    let months = |count: i32| {
        let count = u32::try_from(count).unwrap_or(0);
        anchor.checked_add_months(Months::new(count)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    };
    Period { number, start: months(number.saturating_sub(1)), end: months(number) }
}

/// What becomes of a subscription whose month is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// Charge this month.
    Charge(Period),
    /// End it.
    End,
    /// Nothing yet.
    Wait,
}

impl Subscription {
    /// What is to be done at `now`.
    pub fn due(&self, now: DateTime<Utc>, owner_is_gone: bool) -> Due {
        let (Some(anchor), Some(end)) = (self.anchor_at, self.current_period_end) else { return Due::Wait };
        if end > now && !owner_is_gone {
            return Due::Wait;
        }
        if self.cancel_at_period_end || owner_is_gone {
            return Due::End;
        }
        Due::Charge(period(anchor, self.periods.saturating_add(1)))
    }

    /// Until when Pro stays if the charge for what comes after this month fails at `now`; `None`: it is over.
    pub fn grace(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let until =
            self.grace_until.or_else(|| self.current_period_end?.checked_add_signed(GRACE)).unwrap_or(now);
        (until > now).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    #[test]
    fn months_do_not_creep() {
        let anchor = at("2028-01-31T08:30:00Z");
        let ends: Vec<_> = (1..=4).map(|number| period(anchor, number).end.to_rfc3339()).collect();
        assert_eq!(
            ends,
            [
                "2028-02-29T08:30:00+00:00",
                "2028-03-31T08:30:00+00:00",
                "2028-04-30T08:30:00+00:00",
                "2028-05-31T08:30:00+00:00"
            ]
        );
        assert_eq!(period(anchor, 2).start, period(anchor, 1).end);
    }
}
