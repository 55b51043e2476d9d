//! Cases and properties of commission arithmetic.

#![expect(clippy::arithmetic_side_effects, reason = "the reference computes freely")]

use super::*;
use proptest::prelude::*;

fn usd(text: &str) -> Micros {
    Micros::parse(text).unwrap()
}

#[test]
fn commissions() {
    let check = |terms: Terms, revenue: Option<&str>, earned: &str| {
        assert_eq!(terms.earn(revenue.map(usd)), Ok(usd(earned)), "{terms:?} of {revenue:?}");
    };
    let percent = |rate_bp| Terms::Percentage { rate_bp };
    let fixed = |text| Terms::Fixed { amount: usd(text) };
    check(percent(2000), Some("99.00"), "19.80");
    check(percent(3000), Some("99.00"), "29.70");
    check(percent(0), Some("99.00"), "0");
    check(percent(10_000), Some("0.01"), "0.01");
    // Half a cent goes to the even neighbour: 0.005 down to 0.00, 0.015 up to 0.02, 0.025 down to 0.02.
    check(percent(5000), Some("0.01"), "0");
    check(percent(5000), Some("0.03"), "0.02");
    check(percent(5000), Some("0.05"), "0.02");
    check(percent(3333), Some("100"), "33.33");
    check(percent(2000), None, "0");
    check(fixed("5"), None, "5");
    check(fixed("5"), Some("99.00"), "5");
}

#[test]
fn refunds_leave_what_is_due() {
    let left = |refunded| left_after_refunds(usd("19.80"), usd("99.00"), usd(refunded)).unwrap();
    assert_eq!(left("0"), usd("19.80"));
    assert_eq!(left("49.50"), usd("9.90"));
    assert_eq!(left("99.00"), Micros::ZERO);
}

proptest! {
    #[test]
    fn a_commission_is_never_more_than_the_sale(cents in 1i64..1_000_000_000, rate_bp in 0i32..=10_000) {
        let revenue = Micros::from_cents(cents).unwrap();
        let earned = Terms::Percentage { rate_bp }.earn(Some(revenue)).unwrap();
        prop_assert!(earned >= Micros::ZERO && earned <= revenue);
        prop_assert!(earned.whole_cents().is_some());
    }

    #[test]
    fn refunds_in_any_steps_return_exactly_the_commission(
        cents in 1i64..10_000_000,
        rate_bp in 0i32..=10_000,
        cuts in proptest::collection::vec(0i64..10_000_000, 0..6),
    ) {
        let revenue = Micros::from_cents(cents).unwrap();
        let commission = Terms::Percentage { rate_bp }.earn(Some(revenue)).unwrap();
        let mut totals: Vec<i64> = cuts.into_iter().map(|cut| cut % (cents + 1)).collect();
        totals.push(cents);
        totals.sort_unstable();
        let mut left = commission;
        let mut returned = Micros::ZERO;
        for total in totals {
            let next = left_after_refunds(commission, revenue, Micros::from_cents(total).unwrap()).unwrap();
            prop_assert!(next <= left && next >= Micros::ZERO);
            returned = returned.plus(left.minus(next).unwrap()).unwrap();
            left = next;
        }
        prop_assert_eq!(left, Micros::ZERO);
        prop_assert_eq!(returned, commission);
    }
}
