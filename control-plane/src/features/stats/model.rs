//! Spans of time, the lists of figures, changes between spans, and the words of a digest. Pure.

use super::wire::{Highlight, NextAction};
use crate::error::{Error, Result};
use crate::money::Micros;
use crate::named::named;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};

/// Spans that can be asked for, in days.
pub const DAYS: [i64; 3] = [7, 30, 90];

/// A span of whole hours up to now, and the one of the same length before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// How long.
    pub days: i64,
    /// When the one before begins.
    pub before: DateTime<Utc>,
    /// When it begins, and the one before ends.
    pub from: DateTime<Utc>,
    /// When it ends: the end of the hour that is running.
    pub to: DateTime<Utc>,
}

impl Span {
    /// The last so many days.
    pub fn last(days: Option<i64>, now: DateTime<Utc>) -> Result<Self> {
        let days = days.unwrap_or(30);
        if !DAYS.contains(&days) {
            return Err(Error::invalid(
                "days",
                format!("`days` is {days}."),
                "Send `days` as 7, 30 or 90, or leave it out for 30.",
            ));
        }
        let hour = now.duration_trunc(TimeDelta::hours(1)).map_err(Error::bug)?;
        let (to, length) = (hour + TimeDelta::hours(1), TimeDelta::days(days));
        Ok(Self { days, before: to - length - length, from: to - length, to })
    }
}

named! {
    /// Which list a row belongs to.
    Part {
        /// Clicks of a class.
        Class = "class",
        /// Of a day.
        Day = "day",
        /// Of a link.
        Link = "link",
        /// Of a program.
        Program = "program",
        /// Of a country.
        Country = "country",
        /// Of a sub id.
        SubId = "sub_id",
    }
}

/// How much more, in whole percent of what was; nothing when there was nothing.
pub fn change_percent(now: i64, before: i64) -> Option<i64> {
    if before <= 0 {
        return None;
    }
    let difference = i128::from(now) - i128::from(before);
    i64::try_from(difference * 100 / i128::from(before)).ok()
}

/// What a week came to, as far as a digest speaks of it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Week {
    /// Clicks on the agent's own links, this week and the one before.
    pub clicks: (i64, i64),
    /// Leads and sales of those.
    pub conversions: (i64, i64),
    /// What they earned.
    pub earned: (Micros, Micros),
    /// Clicks on links of the agent's programs.
    pub received: (i64, i64),
    /// Leads and sales the agent reported.
    pub reported: (i64, i64),
    /// What the agent owes for them.
    pub owed: (Micros, Micros),
}

/// Where an agent stands: what decides its next step.
#[derive(Clone, Copy, Default, Debug, sqlx::FromRow)]
pub struct Standing {
    /// Programs that are not archived.
    pub programs: i64,
    /// Partnerships that are approved.
    pub partnerships: i64,
    /// Links that are not deleted.
    pub links: i64,
    /// Conversions of its programs that wait for its decision.
    pub to_decide: i64,
    /// Affiliates who wait for its decision.
    pub to_admit: i64,
    /// Suggested or not, clicks it could not pay for this month.
    pub over_limit: i64,
}

