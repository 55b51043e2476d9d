//! Amounts: millionths of the currency unit in an `i64`, checked arithmetic only, one rounding rule.
//!
//! An amount is read from the text of a JSON number and written back as one: 29.7 is never
//! 29.700000000000003, because no float stands in between.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, clippy::as_conversions)]

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::fmt;

/// Millionths in one unit.
pub const MICROS: i64 = 1_000_000;
/// Millionths in one cent.
pub const MICROS_PER_CENT: i64 = 10_000;

/// An amount that a computation took out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an amount is out of range")]
pub struct OutOfRange;

/// An amount in millionths of its currency's unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, sqlx::Type)]
#[sqlx(transparent)]
pub struct Micros(pub i64);

impl Micros {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Whole cents.
    pub fn from_cents(cents: i64) -> Result<Self, OutOfRange> {
        cents.checked_mul(MICROS_PER_CENT).map(Self).ok_or(OutOfRange)
    }

    /// Whole cents, when it is.
    pub fn whole_cents(self) -> Option<i64> {
        (self.0.checked_rem(MICROS_PER_CENT) == Some(0))
            .then(|| self.0.checked_div(MICROS_PER_CENT))
            .flatten()
    }

    /// The sum.
    pub fn plus(self, other: Self) -> Result<Self, OutOfRange> {
        self.0.checked_add(other.0).map(Self).ok_or(OutOfRange)
    }

    /// The difference.
    pub fn minus(self, other: Self) -> Result<Self, OutOfRange> {
        self.0.checked_sub(other.0).map(Self).ok_or(OutOfRange)
    }

    /// So many of it.
    pub fn times(self, count: i64) -> Result<Self, OutOfRange> {
        self.0.checked_mul(count).map(Self).ok_or(OutOfRange)
    }

    /// `self × numerator ÷ denominator`, rounded half to even to the cent: the one place that divides money.
    /// What rounding takes or gives stays with the payer's side of the books.
    pub fn share(self, numerator: i64, denominator: i64) -> Result<Self, OutOfRange> {
        let product = i128::from(self.0).checked_mul(i128::from(numerator)).ok_or(OutOfRange)?;
        let per_cent = i128::from(denominator).checked_mul(i128::from(MICROS_PER_CENT)).ok_or(OutOfRange)?;
        if per_cent <= 0 {
            return Err(OutOfRange);
        }
        let floor = product.checked_div_euclid(per_cent).ok_or(OutOfRange)?;
        let rest = product.checked_rem_euclid(per_cent).ok_or(OutOfRange)?;
        let twice = rest.checked_mul(2).ok_or(OutOfRange)?;
        let odd = floor.checked_rem_euclid(2) == Some(1);
        let up = twice > per_cent || (twice == per_cent && odd);
        let cents = if up { floor.checked_add(1).ok_or(OutOfRange)? } else { floor };
        Self::from_cents(i64::try_from(cents).map_err(|_| OutOfRange)?)
    }

    /// As a member of a JSON object that is built by hand: the same exact number.
    pub fn to_json(self) -> serde_json::Value {
        serde_json::from_str(&self.to_string()).unwrap_or_default()
    }

    /// Reads a decimal text: an optional sign, digits, at most six decimals. No exponent.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let numeric = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !numeric(whole) || !numeric(fraction) || digits.ends_with('.') {
            return None;
        }
        // Zeroes at the end say nothing; anything finer than a millionth is refused, not rounded.
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > 6 {
            return None;
        }
        let fraction: i64 = format!("{fraction:0<6}").parse().ok()?;
        let micros = whole.parse::<i64>().ok()?.checked_mul(MICROS)?.checked_add(fraction)?;
        Some(Self(if negative { micros.checked_neg()? } else { micros }))
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let (whole, fraction) = (magnitude.div_euclid(1_000_000), magnitude.rem_euclid(1_000_000));
        let sign = if self.0 < 0 { "-" } else { "" };
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let fraction = format!("{fraction:06}");
        write!(f, "{sign}{whole}.{}", fraction.trim_end_matches('0'))
    }
}

impl fmt::Debug for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_string()).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Micros {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            let got = match text.bytes().next() {
                Some(b'"') => "a string",
                Some(b'n') => "null",
                Some(b't' | b'f') => "a boolean",
                _ => "a list or an object",
            };
            return Err(serde::de::Error::custom(format!("expected a number such as 99.00, got {got}")));
        }
        Self::parse(text).ok_or_else(|| {
            serde::de::Error::custom("expected a plain decimal number with at most 6 decimals, such as 99.00")
        })
    }
}

impl utoipa::PartialSchema for Micros {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::schema::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::Number)
            .description(Some("Amount in units of the currency, exact to the millionth"))
            .examples([serde_json::json!(99.5)])
            .into()
    }
}

impl utoipa::ToSchema for Micros {
    fn name() -> std::borrow::Cow<'static, str> {
        "Amount".into()
    }
}

#[cfg(test)]
#[path = "money/tests.rs"]
mod tests;
