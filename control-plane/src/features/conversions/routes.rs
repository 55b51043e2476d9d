//! HTTP of conversions and of what they earn: extract, call, respond.

use super::clicks;
use super::model::Tracked;
use super::ops::{self, Report};
use super::queries::{self, COUNT_MAX, Filter};
use super::refunds;
use super::wire::{
    ClickResponse, ConversionResponse, ConversionsQuery, DecideRequest, EarningsResponse,
    ProgramPayoutsResponse, RefundRequest, RefundResponse, SumsQuery, TrackClickRequest, TrackRequest,
    TrackedResponse,
};
use crate::app::App;
use crate::auth;
use crate::error::{Code, Error, Result};
use crate::features::agents::ops::must_be;
use crate::features::commissions;
use crate::page::Paged;
use crate::text;
use crate::time;
use crate::web::extract::{Path, Payload, Query};
use crate::web::rate_limit;
use crate::web::respond::{self, ApiError, ErrorBody, Reply};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use shared::LinkKey;
use shared::id::{AgentId, ConversionId, ProgramId};
use sqlx::PgConnection;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of conversions.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(track_conversion))
        .routes(routes!(track_click))
        .routes(routes!(get_conversion, decide_conversion))
        .routes(routes!(refund_conversion))
        .routes(routes!(list_conversions))
        .routes(routes!(list_agent_conversions))
        .routes(routes!(list_program_conversions))
        .routes(routes!(get_earnings))
        .routes(routes!(get_program_payouts))
}

/// Report a lead, a sale or a click
///
/// The advertiser's call, server to server: the link's program must be the caller's. A lead or sale costs
/// $0.30, a click $0.002, or counts against the month's allowance. A click's reply is that of
/// POST /api/conversions/track-click.
#[utoipa::path(
    post, path = "/api/conversions/track", tag = "conversions", operation_id = "track_conversion",
    request_body = TrackRequest,
    responses(
        (status = 201, description = "The conversion and its commission", body = TrackedResponse),
        (status = 400, description = "missing_field, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 402, description = "free_tier_limit_reached, insufficient_credits", body = ErrorBody),
        (status = 403, description = "not_owner: the program is another's; not_approved: the partnership is not approved", body = ErrorBody),
        (status = 404, description = "not_found: no such tracking_token", body = ErrorBody),
        (status = 409, description = "duplicate_conversion: `conversion_id` names the first; invalid_state: the program is archived; idempotency_key_reused", body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 415, description = "unsupported_media_type", body = ErrorBody),
        (status = 422, description = "attribution_expired: the click is older than attribution_days", body = ErrorBody),
    ),
)]
async fn track_conversion(State(app): State<App>, caller: auth::Agent, mut payload: Payload) -> Reply {
    let request: TrackRequest = payload.json()?;
    let report = Report::from_request(&request, app.click_id_key())?;
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    let (key, tracked) = ops::load_tracked(&mut unit, app.token_key(), &request.tracking_token).await?;
    if tracked.advertiser_id != caller.id {
        return Err(Error::new(
            Code::NotOwner,
            "The tracking link belongs to another advertiser's program.",
            "Only the program's advertiser reports conversions: use its key. As affiliate, report clicks with POST /api/conversions/track-click.",
        )
        .into());
    }
    match report {
        Some(report) => {
            let conversion = ops::record(&mut unit, app.clock(), (key, &tracked), &report).await?;
            unit.created(&TrackedResponse::Conversion(conversion.into())).await
        }
        None => {
            let click = record_click(&mut unit, &app, key, tracked).await?;
            unit.created(&TrackedResponse::Click(click)).await
        }
    }
}

