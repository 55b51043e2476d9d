//! HTTP of events and webhooks: extract, call, respond.

use super::queries;
use super::wire::{EventsQuery, EventsResponse};
use crate::app::App;
use crate::auth;
use crate::error::{Error, Result};
use crate::page::PageQuery;
use crate::web::extract::Query;
use crate::web::respond::{self, ErrorBody, Reply};
use axum::extract::State;
use serde_json::value::RawValue;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of events and webhooks.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_events))
        .merge(super::endpoints::routes::router())
        .merge(super::deliveries::routes::router())
}

/// Read your events
///
/// The same events that webhooks deliver, to pull: on every plan, for agents without a public URL and to
/// catch up after an outage. Kept for 30 days. Start without `after`, then send `next_after` of each reply:
/// nothing is missed and nothing comes twice.
#[utoipa::path(
    get, path = "/api/events", tag = "webhooks", operation_id = "list_events",
    params(EventsQuery),
    responses(
        (status = 200, description = "Events behind `after`, oldest first", body = EventsResponse),
        (status = 400, description = "invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
    ),
)]
async fn list_events(State(app): State<App>, caller: auth::Agent, Query(query): Query<EventsQuery>) -> Reply {
    let after = query.after.as_deref().map(position).transpose()?.unwrap_or(0);
    let page = PageQuery { page: None, per_page: query.per_page }.checked()?;
    let mut conn = app.read().await?;
    let mut rows = queries::list_feed(&mut conn, caller.id, after, page.per_page + 1).await?;
    let has_more = rows.len() as i64 > page.per_page;
    rows.truncate(page.per_page as usize);
    let next_after = rows.last().map_or(after, |(position, _)| *position).to_string();
    let events = rows.into_iter().map(|(_, payload)| RawValue::from_string(payload));
    let data = events.collect::<Result<_, _>>().map_err(Error::bug)?;
    Ok(respond::ok(&EventsResponse { data, has_more, next_after }))
}

fn position(text: &str) -> Result<i64> {
    text.parse().ok().filter(|position| *position >= 0).ok_or_else(|| {
        Error::invalid(
            "after",
            "`after` is not a position in the feed.",
            "Send `next_after` of the reply before as it is, or leave `after` out to start with the oldest event kept.",
        )
    })
}
