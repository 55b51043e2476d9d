//! HTTP of wallets: extract, call, respond.

use super::model::Provider;
use super::ops;
use super::wire::{
    ChangeWalletRequest, TopupResponse, TransactionResponse, TransactionType, TransactionsQuery,
    WalletResponse,
};
use crate::app::App;
use crate::auth;
use crate::error::Error;
use crate::features::ledger::model::{Account, Side};
use crate::features::ledger::ops as ledger;
use crate::page::Paged;
use crate::web::extract::{Path, Payload, Query};
use crate::web::respond::{self, ErrorBody, Reply};
use axum::extract::State;
use shared::id::TopupId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of wallets.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(get_wallet, change_wallet))
        .routes(routes!(get_topup))
        .routes(routes!(list_wallet_transactions))
}

/// What can I spend?
///
/// The balance, what is set aside for payouts, the settings, and what metered calls cost this month.
#[utoipa::path(
    get, path = "/api/wallet", tag = "wallet", operation_id = "get_wallet",
    responses(
        (status = 200, description = "The calling agent's wallet", body = WalletResponse),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
    ),
)]
async fn get_wallet(State(app): State<App>, caller: auth::Agent) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    Ok(respond::ok(&ops::wallet(&mut conn, app.clock(), caller, Provider::of(app.config())).await?))
}

/// Change the wallet's settings
///
/// Topping up by itself, and a cap on what metered calls may cost in a month. What is left out stays.
#[utoipa::path(
    patch, path = "/api/wallet", tag = "wallet", operation_id = "change_wallet",
    request_body = ChangeWalletRequest,
    responses(
        (status = 200, description = "The wallet as it is now", body = WalletResponse),
        (status = 400, description = "missing_field, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
    ),
)]
async fn change_wallet(State(app): State<App>, caller: auth::Agent, mut payload: Payload) -> Reply {
    let patch: ChangeWalletRequest = payload.json()?;
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    let provider = Provider::of(app.config());
    ops::change_settings(&mut unit, app.clock(), caller, provider, patch).await?;
    let wallet = ops::wallet(&mut unit, app.clock(), caller, provider).await?;
    unit.ok(&wallet).await
}

/// How does a top-up stand?
///
/// For a top-up that waits for a card payment: ask until `status` is no longer `pending`.
#[utoipa::path(
    get, path = "/api/wallet/topups/{id}", tag = "wallet", operation_id = "get_topup",
    params(("id" = uuid::Uuid, Path, description = "The top-up's id")),
    responses(
        (status = 200, description = "The payment", body = TopupResponse),
        (status = 400, description = "invalid_id", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
    ),
)]
async fn get_topup(State(app): State<App>, caller: auth::Agent, Path(id): Path<TopupId>) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    let topup = ops::load_topup(&mut conn, caller.id, id).await?;
    let balance = ops::balance(&mut conn, caller.id).await?;
    Ok(respond::ok(&TopupResponse::of(topup, balance)))
}

/// What moved in and out of the wallet, newest first
///
/// Every movement with its reason and the balance after it.
#[utoipa::path(
    get, path = "/api/wallet/transactions", tag = "wallet", operation_id = "list_wallet_transactions",
    params(TransactionsQuery),
    responses(
        (status = 200, description = "A page of transactions", body = Paged<TransactionResponse>),
        (status = 400, description = "invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
    ),
)]
async fn list_wallet_transactions(
    State(app): State<App>,
    caller: auth::Agent,
    Query(query): Query<TransactionsQuery>,
) -> Reply {
    let page = query.page()?;
    let side = match query.r#type {
        None => Side::Any,
        Some(TransactionType::Debit) => Side::Debit,
        Some(TransactionType::Credit) => Side::Credit,
    };
    let mut conn = app.read().await.map_err(Error::from)?;
    let (entries, total) = ledger::list_entries(&mut conn, Account::wallet(caller.id), side, page).await?;
    let page = page.of_rows(entries, total, |entry| (entry.version, entry.id.uuid()));
    Ok(respond::ok(&page.map(TransactionResponse::from).answering(&query)?))
}