/// Report a click that could not go through the redirect
///
/// For the link's affiliate and its program's advertiser. Costs the advertiser $0.002, or counts against
/// the month's allowance; beyond it the click is recorded and not billed, as on the redirect. At most 1,000
/// a minute for each caller.
#[utoipa::path(
    post, path = "/api/conversions/track-click", tag = "conversions", operation_id = "track_click",
    request_body = TrackClickRequest,
    responses(
        (status = 201, description = "The click", body = ClickResponse),
        (status = 400, description = "missing_field, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: the link is another's; not_approved: the partnership is not approved", body = ErrorBody),
        (status = 404, description = "not_found: no such tracking_token", body = ErrorBody),
        (status = 409, description = "invalid_state: the program is not active; idempotency_key_reused", body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 415, description = "unsupported_media_type", body = ErrorBody),
        (status = 429, description = "rate_limited: 1,000 a minute", body = ErrorBody),
    ),
)]
async fn track_click(
    State(app): State<App>,
    caller: auth::Agent,
    payload: Payload,
) -> Result<Response, ApiError> {
    let standing = rate_limit::take(&app, &clicks::LIMIT, &caller.id.to_string()).await?;
    let reply = if standing.allowed {
        track_click_within_limit(&app, &caller, payload).await
    } else {
        Err(standing.refusal().into())
    };
    let mut response = reply.into_response();
    standing.write(response.headers_mut());
    Ok(response)
}

async fn track_click_within_limit(app: &App, caller: &auth::Agent, mut payload: Payload) -> Reply {
    let request: TrackClickRequest = payload.json()?;
    let mut unit = payload.unit(app, &caller.id.to_string()).await?;
    let (key, tracked) = ops::load_tracked(&mut unit, app.token_key(), &request.tracking_token).await?;
    clicks::must_be_party(&tracked, caller.id)?;
    let click = record_click(&mut unit, app, key, tracked).await?;
    unit.created(&click).await
}

async fn record_click(
    conn: &mut PgConnection,
    app: &App,
    key: LinkKey,
    tracked: Tracked,
) -> Result<ClickResponse> {
    let recorded = clicks::record(conn, app.clock(), app.click_id_key(), (key, &tracked)).await?;
    Ok(ClickResponse {
        click_id: recorded.click_id,
        event_type: "click",
        class: clicks::CLASS.name(),
        counted: recorded.counted,
        tracking_token: tracked.token,
        link_id: tracked.link_id.uuid(),
        program_id: tracked.program_id.uuid(),
        partnership_id: tracked.partnership_id.uuid(),
        affiliate_id: tracked.affiliate_id.uuid(),
        created_at: chrono::DateTime::from_timestamp_millis(recorded.click.at_ms).unwrap_or_default().into(),
    })
}

/// Get a conversion
///
/// For its advertiser and its affiliate.
#[utoipa::path(
    get, path = "/api/conversions/{id}", tag = "conversions", operation_id = "get_conversion",
    params(("id" = uuid::Uuid, Path, description = "The conversion's id")),
    responses(
        (status = 200, description = "The conversion and its commission", body = ConversionResponse),
        (status = 400, description = "invalid_id", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
    ),
)]
async fn get_conversion(State(app): State<App>, caller: auth::Agent, Path(id): Path<ConversionId>) -> Reply {
    let mut conn = app.read().await?;
    let conversion = ops::load_for(&mut conn, caller.id, id).await?;
    Ok(respond::ok(&ConversionResponse::from(conversion)))
}

/// Approve or reject a conversion
///
/// The advertiser's decision: `pending` to `approved` or `rejected`, and `approved` to `rejected` until its
/// commission is in a payout. One left pending is approved by itself at `auto_approve_at`.
#[utoipa::path(
    patch, path = "/api/conversions/{id}", tag = "conversions", operation_id = "decide_conversion",
    params(("id" = uuid::Uuid, Path, description = "The conversion's id")),
    request_body = DecideRequest,
    responses(
        (status = 200, description = "The conversion as it is now", body = ConversionResponse),
        (status = 400, description = "invalid_id, missing_field, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: you are its affiliate", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
        (status = 409, description = "invalid_state: `status` says where it stands; idempotency_key_reused", body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 415, description = "unsupported_media_type", body = ErrorBody),
    ),
)]
async fn decide_conversion(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<ConversionId>,
    mut payload: Payload,
) -> Reply {
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    ops::load_own(&mut unit, caller.id, id).await?;
    let request: DecideRequest = payload.json()?;
    let reason =
        request.reason.as_deref().map(|reason| text::paragraph("reason", reason, 500)).transpose()?;
    let conversion = ops::decide(&mut unit, app.clock(), id, request.status, reason.as_deref()).await?;
    unit.ok(&ConversionResponse::from(conversion)).await
}

