//! Numbers, amounts and times as people read them, and the spans of time to choose from.

use crate::money::{MICROS, Micros};
use chrono::{DateTime, NaiveDate, Utc};

/// The spans a page can show, in days: those of the stats.
pub(super) const SPANS: [i64; 3] = [7, 30, 90];

/// The span a query asks for; 30 days for whatever is none.
pub(super) fn days_of(text: Option<&str>) -> i64 {
    let asked = text.and_then(|text| text.parse().ok()).unwrap_or(30);
    if SPANS.contains(&asked) { asked } else { 30 }
}

/// `1,234,567`
pub(crate) fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    if number < 0 {
        text.push('−');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `$1,234.50`; millionths are shown when there are any.
pub(crate) fn money(amount: Micros) -> String {
    let magnitude = amount.0.unsigned_abs();
    let (whole, rest) = (magnitude / MICROS.unsigned_abs(), magnitude % MICROS.unsigned_abs());
    let fraction = format!("{rest:06}");
    let fraction = fraction.trim_end_matches('0');
    let sign = if amount.0 < 0 { "−" } else { "" };
    format!("{sign}${}.{fraction:0<2}", count(i64::try_from(whole).unwrap_or(i64::MAX)))
}

/// `20%` or `$5.00`
pub(super) fn commission(kind: &str, value: Micros) -> String {
    if kind == "percentage" { format!("{value}%") } else { money(value) }
}

/// `one link`, `12 links`
pub(super) fn counted(number: i64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{} {many}", count(number)) }
}

/// `15 Jun 2026, 12:00 UTC`
pub(super) fn moment(at: DateTime<Utc>) -> String {
    at.format("%-d %b %Y, %H:%M UTC").to_string()
}

/// `15 Jun 2026`
pub(super) fn day(at: DateTime<Utc>) -> String {
    at.format("%-d %b %Y").to_string()
}

/// `12:00:03`
pub(super) fn second(at: DateTime<Utc>) -> String {
    at.format("%H:%M:%S").to_string()
}

/// `15 Jun`
pub(super) fn short_day(day: NaiveDate) -> String {
    day.format("%-d %b").to_string()
}

/// A class of clicks.
pub(super) fn class(name: &str) -> &str {
    match name {
        "human" => "People",
        "agent" => "Agents",
        "agent_verified" => "Agents, signed",
        "preview" => "Link previews",
        "crawler" => "Crawlers",
        "scanner" => "Scanners",
        "tool" => "Tools",
        "prefetch" => "Prefetches",
        "duplicate" => "Repeats",
        other => other,
    }
}

/// A state, for people: `awaiting funds`.
pub(super) fn state(name: &str) -> String {
    name.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_grouped_and_exact() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567"), (-1_000, "−1,000")]
        {
            assert_eq!(count(number), text);
        }
        for (micros, text) in [
            (0, "$0.00"),
            (19_800_000, "$19.80"),
            (2_000, "$0.002"),
            (1_234_567_890_000, "$1,234,567.89"),
            (-5_000_000, "−$5.00"),
            (i64::MAX, "$9,223,372,036,854.775807"),
            (i64::MIN, "−$9,223,372,036,854.775808"),
        ] {
            assert_eq!(money(Micros(micros)), text);
        }
        assert_eq!(commission("percentage", Micros(20_000_000)), "20%");
        assert_eq!(commission("fixed", Micros(5_500_000)), "$5.50");
    }

    #[test]
    fn spans_are_those_of_the_stats() {
        assert_eq!(SPANS, crate::features::stats::model::DAYS);
        for (text, days) in [(Some("7"), 7), (Some("90"), 90), (None, 30), (Some("8"), 30), (Some("x"), 30)] {
            assert_eq!(days_of(text), days);
        }
    }
}
