//! Closing months: when a month's usage can change no more.
//!
//! A month is over for a spool when the edge's clock in a committed frame has passed its end; idle edges
//! send such frames. It is closed when it is over for every live spool and no click of it waits for the
//! fold, and at the latest [`GRACE_HOURS`] after its end. A spool that said it has ended, or of which
//! nothing was heard for as long, is not live: an edge whose disk is gone holds nobody up for longer.
//!
//! Must stay true: a fold and a closing never overlap (both hold the row of `usage_closed`, the fold shared),
//! so every click counts either in its month before it is closed, or in the current one afterwards,
//! and then as late. The database refuses any change of a closed month.

use super::queries;
use crate::app::App;
use crate::error::Result;
use crate::features::usage::model::{end_of, month_of};
use crate::features::usage::ops as usage;
use crate::workers::jobs::Turn;
use chrono::{DateTime, Months, NaiveDate, TimeDelta, Utc};
use sqlx::{Connection, PgConnection};

/// How long a month waits for edges that were away.
pub const GRACE_HOURS: i64 = 72;

/// What one look came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closing {
    /// Every month that is over is closed.
    Nothing,
    /// This one is over and waits for spools or for the fold.
    Waiting(NaiveDate),
    /// This one is closed now.
    Closed(NaiveDate),
}

/// Closes the oldest month that can be closed, in a transaction of its own.
pub async fn close(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Closing> {
    let mut tx = conn.begin().await?;
    let last = usage::lock_closed(&mut tx).await?;
    let next = oldest_open(&mut tx, last, now).await?;
    let end = end_of(next);
    if now < end {
        return Ok(Closing::Nothing);
    }
    let grace = TimeDelta::hours(GRACE_HOURS);
    let overdue = now >= end + grace;
    if !overdue && queries::is_awaited(&mut tx, end, now - grace).await? {
        return Ok(Closing::Waiting(next));
    }
    usage::close_through(&mut tx, next, now).await?;
    tx.commit().await?;
    tracing::info!(month = %next, overdue, "closed a month of usage");
    Ok(Closing::Closed(next))
}

/// The oldest month that is not closed.
async fn oldest_open(
    conn: &mut PgConnection,
    last: Option<NaiveDate>,
    now: DateTime<Utc>,
) -> Result<NaiveDate> {
    Ok(match last {
        Some(last) => last.checked_add_months(Months::new(1)).unwrap_or(NaiveDate::MAX),
        None => usage::first_month(conn).await?.unwrap_or(month_of(now)),
    })
}

/// How long the oldest month that is not closed has been over; less than nothing while it goes on. Waits for
/// nobody.
async fn overdue_for(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<TimeDelta> {
    let last = usage::last_closed(conn).await?;
    Ok(now - end_of(oldest_open(conn, last, now).await?))
}

/// The job: months that can be closed are.
pub async fn job(app: App) -> Result<Turn> {
    let now = app.clock().now();
    let mut conn = app.db_worker().acquire().await?;
    // Before it is tried: a month that cannot be closed is what has to be seen.
    let overdue = overdue_for(&mut conn, now).await?.as_seconds_f64().max(0.0);
    metrics::gauge!("cp_month_closing_age").set(overdue);
    let closing = close(&mut conn, now).await?;
    Ok(if matches!(closing, Closing::Closed(_)) { Turn::Again } else { Turn::Idle })
}
