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
    /// Stripe's name of the page to pay on.
    pub checkout_ref: Option<String>,
    /// Where to pay.
    pub checkout_url: Option<String>,
    /// When that page was asked for.
    pub checkout_at: Option<DateTime<Utc>>,
    /// What Stripe has still to be told.
    pub provider_wish: Option<String>,
    /// Since when.
    pub provider_wish_at: Option<DateTime<Utc>>,
    /// When it was started.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// What is known of a subscription that a provider charges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardMonths {
    /// Months that were paid: from, to. In any order.
    pub months: Vec<(DateTime<Utc>, DateTime<Utc>)>,
    /// Whether an invoice could not be paid and is tried again.
    pub failing: bool,
    /// Whether the provider has ended it.
    pub ended: bool,
    /// Whether it ends with its month.
    pub cancel_at_period_end: bool,
}

/// What a subscription by card comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CardState {
    /// Nothing was paid yet.
    Unpaid,
    /// Paid, from its first month on.
    Paid(DateTime<Utc>, Period),
    /// Its last invoice is not paid; Pro stays until then.
    Owing(DateTime<Utc>, Period, DateTime<Utc>),
    /// Over, and the provider has to hear it if it was us who ended it.
    Over {
        /// Whether the provider still charges.
        by_us: bool,
    },
}

impl CardMonths {
    /// What they come to at `now`.
    pub fn state(&self, now: DateTime<Utc>) -> CardState {
        if self.ended {
            return CardState::Over { by_us: false };
        }
        let first = self.months.iter().map(|(start, _)| *start).min();
        let last = self.months.iter().copied().max_by_key(|(_, end)| *end);
        let (Some(anchor), Some((start, end))) = (first, last) else { return CardState::Unpaid };
        let period = Period { number: i32::try_from(self.months.len()).unwrap_or(i32::MAX), start, end };
        if !self.failing {
            return CardState::Paid(anchor, period);
        }
        match end.checked_add_signed(GRACE).filter(|until| *until > now) {
            Some(until) => CardState::Owing(anchor, period, until),
            None => CardState::Over { by_us: true },
        }
    }
}

/// What the provider has to be told about a subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// End it with its month.
    CancelAtPeriodEnd,
    /// Let it go on after all.
    Resume,
    /// End it now.
    Cancel,
    /// Close the page on which it could be paid.
    ExpireCheckout,
}

impl Wish {
    const ALL: [Self; 4] = [Self::CancelAtPeriodEnd, Self::Resume, Self::Cancel, Self::ExpireCheckout];

    /// The column value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CancelAtPeriodEnd => "cancel_at_period_end",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
            Self::ExpireCheckout => "expire_checkout",
        }
    }

    /// Reads the column value.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|wish| wish.as_str() == text)
    }
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
    fn months_by_card_come_to_the_same_in_any_order() {
        let (july, august, september) =
            (at("2027-07-10T00:00:00Z"), at("2027-08-10T00:00:00Z"), at("2027-09-10T00:00:00Z"));
        let state = |months: &[_], failing, ended, now| {
            let card = CardMonths { months: months.to_vec(), failing, ended, cancel_at_period_end: false };
            card.state(now)
        };
        assert_eq!(state(&[], true, false, july), CardState::Unpaid);
        let both = [(august, september), (july, august)];
        let second = Period { number: 2, start: august, end: september };
        assert_eq!(state(&both, false, false, september), CardState::Paid(july, second));
        let until = at("2027-09-17T00:00:00Z");
        assert_eq!(state(&both, true, false, until - RETRY), CardState::Owing(july, second, until));
        assert_eq!(state(&both, true, false, until), CardState::Over { by_us: true });
        assert_eq!(state(&both, true, true, july), CardState::Over { by_us: false });
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
