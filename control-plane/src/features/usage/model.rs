//! Prices, allowances, and how a number of units divides over them. Pure.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, clippy::as_conversions)]

use crate::features::ledger::model::{AccountKind, TransferKind};
use crate::money::Micros;
use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};

/// What is metered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Metric {
    /// Clicks that a program counts; the advertiser's.
    Clicks,
    /// Leads and sales; the advertiser's.
    Conversions,
    /// Recommendations; the caller's.
    MatchingRequests,
}

/// The plan an account is on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Tier {
    /// A free allowance, then pay as you go.
    Free,
    /// Infrastructure Pro: more included, the rest at half price.
    Pro,
}

impl Tier {
    /// Reads the column value.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "free" => Some(Self::Free),
            "pro" => Some(Self::Pro),
            _ => None,
        }
    }

    /// The column value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Pro => "pro",
        }
    }
}

impl Metric {
    /// All metrics.
    pub const ALL: [Self; 3] = [Self::Clicks, Self::Conversions, Self::MatchingRequests];

    /// The column value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clicks => "clicks",
            Self::Conversions => "conversions",
            Self::MatchingRequests => "matching_requests",
        }
    }

    /// Units of a month that cost nothing.
    pub const fn allowance(self, tier: Tier) -> i64 {
        match (self, tier) {
            (Self::Clicks, Tier::Free) => 10_000,
            (Self::Clicks, Tier::Pro) => 500_000,
            (Self::Conversions, Tier::Free) => 100,
            (Self::Conversions, Tier::Pro) => 1_000,
            (Self::MatchingRequests, _) => 50,
        }
    }

    /// What one more costs. Pro pays half.
    pub const fn price(self, tier: Tier) -> Micros {
        match (self, tier) {
            (Self::Clicks, Tier::Free) => Micros(2_000),
            (Self::Clicks, Tier::Pro) => Micros(1_000),
            (Self::Conversions, Tier::Free) => Micros(300_000),
            (Self::Conversions, Tier::Pro) => Micros(150_000),
            (Self::MatchingRequests, Tier::Free) => Micros(50_000),
            (Self::MatchingRequests, Tier::Pro) => Micros(25_000),
        }
    }

    /// The account that collects what was paid for it.
    pub const fn account(self) -> AccountKind {
        match self {
            Self::Clicks => AccountKind::Clicks,
            Self::Conversions => AccountKind::Conversions,
            Self::MatchingRequests => AccountKind::MatchingRequests,
        }
    }

    /// What its transfers are called.
    pub const fn transfer(self) -> TransferKind {
        match self {
            Self::Clicks => TransferKind::Clicks,
            Self::Conversions => TransferKind::Conversion,
            Self::MatchingRequests => TransferKind::MatchingRequest,
        }
    }
}

/// Where units went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Split {
    /// Within the allowance.
    pub included: i64,
    /// Paid for.
    pub billed: i64,
    /// Neither: counted, not billed.
    pub over_limit: i64,
    /// Of a link that bills far above its mean: counted, not billed.
    pub capped: i64,
}

/// Divides `count` units: what is left of the allowance first, then what `funds` can pay for. `capped` of those
/// beyond the allowance are not paid for in any case.
pub fn split(count: i64, allowance_left: i64, capped: i64, funds: Micros, price: Micros) -> Split {
    let included = count.min(allowance_left.max(0));
    let rest = count.saturating_sub(included);
    let capped = capped.clamp(0, rest);
    let rest = rest.saturating_sub(capped);
    let affordable = funds.0.max(0).checked_div(price.0).unwrap_or(0);
    let billed = rest.min(affordable);
    Split { included, billed, over_limit: rest.saturating_sub(billed), capped }
}

/// The month an instant lies in: its first day, in UTC.
pub fn month_of(at: DateTime<Utc>) -> NaiveDate {
    let day = at.date_naive();
    day.with_day(1).unwrap_or(day)
}

/// When a month ends and the next begins.
pub fn end_of(month: NaiveDate) -> DateTime<Utc> {
    let next = month.checked_add_months(Months::new(1)).unwrap_or(NaiveDate::MAX);
    next.and_time(chrono::NaiveTime::MIN).and_utc()
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "checks compute in i128, far from its ends")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pro_pays_exactly_half() {
        for metric in Metric::ALL {
            assert_eq!(metric.price(Tier::Free), metric.price(Tier::Pro).times(2).expect("in range"));
            assert!(metric.allowance(Tier::Pro) >= metric.allowance(Tier::Free));
        }
    }

    #[test]
    fn units_divide_over_allowance_wallet_and_limit() {
        let check = |count, left, funds, included, billed, over_limit| {
            let split = split(count, left, 0, Micros(funds), Micros(2_000));
            assert_eq!(split, Split { included, billed, over_limit, capped: 0 }, "{count} {left} {funds}");
        };
        check(1, 1, 0, 1, 0, 0);
        check(1, 0, 0, 0, 0, 1);
        check(1, 0, 1_999, 0, 0, 1);
        check(1, 0, 2_000, 0, 1, 0);
        check(10, 4, 6_000, 4, 3, 3);
        check(10, -5, 1_000_000, 0, 10, 0);
        check(0, 5, 5_000, 0, 0, 0);
        let capped = split(10, 4, 5, Micros(1_000_000), Micros(2_000));
        assert_eq!(capped, Split { included: 4, billed: 1, over_limit: 0, capped: 5 });
        let capped = split(10, 4, 99, Micros(1_000_000), Micros(2_000));
        assert_eq!(capped, Split { included: 4, billed: 0, over_limit: 0, capped: 6 });
    }

    #[test]
    fn months_turn_at_midnight_utc() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
        assert_eq!(month_of(at("2026-12-31T23:59:59.999Z")).to_string(), "2026-12-01");
        assert_eq!(end_of(month_of(at("2026-12-31T23:59:59.999Z"))), at("2027-01-01T00:00:00Z"));
        assert_eq!(month_of(at("2028-02-29T12:00:00Z")).to_string(), "2028-02-01");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_overdrawn(count in 0..=i64::MAX, left: i64, capped: i64, funds: i64) {
            let price = Micros(2_000);
            let split = split(count, left, capped, Micros(funds), price);
            let parts = [split.included, split.billed, split.over_limit, split.capped];
            prop_assert_eq!(parts.into_iter().map(i128::from).sum::<i128>(), i128::from(count));
            prop_assert!(parts.into_iter().all(|part| part >= 0));
            prop_assert!(split.capped <= capped.max(0));
            prop_assert!(split.included <= left.max(0));
            prop_assert!(i128::from(split.billed) * 2_000 <= i128::from(funds.max(0)));
            prop_assert!(split.billed == 0 || split.included == left.max(0).min(count));
            prop_assert!(split.over_limit == 0 || i128::from(funds.max(0)) - i128::from(split.billed) * 2_000 < 2_000);
        }
    }
}