/// The figures worth a line: those of which there were any.
pub fn highlights(week: &Week) -> Vec<Highlight> {
    let count = |title: &'static str, (now, before): (i64, i64)| {
        (now > 0 || before > 0).then(|| Highlight {
            title,
            value: now.to_string(),
            previous: before.to_string(),
            change_percent: change_percent(now, before),
        })
    };
    let money = |title: &'static str, (now, before): (Micros, Micros)| {
        (now != Micros::ZERO || before != Micros::ZERO).then(|| Highlight {
            title,
            value: format!("${now}"),
            previous: format!("${before}"),
            change_percent: change_percent(now.0, before.0),
        })
    };
    [
        count("Clicks on your links", week.clicks),
        count("Conversions from your links", week.conversions),
        money("Commissions earned", week.earned),
        count("Clicks to your programs", week.received),
        count("Conversions in your programs", week.reported),
        money("Commissions owed", week.owed),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The week in a sentence or two.
pub fn summary(week: &Week) -> String {
    let mut parts = Vec::new();
    if week.clicks.0 > 0 || week.conversions.0 > 0 {
        parts.push(format!(
            "Your links brought {} and {}, worth ${} in commissions.",
            counted(week.clicks.0, "click"),
            counted(week.conversions.0, "conversion"),
            week.earned.0
        ));
    }
    if week.received.0 > 0 || week.reported.0 > 0 {
        parts.push(format!(
            "Your programs received {} and {}, for which you owe ${}.",
            counted(week.received.0, "click"),
            counted(week.reported.0, "conversion"),
            week.owed.0
        ));
    }
    if parts.is_empty() {
        return "Nothing happened this week: no clicks and no conversions.".to_owned();
    }
    parts.join(" ")
}

fn counted(count: i64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// The one thing that helps most now.
pub fn next_action(standing: &Standing, week: &Week) -> NextAction {
    let action = |text: &str, method, path| NextAction { text: text.to_owned(), method, path };
    if standing.to_decide > 0 {
        let text = format!("Decide {} of your programs.", counted(standing.to_decide, "pending conversion"));
        return action(&text, "GET", "/api/programs/PROGRAM_ID/conversions?status=pending");
    }
    if standing.to_admit > 0 {
        let text = format!("Answer {} to join your programs.", counted(standing.to_admit, "request"));
        return action(&text, "GET", "/api/programs/PROGRAM_ID/affiliates?status=pending");
    }
    if standing.over_limit > 0 {
        let text = format!(
            "Top your wallet up: {} went unbilled this month.",
            counted(standing.over_limit, "click")
        );
        return action(&text, "POST", "/api/wallet/topup");
    }
    match (standing.programs, standing.partnerships, standing.links) {
        (0, 0, _) => {
            action("Find a program to promote, or create one of your own.", "GET", "/api/network/discover")
        }
        (_, 1.., 0) => {
            action("Make your first tracking link.", "POST", "/api/partnerships/PARTNERSHIP_ID/links")
        }
        (_, 1.., _) if week.clicks.0 == 0 => action(
            "Share your links: none was clicked this week.",
            "GET",
            "/api/partnerships/PARTNERSHIP_ID/links",
        ),
        (1.., 0, _) if week.received.0 == 0 => {
            action("Find affiliates for your program.", "GET", "/api/outreach/suggest?program_id=PROGRAM_ID")
        }
        _ => action("See all your figures.", "GET", "/api/agents/me/stats"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_whole_hours_up_to_now() {
        let now = "2026-06-15T12:34:56Z".parse().expect("an instant");
        let span = Span::last(Some(7), now).expect("7 is one of them");
        assert_eq!(span.to.to_rfc3339(), "2026-06-15T13:00:00+00:00");
        assert_eq!(span.from.to_rfc3339(), "2026-06-08T13:00:00+00:00");
        assert_eq!(span.before.to_rfc3339(), "2026-06-01T13:00:00+00:00");
        assert_eq!(Span::last(None, now).expect("30 without asking").days, 30);
        for days in [0, 1, 31, -7, i64::MAX, i64::MIN] {
            assert!(Span::last(Some(days), now).is_err(), "{days}");
        }
    }

    #[test]
    fn changes_are_percents_of_what_was() {
        for (now, before, expected) in [
            (0, 0, None),
            (5, 0, None),
            (0, 5, Some(-100)),
            (15, 10, Some(50)),
            (10, 30, Some(-66)),
            (i64::MAX, 1, None),
            (1, -5, None),
        ] {
            assert_eq!(change_percent(now, before), expected, "{now} {before}");
        }
    }

    #[test]
    fn a_digest_speaks_of_what_there_was() {
        assert_eq!(summary(&Week::default()), "Nothing happened this week: no clicks and no conversions.");
        assert!(highlights(&Week::default()).is_empty());
        let week = Week {
            clicks: (1, 0),
            conversions: (2, 4),
            earned: (Micros(19_800_000), Micros(39_600_000)),
            ..Week::default()
        };
        assert_eq!(
            summary(&week),
            "Your links brought 1 click and 2 conversions, worth $19.8 in commissions."
        );
        let lines: Vec<_> =
            highlights(&week).into_iter().map(|line| (line.title, line.value, line.change_percent)).collect();
        assert_eq!(
            lines,
            [
                ("Clicks on your links", "1".to_owned(), None),
                ("Conversions from your links", "2".to_owned(), Some(-50)),
                ("Commissions earned", "$19.8".to_owned(), Some(-50)),
            ]
        );
    }

    #[test]
    fn the_next_action_is_what_waits_for_the_agent() {
        let clicked = Week { clicks: (3, 0), ..Week::default() };
        let check = |standing: Standing, week: &Week, path: &str| {
            assert_eq!(next_action(&standing, week).path, path, "{standing:?}");
        };
        let none = Standing::default();
        check(none, &Week::default(), "/api/network/discover");
        check(
            Standing { partnerships: 1, ..none },
            &Week::default(),
            "/api/partnerships/PARTNERSHIP_ID/links",
        );
        check(Standing { partnerships: 1, links: 1, ..none }, &clicked, "/api/agents/me/stats");
        check(
            Standing { programs: 1, ..none },
            &Week::default(),
            "/api/outreach/suggest?program_id=PROGRAM_ID",
        );
        check(Standing { programs: 1, over_limit: 2, ..none }, &clicked, "/api/wallet/topup");
        check(
            Standing { programs: 1, to_admit: 1, over_limit: 2, ..none },
            &clicked,
            "/api/programs/PROGRAM_ID/affiliates?status=pending",
        );
        check(
            Standing { programs: 1, to_decide: 1, to_admit: 1, ..none },
            &clicked,
            "/api/programs/PROGRAM_ID/conversions?status=pending",
        );
    }
}
