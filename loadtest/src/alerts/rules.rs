//! The rules of `deploy/prometheus/alerts.yml`, with shorter times: every `for`, range and offset divided by one
//! number. Expressions, thresholds and labels stay as they are.

use std::collections::BTreeSet;

const RULES: &str = include_str!("../../../deploy/prometheus/alerts.yml");
/// A minute of the rules is a second here.
pub(super) const SCALE: u64 = 60;
/// Prometheus looks once a second: less than that is nothing.
const SHORTEST_MS: u64 = 1_000;

/// The names of all alerts.
pub(super) fn names() -> BTreeSet<&'static str> {
    RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect()
}

/// The rules with shorter times.
pub(super) fn scaled() -> String {
    let lines = RULES.lines().map(|line| match line.trim_start() {
        rest if rest.starts_with("for: ") => within(line, "for: ", "\n"),
        rest if rest.starts_with("expr: ") => within(&within(line, "[", "]"), " offset ", " )'"),
        _ => line.to_owned(),
    });
    lines.map(|line| line + "\n").collect()
}

/// Shortens the times between `from` and any letter of `to`.
fn within(line: &str, from: &str, to: &str) -> String {
    let mut parts = line.split(from);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|letter| to.contains(letter)).unwrap_or(part.len());
        let (time, rest) = part.split_at(end);
        out.push_str(from);
        out.push_str(&shorter(time).unwrap_or_else(|| time.to_owned()));
        out.push_str(rest);
    }
    out
}

/// `5m` is `5000ms`; `None` for what is no time.
fn shorter(time: &str) -> Option<String> {
    let (number, unit) = time.split_at_checked(time.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let ms = number.parse::<u64>().ok()? * seconds * 1_000 / SCALE;
    Some(format!("{}ms", ms.max(SHORTEST_MS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shorter_and_nothing_else_is_changed() {
        let line = r#"  expr: '(increase(a[15m]) > 0 or (a{b="[c]"} > 0 unless a offset 1h)) > 14 * 86400'"#;
        let short = r#"  expr: '(increase(a[15000ms]) > 0 or (a{b="[c]"} > 0 unless a offset 60000ms)) > 14 * 86400'"#;
        assert_eq!(within(&within(line, "[", "]"), " offset ", " )'"), short);
        assert_eq!(within("  for: 30m", "for: ", "\n"), "  for: 30000ms");
        assert_eq!(within("  for: 10s", "for: ", "\n"), "  for: 1000ms");
    }

    #[test]
    fn every_rule_is_there_and_no_long_time_is_left() {
        let scaled = scaled();
        assert_eq!(scaled.matches("- alert: ").count(), names().len());
        assert!(names().len() > 70);
        let long = scaled.lines().filter(|line| {
            let line = line.trim();
            line.starts_with("for: ") && !line.ends_with("ms")
                || line.starts_with("expr: ") && line.contains("m]")
        });
        assert_eq!(long.filter(|line| !line.contains("ms]")).count(), 0);
    }
}
