//! From committed events to each agent's feed and to the queue of deliveries, by one writer at a time.
//!
//! Numbers given inside the writing transactions would become visible out of order. Here they are given
//! afterwards, under a lock that is held until the commit, so a reader's position is a promise. Deliveries
//! are queued in the same transaction: an event in the feed has all of its deliveries.

use super::deliver;
use super::model::{DELIVERY_FOR_MAX, KEPT_FOR};
use super::queries;
use crate::app::App;
use crate::error::Result;
use crate::trace;
use crate::workers::jobs::Turn;
use shared::Clock;
use sqlx::PgConnection;

/// Events moved in one transaction.
pub const BATCH_MAX: i64 = 500;
/// Rows of a table removed in one turn.
const FORGET_MAX: i64 = 5000;

/// Moves one batch into the feeds and queues its deliveries; the number of rows written, 0 also when
/// another writer is at it.
pub async fn advance(conn: &mut PgConnection, clock: &dyn Clock) -> Result<usize> {
    if !queries::try_lock_feed(conn).await? {
        return Ok(0);
    }
    let since = trace::now();
    let mut events = queries::feed(conn, BATCH_MAX).await?;
    let fed = events.len();
    // Each side has a row of its own.
    events.sort_unstable();
    events.dedup();
    if !events.is_empty() {
        let now = clock.now();
        let subscribers = deliver::queries::list_subscribers(conn, &events).await?;
        if !subscribers.is_empty() {
            deliver::queries::insert_deliveries(conn, &subscribers, now + DELIVERY_FOR_MAX, now).await?;
            for of_event in subscribers.chunk_by(|one, next| one.event_id == next.event_id) {
                let event = &of_event[0];
                let trace = event.trace_context.as_deref();
                trace::queued(trace, event.event_id, &event.event_type, of_event.len(), since);
            }
        }
    }
    Ok(fed)
}

/// Removes events, and what became of their deliveries, when they have been kept long enough.
pub async fn job(app: App) -> Result<Turn> {
    let before = app.clock().now() - KEPT_FOR;
    let mut conn = app.db_worker().acquire().await?;
    let more = queries::forget(&mut conn, before, FORGET_MAX).await?;
    Ok(if more { Turn::Again } else { Turn::Idle })
}
