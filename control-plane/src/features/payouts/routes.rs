//! HTTP of payouts: extract, call, respond.

use super::address::Address;
use super::ops::{self, Order};
use super::queries::{self, Filter};
use super::wire::{
    AddressRequest, AddressResponse, MarkFailedRequest, MarkPaidRequest, NothingPaidResponse, PayoutDetails,
    PayoutResponse, PayoutsQuery, PreviewResponse, PreviewedPayout, ProcessRequest, ProcessResponse,
};
use crate::app::App;
use crate::auth;
use crate::error::{Error, Result};
use crate::features::agents::ops::must_be;
use crate::features::commissions::claims;
use crate::features::ledger::model::CURRENCY;
use crate::page::Paged;
use crate::time::At;
use crate::web::extract::{Path, Payload, Query};
use crate::web::respond::{self, ErrorBody, Reply};
use axum::extract::State;
use shared::id::{AgentId, PayoutId, ProgramId};
use sqlx::PgConnection;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Commissions shown with a payout.
const COMMISSIONS_SHOWN: i64 = 100;

/// The routes of payouts.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(process_payouts))
        .routes(routes!(list_payouts))
        .routes(routes!(get_payout))
        .routes(routes!(mark_payout_paid))
        .routes(routes!(mark_payout_failed))
        .routes(routes!(get_payout_address, set_payout_address))
}

/// Pay the affiliates of a program
///
/// Takes the program's approved commissions past their hold, nets off what refunds took back, and makes
/// one payout per affiliate. With `"dry_run": true` it only shows what it would do. Two calls at once never
/// pay a commission twice.
#[utoipa::path(
    post, path = "/api/payouts/process", tag = "payouts", operation_id = "process_payouts",
    request_body = ProcessRequest,
    responses(
        (status = 200, description = "Dry run: what would be paid. Else: nothing was due", body = NothingPaidResponse),
        (status = 201, description = "The payouts made", body = ProcessResponse),
        (status = 400, description = "missing_field, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 402, description = "insufficient_credits: nothing was paid", body = ErrorBody),
        (status = 403, description = "not_owner", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
        (status = 409, description = "invalid_state: not what the dry run showed; idempotency_key_reused", body = ErrorBody),
        (status = 503, description = "payouts_frozen", body = ErrorBody),
    ),
)]
async fn process_payouts(State(app): State<App>, caller: auth::Agent, mut payload: Payload) -> Reply {
    let request: ProcessRequest = payload.json()?;
    let mut conn = app.read().await.map_err(Error::from)?;
    let program = ops::load_program(&mut conn, caller.id, ProgramId::from_uuid(request.program_id)).await?;
    let affiliate = request.affiliate_id.map(AgentId::from_uuid);
    let order = Order { program, method: request.method, affiliate };
    if request.dry_run {
        let preview = preview(&mut conn, &app, &order).await?;
        return Ok(respond::ok(&NothingPaidResponse::Preview(preview)));
    }
    drop(conn);
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    let (payouts, plan) =
        ops::process(&mut unit, app.clock(), &order, request.preview_token.as_deref()).await?;
    let nothing = payouts.is_empty();
    let response = ProcessResponse {
        dry_run: false,
        program_id: request.program_id,
        method: order.method,
        currency: CURRENCY,
        payouts: payouts.into_iter().map(Into::into).collect(),
        total: plan.total().map_err(Error::bug)?,
        left: plan.left.into_iter().map(Into::into).collect(),
    };
    if nothing {
        return unit.ok(&NothingPaidResponse::NothingDue(response)).await;
    }
    unit.created(&response).await
}

async fn preview(conn: &mut PgConnection, app: &App, order: &Order) -> Result<PreviewResponse> {
    let planned = ops::preview(conn, app.clock(), order).await?;
    let (missing, wallet_balance) = ops::funding(conn, order, &planned.plan).await?;
    let now = app.clock().now();
    let payouts = planned.plan.due.iter().map(|due| {
        let address = planned.addresses.get(&due.affiliate);
        PreviewedPayout {
            affiliate_id: due.affiliate.uuid(),
            amount: due.amount,
            commissions: due.commissions.len(),
            address: address.map(|(address, _)| address.clone()),
            not_before: address.map(|(_, usable_at)| *usable_at).filter(|at| *at > now).map(At),
        }
    });
    Ok(PreviewResponse {
        dry_run: true,
        program_id: order.program.id.uuid(),
        method: order.method,
        currency: CURRENCY,
        payouts: payouts.collect(),
        total: planned.plan.total().map_err(Error::bug)?,
        left: planned.plan.left.into_iter().map(Into::into).collect(),
        wallet_balance,
        missing,
        preview_token: planned.token,
    })
}

/// List payouts, newest first
///
/// Those you pay as an advertiser and those you get as an affiliate; `role` picks one side.
#[utoipa::path(
    get, path = "/api/payouts", tag = "payouts", operation_id = "list_payouts",
    params(PayoutsQuery),
    responses(
        (status = 200, description = "A page of the payouts you make or get", body = Paged<PayoutResponse>),
        (status = 400, description = "invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
    ),
)]
async fn list_payouts(
    State(app): State<App>,
    caller: auth::Agent,
    Query(query): Query<PayoutsQuery>,
) -> Reply {
    let page = query.page()?;
    let filter = Filter { agent: caller.id, role: query.role, status: query.status };
    let mut conn = app.read().await.map_err(Error::from)?;
    let total = match page.total() {
        Some(total) => total,
        None => queries::count_payouts(&mut conn, &filter).await?,
    };
    let payouts = queries::list_payouts(&mut conn, &filter, page).await?;
    let payouts =
        page.of_rows(payouts, total, |payout| (payout.created_at.timestamp_micros(), payout.id.uuid()));
    Ok(respond::ok(&payouts.map(PayoutResponse::from).answering(&query)?))
}