/// Refund a sale
///
/// In part or as a whole. Before its payout the commission shrinks; afterwards the next payout nets it off.
/// A conversion refunded as a whole is `rejected`, or `reversed` when it was paid. No body refunds what is left.
#[utoipa::path(
    post, path = "/api/conversions/{id}/refunds", tag = "conversions", operation_id = "refund_conversion",
    params(("id" = uuid::Uuid, Path, description = "The conversion's id")),
    request_body = RefundRequest,
    responses(
        (status = 201, description = "The refund and the conversion as it is now", body = RefundResponse),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: you are its affiliate", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
        (status = 409, description = "duplicate_refund: `refund_id` names the first; invalid_state; idempotency_key_reused", body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 415, description = "unsupported_media_type", body = ErrorBody),
    ),
)]
async fn refund_conversion(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<ConversionId>,
    mut payload: Payload,
) -> Reply {
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    ops::load_own(&mut unit, caller.id, id).await?;
    let request: RefundRequest = payload.json_or_default()?;
    let refund = refunds::refund(&mut unit, app.clock(), id, &request).await?;
    unit.created(&RefundResponse::from(refund)).await
}

/// List the conversions of all your programs
///
/// As their advertiser, newest first. GET /api/programs/:id/conversions lists those of one.
#[utoipa::path(
    get, path = "/api/conversions", tag = "conversions", operation_id = "list_conversions",
    params(ConversionsQuery),
    responses(
        (status = 200, description = "A page of conversions", body = Paged<ConversionResponse>),
        (status = 400, description = "invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
    ),
)]
async fn list_conversions(
    State(app): State<App>,
    caller: auth::Agent,
    query: Result<Query<ConversionsQuery>, ApiError>,
) -> Reply {
    let mut conn = app.read().await?;
    let Query(query) = query?;
    let filter = Filter { advertiser_id: Some(caller.id), ..filter(&query)? };
    list(&mut conn, &filter, &query).await
}

/// List an affiliate's conversions
///
/// Your own, newest first.
#[utoipa::path(
    get, path = "/api/agents/{id}/conversions", tag = "agents", operation_id = "list_agent_conversions",
    params(("id" = uuid::Uuid, Path, description = "Your agent id"), ConversionsQuery),
    responses(
        (status = 200, description = "A page of conversions", body = Paged<ConversionResponse>),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: another agent", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
    ),
)]
async fn list_agent_conversions(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<AgentId>,
    query: Result<Query<ConversionsQuery>, ApiError>,
) -> Reply {
    let mut conn = app.read().await?;
    must_be(&mut conn, caller.id, id).await?;
    let Query(query) = query?;
    let mut filter = filter(&query)?;
    if filter.affiliate_id.is_some_and(|other| other != id) {
        return Err(Error::invalid(
            "affiliate_id",
            "This list is of your own conversions as an affiliate.",
            "Leave out `affiliate_id`; as advertiser use GET /api/programs/:id/conversions?affiliate_id=….",
        )
        .into());
    }
    filter.affiliate_id = Some(id);
    list(&mut conn, &filter, &query).await
}

/// List a program's conversions
///
/// Of a program you own, newest first.
#[utoipa::path(
    get, path = "/api/programs/{id}/conversions", tag = "programs", operation_id = "list_program_conversions",
    params(("id" = uuid::Uuid, Path, description = "The program's id"), ConversionsQuery),
    responses(
        (status = 200, description = "A page of conversions", body = Paged<ConversionResponse>),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: another's program", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
    ),
)]
async fn list_program_conversions(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<ProgramId>,
    query: Result<Query<ConversionsQuery>, ApiError>,
) -> Reply {
    let mut conn = app.read().await?;
    must_own_program(&mut conn, caller.id, id).await?;
    let Query(query) = query?;
    let mut filter = filter(&query)?;
    filter.program_id = Some(id);
    list(&mut conn, &filter, &query).await
}

