//! The fold: sums appended by the drainer become hourly counts and usage.
//!
//! One transaction takes a group of delta rows, adds them up and writes each key once, in the order of the
//! keys, so that folders side by side wait for each other instead of dead-locking. Delta rows are taken with
//! `SKIP LOCKED`: two folders never hold the same one. Upserting here, a second's worth at a time, instead
//! of in the drain's transaction is what lets the drain run at a third of bare `COPY` and more.
//! Limit: [`ROWS_MAX`] delta rows a turn.

use super::queries;
use super::sources::{self, SourceDelta};
use crate::app::App;
use crate::db;
use crate::error::{Error, Result};
use crate::features::usage::hammered::LinkUse;
use crate::features::usage::model::month_of;
use crate::features::usage::ops::{self as usage, ClickUse};
use crate::workers::jobs::Turn;
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{Connection, PgConnection};
use std::collections::BTreeMap;

/// Delta rows of one transaction. A drainer appends one for each batch; ten a second is a busy one.
pub const ROWS_MAX: i64 = 200;
const HOUR_MS: i64 = 3_600_000;

/// One delta row, column by column.
#[derive(sqlx::FromRow, Debug, Default)]
pub struct Delta {
    pub(crate) advertisers: Vec<i32>,
    pub(crate) link_keys: Vec<i64>,
    pub(crate) hours: Vec<i32>,
    pub(crate) classes: Vec<i16>,
    pub(crate) billable: Vec<bool>,
    pub(crate) counts: Vec<i32>,
    pub(crate) created_at: DateTime<Utc>,
    #[sqlx(flatten)]
    pub(crate) sources: SourceDelta,
}

/// Key of `link_hours`, in the order of its rows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct HourKey {
    pub(crate) advertiser: i32,
    pub(crate) link_key: i64,
    pub(crate) hour: i32,
    pub(crate) class: i16,
}

/// Clicks of one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct HourSum {
    pub(crate) clicks: i64,
    pub(crate) billable: i64,
}

/// What one turn came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Folded {
    /// Delta rows taken.
    pub rows: usize,
    /// Clicks in them.
    pub clicks: i64,
}