/// How does a payout stand?
///
/// For both its sides.
#[utoipa::path(
    get, path = "/api/payouts/{id}", tag = "payouts", operation_id = "get_payout",
    params(("id" = uuid::Uuid, Path, description = "The payout's id")),
    responses(
        (status = 200, description = "The payout and what it pays for", body = PayoutDetails),
        (status = 400, description = "invalid_id", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
    ),
)]
async fn get_payout(State(app): State<App>, caller: auth::Agent, Path(id): Path<PayoutId>) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    let payout = ops::load_for(&mut conn, caller.id, id).await?;
    let commissions = claims::list_claimed(&mut conn, id, COMMISSIONS_SHOWN).await?;
    Ok(respond::ok(&PayoutDetails {
        payout: payout.into(),
        commissions: commissions.into_iter().map(Into::into).collect(),
    }))
}

/// Say that an external payout was paid
///
/// For payouts of `method` `external`: you paid elsewhere, `reference` says where to find it. Its commissions
/// become `paid`.
#[utoipa::path(
    post, path = "/api/payouts/{id}/mark-paid", tag = "payouts", operation_id = "mark_payout_paid",
    params(("id" = uuid::Uuid, Path, description = "The payout's id")),
    request_body = MarkPaidRequest,
    responses(
        (status = 200, description = "The payout, paid", body = PayoutResponse),
        (status = 400, description = "invalid_id, missing_field, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
        (status = 409, description = "invalid_state, idempotency_key_reused", body = ErrorBody),
    ),
)]
async fn mark_payout_paid(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<PayoutId>,
    mut payload: Payload,
) -> Reply {
    must_pay(&app, caller, id).await?;
    let request: MarkPaidRequest = payload.json()?;
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    let payout = ops::mark_paid(&mut unit, app.clock(), id, &request.reference).await?;
    unit.ok(&PayoutResponse::from(payout)).await
}

/// Say that an external payout will not be paid
///
/// Its commissions are free for another payout.
#[utoipa::path(
    post, path = "/api/payouts/{id}/mark-failed", tag = "payouts", operation_id = "mark_payout_failed",
    params(("id" = uuid::Uuid, Path, description = "The payout's id")),
    request_body = MarkFailedRequest,
    responses(
        (status = 200, description = "The payout, failed", body = PayoutResponse),
        (status = 400, description = "invalid_id, missing_field, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
        (status = 409, description = "invalid_state, idempotency_key_reused", body = ErrorBody),
    ),
)]
async fn mark_payout_failed(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<PayoutId>,
    mut payload: Payload,
) -> Reply {
    must_pay(&app, caller, id).await?;
    let request: MarkFailedRequest = payload.json()?;
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    let payout = ops::mark_failed(&mut unit, app.clock(), id, &request.reason).await?;
    unit.ok(&PayoutResponse::from(payout)).await
}

async fn must_pay(app: &App, caller: auth::Agent, id: PayoutId) -> Result<()> {
    let mut conn = app.read().await?;
    ops::load_own(&mut conn, caller.id, id).await.map(drop)
}

/// Where do my usdc payouts go?
///
/// The address, and from when it is paid to; `null` until PUT sets one.
#[utoipa::path(
    get, path = "/api/agents/{id}/payout-address", tag = "payouts", operation_id = "get_payout_address",
    params(("id" = uuid::Uuid, Path, description = "Your own id")),
    responses(
        (status = 200, description = "The address, and from when it is paid to", body = AddressResponse),
        (status = 400, description = "invalid_id", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
    ),
)]
async fn get_payout_address(State(app): State<App>, caller: auth::Agent, Path(id): Path<AgentId>) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    must_be(&mut conn, caller.id, id).await?;
    let address = ops::address(&mut conn, id).await?;
    Ok(respond::ok(&AddressResponse::of(address, app.clock().now())))
}

/// Set where usdc payouts go
///
/// The first address is paid to at once; a changed one after 72 hours, and `payout.address_changed` tells of
/// it, so that a stolen key cannot empty an account before its owner notices. Payouts that were made before
/// keep the address they were made with.
#[utoipa::path(
    put, path = "/api/agents/{id}/payout-address", tag = "payouts", operation_id = "set_payout_address",
    params(("id" = uuid::Uuid, Path, description = "Your own id")),
    request_body = AddressRequest,
    responses(
        (status = 200, description = "The address, and from when it is paid to", body = AddressResponse),
        (status = 400, description = "invalid_id, missing_field, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
        (status = 409, description = "idempotency_key_reused", body = ErrorBody),
    ),
)]
async fn set_payout_address(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<AgentId>,
    mut payload: Payload,
) -> Reply {
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    must_be(&mut unit, caller.id, id).await?;
    let request: AddressRequest = payload.json()?;
    let address = Address::parse("address", &request.address)?;
    let set = ops::set_address(&mut unit, app.clock(), id, &address).await?;
    unit.ok(&AddressResponse::of(Some(set), app.clock().now())).await
}