/// Sum up an affiliate's earnings
///
/// Your own: totals and program by program.
#[utoipa::path(
    get, path = "/api/agents/{id}/earnings", tag = "agents", operation_id = "get_earnings",
    params(("id" = uuid::Uuid, Path, description = "Your agent id"), SumsQuery),
    responses(
        (status = 200, description = "The sums", body = EarningsResponse),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: another agent", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
    ),
)]
async fn get_earnings(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<AgentId>,
    query: Result<Query<SumsQuery>, ApiError>,
) -> Reply {
    let mut conn = app.read().await?;
    must_be(&mut conn, caller.id, id).await?;
    let Query(query) = query?;
    let summed = commissions::ops::earnings(&mut conn, id, app.clock().now(), query.page()?).await?;
    Ok(respond::ok(&EarningsResponse::new(id, summed)))
}

/// Sum up what a program owes and paid
///
/// Of a program you own: totals and affiliate by affiliate. POST /api/payouts/process pays what is payable.
#[utoipa::path(
    get, path = "/api/programs/{id}/payouts", tag = "programs", operation_id = "get_program_payouts",
    params(("id" = uuid::Uuid, Path, description = "The program's id"), SumsQuery),
    responses(
        (status = 200, description = "The sums", body = ProgramPayoutsResponse),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: another's program", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
    ),
)]
async fn get_program_payouts(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<ProgramId>,
    query: Result<Query<SumsQuery>, ApiError>,
) -> Reply {
    let mut conn = app.read().await?;
    must_own_program(&mut conn, caller.id, id).await?;
    let Query(query) = query?;
    let summed = commissions::ops::owed(&mut conn, id, app.clock().now(), query.page()?).await?;
    Ok(respond::ok(&ProgramPayoutsResponse::new(id, summed)))
}

async fn list(conn: &mut PgConnection, filter: &Filter<'_>, query: &ConversionsQuery) -> Reply {
    let page = query.page()?;
    let conversions = queries::list_conversions(conn, filter, page).await?;
    let known = page.offset() + conversions.len() as i64;
    let ends_here = page.ends_with(&conversions);
    let total = match (page.total(), conversions.last()) {
        (Some(total), _) => total,
        // The rows before the page and of it are known to be there: what is left is counted, if there is any.
        (None, Some(_)) if ends_here || known >= COUNT_MAX => COUNT_MAX.min(known),
        (None, Some(last)) => {
            let left = queries::count_conversions(conn, filter, Some(last), COUNT_MAX - known).await?;
            COUNT_MAX.min(known + left)
        }
        (None, None) if page.offset() == 0 => 0,
        (None, None) => queries::count_conversions(conn, filter, None, page.offset()).await?,
    };
    let page = page.of_rows(conversions, total, |row| (row.created_at.timestamp_micros(), row.id.uuid()));
    Ok(respond::ok(&page.map(ConversionResponse::from).answering(query)?))
}

fn filter(query: &ConversionsQuery) -> Result<Filter<'_>> {
    let (from, to) = time::span(query.from.as_deref(), query.to.as_deref())?;
    Ok(Filter {
        advertiser_id: None,
        program_id: query.program_id.map(ProgramId::from_uuid),
        affiliate_id: query.affiliate_id.map(AgentId::from_uuid),
        status: query.status,
        event_type: query.event_type,
        external_id: query.external_id.as_deref(),
        from,
        to,
    })
}

async fn must_own_program(conn: &mut PgConnection, caller: AgentId, id: ProgramId) -> Result<()> {
    match queries::find_program_owner(conn, id).await? {
        None => Err(Error::not_found("program", "List programs with GET /api/programs.")),
        Some(owner) if owner == caller => Ok(()),
        Some(_) => Err(Error::new(
            Code::NotOwner,
            "The program belongs to another advertiser.",
            "Use the key of the program's advertiser; GET /api/agents/:id/conversions lists what you earned as affiliate.",
        )),
    }
}
