//! Links that are hammered: clicks that would be paid for, far above what the link bills otherwise, are kept
//! and redirected but not billed, so that nobody can drain an advertiser by clicking.
//!
//! Judged by the hour of the clicks. A link may take [`HOUR_FREE`] paid clicks an hour, or [`FACTOR`] times the
//! mean of its hours in the week before if that is more. Only what would be paid for counts: the allowance is not
//! money. Hours without clicks count as 0, so a flood raises its own cap by a seventeenth of itself an hour, at most.
//!
//! Must stay true: called with the months locked, so that two folds never share the same room, and in how many
//! folds an hour's clicks come makes no difference; what is capped is in `link_charges` and in the month alike.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, clippy::as_conversions)]

mod queries;

use super::model::Metric;
use super::queries::MonthRow;
use crate::app::App;
use crate::error::Result;
use crate::features::webhooks::{self, event::Event};
use crate::workers::jobs::Turn;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use sqlx::PgConnection;
use std::collections::{HashMap, HashSet};

/// Paid clicks a link may take in an hour whatever it took before: $10 of them.
pub const HOUR_FREE: i64 = 5_000;
/// How far above its mean a link may bill.
pub const FACTOR: i64 = 10;
/// Hours the mean is of.
pub const MEAN_HOURS: i64 = 7 * 24;

/// How long an ordinary hour is kept: clicks are stored up to a week late.
const KEPT_DAYS: i64 = 8;

/// Metered clicks on a link in an hour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkUse {
    /// The advertiser's account number.
    pub advertiser: i32,
    /// The first day of the month they count in.
    pub month: NaiveDate,
    /// The link.
    pub link_key: i64,
    /// When the hour begins.
    pub hour: DateTime<Utc>,
    /// How many.
    pub count: i64,
}

impl LinkUse {
    /// Whether both are of one link and hour.
    pub fn is_same(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    fn key(&self) -> Key {
        (self.advertiser, self.month, self.link_key, self.hour)
    }
}

type Key = (i32, NaiveDate, i64, DateTime<Utc>);

/// What became of an hour's clicks beyond the allowance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Charge {
    advertiser: i32,
    month: NaiveDate,
    link_key: i64,
    hour: DateTime<Utc>,
    /// Let through to the wallet.
    passed: i64,
    capped: i64,
    cap: i64,
}

/// Paid clicks a link may take in an hour after a week with so many.
pub fn cap(week: i64) -> i64 {
    week.saturating_mul(FACTOR).checked_div(MEAN_HOURS).unwrap_or(0).max(HOUR_FREE)
}

/// Decides what is capped, for months that are locked and of which something is payable.
pub(crate) async fn caps(
    conn: &mut PgConnection,
    months: &[MonthRow],
    payable: &HashSet<(i32, NaiveDate)>,
    links: &[LinkUse],
) -> Result<Vec<Charge>> {
    let left = months
        .iter()
        .map(|month| ((month.advertiser, month.month), month.allowance_left(Metric::Clicks).max(0)))
        .collect();
    let uses = links.iter().filter(|one| payable.contains(&(one.advertiser, one.month)));
    let paid = beyond_allowance(uses, left);
    if paid.is_empty() {
        return Ok(Vec::new());
    }
    let passed = queries::load_passed(conn, &paid).await?;
    // Only these need to know what was usual.
    let busy: Vec<LinkUse> = paid
        .iter()
        .zip(&passed)
        .filter(|(one, passed)| one.count.saturating_add(**passed) > HOUR_FREE)
        .map(|(one, _)| *one)
        .collect();
    let weeks = if busy.is_empty() { Vec::new() } else { queries::load_weeks(conn, &busy).await? };
    let weeks = busy.iter().map(LinkUse::key).zip(weeks).collect();
    Ok(decide(&paid, &passed, &weeks))
}

/// Takes the allowance in the order of the uses; gives what is left of them.
fn beyond_allowance<'a>(
    uses: impl Iterator<Item = &'a LinkUse>,
    mut left: HashMap<(i32, NaiveDate), i64>,
) -> Vec<LinkUse> {
    let mut paid = Vec::new();
    for one in uses {
        let left = left.entry((one.advertiser, one.month)).or_default();
        let included = one.count.min(*left);
        *left = left.saturating_sub(included);
        let count = one.count.saturating_sub(included);
        if count > 0 {
            paid.push(LinkUse { count, ..*one });
        }
    }
    paid
}

