//! Steps on events. The caller owns the transaction.

use super::event::{Event, EventType, Object};
use super::queries::{self, NewEvent};
use super::wire::render;
use crate::error::{Error, Result};
use shared::Clock;
use shared::id::EventId;
use sqlx::PgConnection;

/// Writes an event in the caller's transaction: it happens if and only if what it reports does.
/// Call it last, with the object as it is then.
pub async fn emit(conn: &mut PgConnection, clock: &dyn Clock, event: &Event) -> Result<EventId> {
    let event_type = event.event_type();
    match event {
        Event::AffiliateJoined(object) | Event::AffiliateApproved(object) => {
            write(conn, clock, event_type, object).await
        }
        Event::ConversionCreated(object)
        | Event::ConversionApproved(object)
        | Event::ConversionRejected(object) => write(conn, clock, event_type, object).await,
        Event::PayoutProcessed(object) => write(conn, clock, event_type, object).await,
        Event::MatchSuggested(object) | Event::MatchProgramSuggested(object) => {
            write(conn, clock, event_type, object).await
        }
    }
}

async fn write<T: Object + Sync>(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    event_type: EventType,
    object: &T,
) -> Result<EventId> {
    let id = EventId::generate();
    let now = clock.now();
    let sequence = queries::next_sequence(conn, object.object_id()).await?;
    let payload = render(id.uuid(), event_type, now.into(), false, sequence, object).map_err(Error::bug)?;
    let new = NewEvent {
        id,
        event_type,
        object: object.object_id(),
        sequence,
        audience: &object.audience(),
        payload: &payload,
        now,
    };
    queries::insert_event(conn, &new).await?;
    metrics::counter!("cp_events_total", "type" => event_type.as_str()).increment(1);
    Ok(id)
}