/// One turn: folds up to [`ROWS_MAX`] delta rows in a transaction of its own.
pub async fn fold(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Folded> {
    let mut tries = 1;
    loop {
        match turn(conn, now).await {
            Err(error) if is_lost_race(&error) && tries < 5 => {
                tries += 1;
                let pause = std::time::Duration::from_millis;
                tokio::time::sleep(crate::workers::backoff::jittered(pause(10), pause(200))).await;
            }
            outcome => return outcome,
        }
    }
}

fn is_lost_race(error: &Error) -> bool {
    let source = error.source.as_ref().and_then(|source| source.downcast_ref::<sqlx::Error>());
    source.is_some_and(db::is_retryable)
}

async fn turn(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Folded> {
    let mut tx = conn.begin().await?;
    let deltas = queries::take_deltas(&mut tx, ROWS_MAX).await?;
    if deltas.is_empty() {
        return Ok(Folded::default());
    }
    if let Some(oldest) = deltas.iter().map(|delta| delta.created_at).min() {
        let waited = (now - oldest).as_seconds_f64().max(0.0);
        metrics::histogram!("cp_fold_lag_seconds").record(waited);
    }
    let hours = sum_hours(&deltas)?;
    // Held to the end of the transaction: no month closes under it.
    let closed = usage::hold_closed(&mut tx).await?;
    let uses = payable(&mut tx, sum_uses(&hours, closed, month_of(now))).await?;
    let links = sum_links(&hours, closed, month_of(now));
    queries::add_hours(&mut tx, &hours).await?;
    let sources = sources::sum(deltas.iter().map(|delta| &delta.sources))?;
    if !sources.is_empty() {
        queries::add_sources(&mut tx, &sources).await?;
    }
    usage::meter_clicks(&mut tx, now, &uses, &links).await?;
    tx.commit().await?;
    let clicks = hours.values().map(|sum| sum.clicks).sum();
    metrics::counter!("cp_fold_clicks_total").increment(clicks as u64);
    Ok(Folded { rows: deltas.len(), clicks })
}

/// Adds delta rows up, sorted by key.
fn sum_hours(deltas: &[Delta]) -> Result<BTreeMap<HourKey, HourSum>> {
    let mut keyed = Vec::with_capacity(deltas.iter().map(|delta| delta.counts.len()).sum());
    for delta in deltas {
        let lengths = [
            delta.link_keys.len(),
            delta.hours.len(),
            delta.classes.len(),
            delta.billable.len(),
            delta.counts.len(),
        ];
        if lengths.iter().any(|length| *length != delta.advertisers.len()) {
            return Err(Error::bug(anyhow::anyhow!("a delta row's columns differ in length")));
        }
        for at in 0..delta.counts.len() {
            let key = HourKey {
                advertiser: delta.advertisers[at],
                link_key: delta.link_keys[at],
                hour: delta.hours[at],
                class: delta.classes[at],
            };
            keyed.push((key, i64::from(delta.counts[at]), delta.billable[at]));
        }
    }
    keyed.sort_unstable_by_key(|(key, ..)| *key);
    let mut hours: BTreeMap<HourKey, HourSum> = BTreeMap::new();
    for (key, count, billable) in keyed {
        let sum = hours.entry(key).or_default();
        sum.clicks += count;
        sum.billable += if billable { count } else { 0 };
    }
    Ok(hours)
}

/// Metered clicks by advertiser and month; those of a closed month count in the current one.
fn sum_uses(
    hours: &BTreeMap<HourKey, HourSum>,
    closed: Option<NaiveDate>,
    current: NaiveDate,
) -> Vec<ClickUse> {
    let mut uses: BTreeMap<(i32, NaiveDate), (i64, i64)> = BTreeMap::new();
    for (key, sum) in hours.iter().filter(|(_, sum)| sum.billable > 0) {
        let month = month_of(start_of(key.hour));
        let is_late = closed.is_some_and(|closed| month <= closed);
        let (count, late) = uses.entry((key.advertiser, if is_late { current } else { month })).or_default();
        *count += sum.billable;
        *late += if is_late { sum.billable } else { 0 };
    }
    let one = |((advertiser, month), (count, late))| ClickUse { advertiser, month, count, late };
    uses.into_iter().map(one).collect()
}

/// The same by link and hour.
fn sum_links(
    hours: &BTreeMap<HourKey, HourSum>,
    closed: Option<NaiveDate>,
    current: NaiveDate,
) -> Vec<LinkUse> {
    let mut uses: Vec<LinkUse> = Vec::new();
    for (key, sum) in hours.iter().filter(|(_, sum)| sum.billable > 0) {
        let hour = start_of(key.hour);
        let month = month_of(hour);
        let month = if closed.is_some_and(|closed| month <= closed) { current } else { month };
        let one = LinkUse { advertiser: key.advertiser, month, link_key: key.link_key, hour, count: 0 };
        // Classes of an hour stand side by side.
        match uses.last_mut() {
            Some(last) if last.is_same(&one) => last.count += sum.billable,
            _ => uses.push(LinkUse { count: sum.billable, ..one }),
        }
    }
    uses
}

/// The uses whose account exists. A frame that names another is a bug or a forgery; it is counted and
/// reported, but it must not stop everybody's metering.
async fn payable(conn: &mut PgConnection, uses: Vec<ClickUse>) -> Result<Vec<ClickUse>> {
    let numbers: Vec<i32> = uses.iter().map(|one| one.advertiser).collect();
    let known = queries::list_accounts(conn, &numbers).await?;
    let (payable, strange): (Vec<_>, Vec<_>) =
        uses.into_iter().partition(|one| known.binary_search(&one.advertiser).is_ok());
    let clicks: i64 = strange.iter().map(|one| one.count).sum();
    if clicks > 0 {
        metrics::counter!("cp_fold_strange_clicks_total").increment(clicks as u64);
        tracing::error!(clicks, "clicks name accounts that do not exist; they are not metered");
    }
    Ok(payable)
}

/// When an hour counted from the Unix epoch begins.
pub(crate) fn start_of(hour: i32) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(i64::from(hour) * HOUR_MS).unwrap_or_default()
}

/// The job: one turn, again at once while there is more.
pub async fn job(app: App) -> Result<Turn> {
    let mut conn = app.db_worker().acquire().await?;
    let folded = fold(&mut conn, app.clock().now()).await?;
    Ok(if folded.rows as i64 == ROWS_MAX { Turn::Again } else { Turn::Idle })
}
