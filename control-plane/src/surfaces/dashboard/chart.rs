//! Charts as SVG, drawn here: they are there with the page, follow its theme, print, and need no script.
//!
//! Shapes carry only attributes, never a style, so the policy of the page can refuse all inline style. What
//! a chart shows is also there as a table, for screen readers and for whoever wants the figures.

use super::shapes::DayClicks;
use super::words;
use chrono::{DateTime, Days, NaiveDate, Utc};
use maud::{Markup, html};
use std::collections::BTreeMap;

/// Height of the plot in its own units.
const HEIGHT: i64 = 1000;
/// Width of a day in the same.
const DAY: i64 = 100;
/// Of which the bar takes so much.
const BAR: i64 = 72;

/// Clicks of a day of the chart.
struct Bar {
    day: NaiveDate,
    clicks: i64,
    counted: i64,
}

/// Clicks by day; days without any are drawn as such.
pub(super) fn clicks_by_day(days: &[DayClicks], from: DateTime<Utc>, to: DateTime<Utc>) -> Markup {
    let bars = bars(days, from, to);
    let top = nice(bars.iter().map(|bar| bar.clicks).max().unwrap_or(0));
    let height =
        |clicks: i64| i64::try_from(i128::from(clicks) * i128::from(HEIGHT) / i128::from(top)).unwrap_or(0);
    let width = DAY * bars.len() as i64;
    let total: i64 = bars.iter().map(|bar| bar.clicks).sum();
    let label = format!(
        "{} in {}; the figures are in the table below.",
        words::counted(total, "click", "clicks"),
        words::counted(bars.len() as i64, "day", "days")
    );
    html! {
        figure.chart {
            div.plot {
                div.scale aria-hidden="true" {
                    span { (words::count(top)) } span { (words::count(top / 2)) } span { "0" }
                }
                svg role="img" aria-label=(label) viewBox=(format!("0 0 {width} {HEIGHT}")) preserveAspectRatio="none" {
                    line.grid x1="0" x2=(width) y1="0" y2="0" {}
                    line.grid x1="0" x2=(width) y1=(HEIGHT / 2) y2=(HEIGHT / 2) {}
                    line.axis x1="0" x2=(width) y1=(HEIGHT) y2=(HEIGHT) {}
                    @for (at, bar) in bars.iter().enumerate() {
                        @let x = DAY * at as i64 + (DAY - BAR) / 2;
                        @let (all, counted) = (height(bar.clicks), height(bar.counted));
                        g.day {
                            title { (words::short_day(bar.day)) ": " (words::count(bar.clicks)) " clicks, " (words::count(bar.counted)) " counted" }
                            rect.hit x=(DAY * at as i64) y="0" width=(DAY) height=(HEIGHT) {}
                            rect.uncounted x=(x) y=(HEIGHT - all) width=(BAR) height=(all - counted) {}
                            rect.counted x=(x) y=(HEIGHT - counted) width=(BAR) height=(counted) {}
                        }
                    }
                }
                div.ends aria-hidden="true" {
                    @if let (Some(first), Some(last)) = (bars.first(), bars.last()) {
                        span { (words::short_day(first.day)) }
                        @if let Some(middle) = bars.get(bars.len() / 2) { span { (words::short_day(middle.day)) } }
                        span { (words::short_day(last.day)) }
                    }
                }
            }
            figcaption {
                span.key { span.swatch.counted {} "Counted and paid for" }
                span.key { span.swatch.uncounted {} "Seen, not counted: previews, crawlers, repeats" }
            }
            details {
                summary { "The same as a table" }
                div.scroll tabindex="0" role="region" aria-label="Clicks by day" {
                    table {
                        thead { tr { th scope="col" { "Day" } th.number scope="col" { "Clicks" } th.number scope="col" { "Counted" } } }
                        tbody {
                            @for bar in bars.iter().rev() {
                                tr {
                                    th scope="row" { (words::short_day(bar.day)) }
                                    td.number { (words::count(bar.clicks)) }
                                    td.number { (words::count(bar.counted)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Shares of a whole, one bar each, the longest first.
pub(super) fn shares(parts: &BTreeMap<String, i64>) -> Markup {
    let mut rows: Vec<(&str, i64)> = parts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    rows.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    let total = rows.iter().map(|(_, count)| *count).sum::<i64>().max(1);
    let percent = |count: i64| i128::from(count) * 100 / i128::from(total);
    html! {
        table.shares {
            thead.unseen { tr { th scope="col" { "Class" } th scope="col" { "Clicks" } th scope="col" { "Share" } } }
            tbody {
                @for (name, count) in rows {
                    tr {
                        th scope="row" { (words::class(name)) }
                        td.number { (words::count(count)) }
                        td.share {
                            svg aria-hidden="true" { rect.track width="100%" height="100%" {} rect.bar width=(format!("{}%", percent(count))) height="100%" {} }
                            span { (percent(count)) "%" }
                        }
                    }
                }
            }
        }
    }
}

/// How much of an allowance is used.
pub(super) fn meter(name: &str, used: i64, limit: i64) -> Markup {
    let percent = (i128::from(used) * 100 / i128::from(limit.max(1))).min(100);
    let over = used > limit;
    html! {
        div.meter {
            div.row { span { (name) } span.number { (words::count(used)) " of " (words::count(limit)) } }
            svg role="img" aria-label=(format!("{percent}% used")) {
                rect.track width="100%" height="100%" {}
                rect.bar.over[over] width=(format!("{percent}%")) height="100%" {}
            }
            @if over { p.muted { "Beyond the allowance each one is paid from your wallet." } }
        }
    }
}

fn bars(days: &[DayClicks], from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<Bar> {
    let known: BTreeMap<NaiveDate, &DayClicks> = days.iter().map(|day| (day.date, day)).collect();
    let last = (to - chrono::TimeDelta::hours(1)).date_naive();
    let mut bars = Vec::new();
    let mut day = from.date_naive();
    while day <= last {
        let (clicks, counted) = known.get(&day).map_or((0, 0), |known| (known.clicks, known.counted));
        bars.push(Bar { day, clicks, counted: counted.clamp(0, clicks.max(0)) });
        let Some(next) = day.checked_add_days(Days::new(1)) else { break };
        day = next;
    }
    bars
}

/// The next even number of one or two leading digits: where a scale ends.
fn nice(most: i64) -> i64 {
    let mut step = 2;
    loop {
        for factor in [1, 2, 3, 4, 5] {
            let top = factor * step;
            if most <= top {
                return top;
            }
        }
        let Some(next) = step.checked_mul(10).filter(|next| *next < i64::MAX / 10) else { return i64::MAX };
        step = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_a_round_number_above_the_most() {
        for (most, top) in [(0, 2), (1, 2), (3, 4), (11, 20), (99, 100), (101, 200), (1_000_000, 1_000_000)] {
            assert_eq!(nice(most), top, "{most}");
        }
        assert_eq!(nice(i64::MAX), i64::MAX);
    }

    #[test]
    fn every_day_of_a_span_has_its_bar() {
        let from = "2026-06-08T13:00:00Z".parse().unwrap();
        let to = "2026-06-15T13:00:00Z".parse().unwrap();
        let one = DayClicks { date: "2026-06-10".parse().unwrap(), clicks: 5, counted: 4 };
        let bars = bars(&[one], from, to);
        assert_eq!(bars.len(), 8);
        assert_eq!(bars.iter().map(|bar| bar.clicks).collect::<Vec<_>>(), [0, 0, 5, 0, 0, 0, 0, 0]);
    }
}