fn decide(paid: &[LinkUse], passed: &[i64], weeks: &HashMap<Key, i64>) -> Vec<Charge> {
    let one = |(one, before): (&LinkUse, &i64)| {
        let cap = cap(weeks.get(&one.key()).copied().unwrap_or_default());
        let passed = one.count.min(cap.saturating_sub(*before).max(0));
        Charge {
            advertiser: one.advertiser,
            month: one.month,
            link_key: one.link_key,
            hour: one.hour,
            passed,
            capped: one.count.saturating_sub(passed),
            cap,
        }
    };
    paid.iter().zip(passed).map(one).collect()
}

/// What is capped of an account's month.
pub(crate) fn sum_capped(charges: &[Charge], advertiser: i32, month: NaiveDate) -> i64 {
    charges
        .iter()
        .filter(|one| (one.advertiser, one.month) == (advertiser, month))
        .fold(0, |sum, one| sum.saturating_add(one.capped))
}

/// The job: forgets the hours in which nothing was capped, once no click of them can come any more.
pub async fn forget(app: App) -> Result<Turn> {
    let now = app.clock().now();
    let before = now.checked_sub_signed(TimeDelta::days(KEPT_DAYS)).unwrap_or(now);
    let mut conn = app.db_worker().acquire().await?;
    queries::delete_ordinary(&mut conn, before).await?;
    Ok(Turn::Idle)
}

/// Stores what was decided, and tells the advertiser of a link's first capped hour of a day.
pub(crate) async fn note(conn: &mut PgConnection, now: DateTime<Utc>, charges: Vec<Charge>) -> Result<()> {
    if charges.is_empty() {
        return Ok(());
    }
    queries::add(conn, &charges).await?;
    let capped: Vec<Charge> = charges.into_iter().filter(|one| one.capped > 0).collect();
    if capped.is_empty() {
        return Ok(());
    }
    let clicks = capped.iter().fold(0_i64, |sum, one| sum.saturating_add(one.capped));
    metrics::counter!("cp_capped_clicks_total").increment(u64::try_from(clicks).unwrap_or(0));
    let events: Vec<Event> =
        queries::list_news(conn, &capped).await?.into_iter().map(Event::LinkCapped).collect();
    for event in &events {
        tracing::warn!(link.id = %event.object_id(), "a link bills far above its mean; the rest is capped");
    }
    webhooks::ops::emit_at(conn, now, &events).await
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests {
    use super::*;

    const JUNE: NaiveDate = NaiveDate::from_ymd_opt(2026, 6, 1).expect("a day");

    fn used(link_key: i64, hour: i64, count: i64) -> LinkUse {
        let hour = DateTime::from_timestamp(1_780_272_000 + hour * 3_600, 0).expect("an instant");
        LinkUse { advertiser: 1, month: JUNE, link_key, hour, count }
    }

    #[test]
    fn a_cap_is_ten_times_the_mean_and_five_thousand_at_least() {
        for (week, expected) in
            [(0, 5_000), (84_000, 5_000), (84_017, 5_001), (168_000, 10_000), (i64::MAX, i64::MAX / 168)]
        {
            assert_eq!(cap(week), expected, "{week}");
        }
    }

    #[test]
    fn the_allowance_goes_first_then_each_hour_takes_what_it_may() {
        let uses = [used(1, 0, 4_000), used(2, 0, 6_000), used(2, 1, 7_000), used(3, 0, 9_000)];
        let paid = beyond_allowance(uses.iter(), HashMap::from([((1, JUNE), 4_500)]));
        let counts: Vec<_> = paid.iter().map(|one| one.count).collect();
        assert_eq!(counts, [5_500, 7_000, 9_000]);
        let charges = decide(&paid, &[0, 4_999, 500], &HashMap::from([(uses[3].key(), 168_000)]));
        let decided: Vec<_> =
            charges.iter().map(|one| (one.link_key, one.passed, one.capped, one.cap)).collect();
        assert_eq!(decided, [(2, 5_000, 500, 5_000), (2, 1, 6_999, 5_000), (3, 9_000, 0, 10_000)]);
        assert_eq!(sum_capped(&charges, 1, JUNE), 7_499);
        assert_eq!(sum_capped(&charges, 2, JUNE), 0);
    }

    #[test]
    fn what_the_allowance_covers_is_not_paid_for() {
        let uses = [used(1, 0, 50_000)];
        assert_eq!(beyond_allowance(uses.iter(), HashMap::from([((1, JUNE), 50_000)])), []);
    }
}
