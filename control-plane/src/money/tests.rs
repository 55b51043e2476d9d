//! Exactness of reading, writing and rounding.

#![expect(clippy::arithmetic_side_effects, reason = "the reference computes freely")]

use super::*;
use proptest::prelude::*;

fn check(text: &str, micros: Option<i64>) {
    assert_eq!(Micros::parse(text).map(|amount| amount.0), micros, "{text}");
}

#[test]
fn decimal_texts() {
    check("99.00", Some(99_000_000));
    check("0.002", Some(2_000));
    check("-1.5", Some(-1_500_000));
    check("29.7", Some(29_700_000));
    check("1.0000000", Some(1_000_000));
    check("0.0000001", None);
    check("1E2", None);
    check("1e400", None);
    check("1.", None);
    check(".5", None);
    check("", None);
    check("-", None);
    check("9223372036854775807", None);
    check("+1", None);
}

#[test]
fn numbers_in_json_are_exact() {
    let amount: Micros = serde_json::from_str("29.7").unwrap();
    assert_eq!(serde_json::to_string(&amount).unwrap(), "29.7");
    for bad in ["\"20\"", "null", "true", "[1]", "1E2"] {
        assert!(serde_json::from_str::<Micros>(bad).is_err(), "{bad}");
    }
}

#[test]
fn half_goes_to_the_even_cent() {
    let share = |micros: i64, bp: i64| Micros(micros).share(bp, 10_000).unwrap().0;
    assert_eq!(share(50_000, 1_000), 0, "0.5 cent");
    assert_eq!(share(150_000, 1_000), 20_000, "1.5 cents");
    assert_eq!(share(250_000, 1_000), 20_000, "2.5 cents");
    assert_eq!(share(-50_000, 1_000), 0, "-0.5 cent");
    assert_eq!(share(99_000_000, 3_000), 29_700_000);
}

proptest! {
    #[test]
    fn text_comes_back(micros in -10_000_000_000_000_000i64..10_000_000_000_000_000) {
        prop_assert_eq!(Micros::parse(&Micros(micros).to_string()), Some(Micros(micros)));
    }

    #[test]
    fn a_share_is_within_half_a_cent(micros in 0i64..10_000_000_000_000, bp in 0i64..=10_000) {
        let exact = i128::from(micros) * i128::from(bp);
        let got = i128::from(Micros(micros).share(bp, 10_000).unwrap().0) * 10_000;
        prop_assert!((exact - got).abs() <= i128::from(MICROS_PER_CENT) * 5_000);
    }
}
