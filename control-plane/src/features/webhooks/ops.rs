//! Writing events. The caller owns the transaction.

use super::event::{Event, Suggested};
use super::queries::{self, NewEvent};
use super::wire::Head;
use crate::error::{Error, Result};
use crate::trace;
use chrono::{DateTime, Utc};
use shared::Clock;
use shared::id::EventId;
use sqlx::PgConnection;
use std::collections::HashSet;

/// Writes an event in the caller's transaction: it happens if and only if what it reports does.
/// Call it when the object is as it will be committed.
pub async fn emit(conn: &mut PgConnection, clock: &dyn Clock, event: &Event) -> Result<()> {
    emit_all(conn, clock, std::slice::from_ref(event)).await
}

/// The same for many, in two statements.
pub async fn emit_all(conn: &mut PgConnection, clock: &dyn Clock, events: &[Event]) -> Result<()> {
    emit_at(conn, clock.now(), events).await
}

/// The same at a moment the caller works with.
pub async fn emit_at(conn: &mut PgConnection, now: DateTime<Utc>, events: &[Event]) -> Result<()> {
    let mut rest = events;
    while !rest.is_empty() {
        // One statement cannot count two events of one object.
        let mut objects = HashSet::new();
        let distinct = rest.iter().take_while(|event| objects.insert(event.object().object_id())).count();
        let (these, later) = rest.split_at(distinct);
        write(conn, now, these).await?;
        rest = later;
    }
    Ok(())
}

/// Tells both sides of each pair that the matching has found and stores in the caller's transaction.
pub async fn emit_suggestions(conn: &mut PgConnection, clock: &dyn Clock, found: &[Suggested]) -> Result<()> {
    // All of one side, then all of the other: objects are distinct in each half, so two batches do.
    let (first, second): (Vec<_>, Vec<_>) =
        found.iter().map(Suggested::events).map(|[one, two]| (one, two)).unzip();
    emit_all(conn, clock, &first).await?;
    emit_all(conn, clock, &second).await
}

async fn write(conn: &mut PgConnection, now: DateTime<Utc>, events: &[Event]) -> Result<()> {
    let objects: Vec<_> = events.iter().map(|event| event.object().object_id()).collect();
    let sequences = queries::next_sequences(conn, &objects).await?;
    let mut new = Vec::with_capacity(events.len());
    for event in events {
        let (event_type, object) = (event.event_type(), event.object());
        let uncounted = || Error::bug(anyhow::anyhow!("an event's object was not counted"));
        let sequence = *sequences.get(&object.object_id()).ok_or_else(uncounted)?;
        let id = EventId::generate();
        let head = Head { id: id.uuid(), event_type, created_at: now.into(), test: false, sequence };
        new.push(NewEvent {
            id,
            event_type,
            object: object.object_id(),
            sequence,
            audience: object.audience(),
            payload: object.render(&head).map_err(Error::bug)?,
        });
        metrics::counter!("cp_events_total", "type" => event_type.as_str()).increment(1);
    }
    queries::insert_events(conn, &new, trace::carried().as_deref(), now).await
}
