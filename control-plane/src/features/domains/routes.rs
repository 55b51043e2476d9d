//! HTTP of custom domains: extract, call, respond.

use super::dns;
use super::model::Domain;
use super::ops;
use super::wire::{CreateDomainRequest, DeleteDomainResponse, DomainResponse};
use crate::app::App;
use crate::auth;
use crate::error::{Error, Result};
use crate::features::links;
use crate::features::programs::hosts;
use crate::page::{PageQuery, Paged};
use crate::web::extract::{Path, Payload, Query};
use crate::web::respond::{self, ApiError, ErrorBody, Reply};
use axum::extract::State;
use shared::id::DomainId;
use url::Url;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of custom domains.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_domain, list_domains))
        .routes(routes!(get_domain, delete_domain))
        .routes(routes!(verify_domain))
}

/// Add a domain of your own
///
/// Pro. Your links can then be on it: `https://go.example.com/TOKEN`. Set the DNS `records` of the reply; from then
/// on everything goes by itself, usually within a minute: the records are seen, a certificate is issued, and renewed
/// for as long as they stay. Follow `status` with GET /api/domains/:id. An account may have 20 domains. Claiming a
/// domain keeps it from nobody: it is whose account's TXT record the DNS has.
#[utoipa::path(
    post, path = "/api/domains", tag = "domains", operation_id = "create_domain",
    request_body = CreateDomainRequest,
    responses(
        (status = 201, description = "The domain, and the DNS records to set", body = DomainResponse),
        (status = 400, description = "missing_field, invalid_value: not a domain name, or ours", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "feature_requires_pro", body = ErrorBody),
        (status = 409, description = "domain_taken: yours already, or another account has proven it; invalid_state: 20 domains already; domains_unavailable; idempotency_key_reused", body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 415, description = "unsupported_media_type", body = ErrorBody),
    ),
)]
async fn create_domain(State(app): State<App>, caller: auth::Agent, mut payload: Payload) -> Reply {
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    ops::hold_agent(&mut unit, caller.id).await?;
    let request: CreateDomainRequest = payload.json()?;
    if app.config().domains.acme.is_none() {
        return Err(ops::unavailable().into());
    }
    let ours = own_hosts(&app);
    let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
    let domain = ops::create_domain(&mut unit, app.clock(), caller.id, &request.domain, &ours).await?;
    unit.created(&shown(&app, domain)).await
}

/// List your domains
///
/// Newest first.
#[utoipa::path(
    get, path = "/api/domains", tag = "domains", operation_id = "list_domains",
    params(PageQuery),
    responses(
        (status = 200, description = "A page of domains", body = Paged<DomainResponse>),
        (status = 400, description = "invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
    ),
)]
async fn list_domains(
    State(app): State<App>,
    caller: auth::Agent,
    query: Result<Query<PageQuery>, ApiError>,
) -> Reply {
    let page = query?.0.checked()?;
    let mut conn = app.read().await.map_err(Error::from)?;
    let domains = ops::list(&mut conn, caller.id, page).await?;
    Ok(respond::ok(&domains.map(|domain| shown(&app, domain))))
}

/// Get a domain
///
/// `status` goes from `pending_dns` over `issuing` to `active`; `problem` and `fix` say what keeps it.
#[utoipa::path(
    get, path = "/api/domains/{id}", tag = "domains", operation_id = "get_domain",
    params(("id" = uuid::Uuid, Path, description = "The domain's id")),
    responses(
        (status = 200, description = "The domain", body = DomainResponse),
        (status = 400, description = "invalid_id", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 404, description = "not_found, also when it is not the caller's", body = ErrorBody),
    ),
)]
async fn get_domain(State(app): State<App>, caller: auth::Agent, Path(id): Path<DomainId>) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    let domain = ops::load(&mut conn, caller.id, id).await?;
    Ok(respond::ok(&shown(&app, domain)))
}

/// Remove a domain
///
/// Within a second nothing is served on it any more, and addresses on it answer 404. Links that were on it get
/// tracking URLs on our domain. Its certificate is not renewed and not revoked.
#[utoipa::path(
    delete, path = "/api/domains/{id}", tag = "domains", operation_id = "delete_domain",
    params(("id" = uuid::Uuid, Path, description = "The domain's id")),
    responses(
        (status = 200, description = "Removed", body = DeleteDomainResponse),
        (status = 400, description = "invalid_id", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 404, description = "not_found, also when it is not the caller's", body = ErrorBody),
    ),
)]
async fn delete_domain(State(app): State<App>, caller: auth::Agent, Path(id): Path<DomainId>) -> Reply {
    let mut tx = app.begin().await?;
    let domain = ops::delete_domain(&mut tx, app.clock(), caller.id, id).await?;
    let links_moved = links::ops::leave_domain(&mut tx, app.clock(), caller.id, &domain.host).await?;
    tx.commit().await?;
    Ok(respond::ok(&DeleteDomainResponse { id: id.uuid(), deleted: true, links_moved }))
}

/// Check a domain now
///
/// Looks the DNS records up at once instead of at `next_check_at`, and lets a failed certificate be asked for again.
/// The reply is the domain as it is after the look; the certificate takes some seconds more. Needs no body.
#[utoipa::path(
    post, path = "/api/domains/{id}/verify", tag = "domains", operation_id = "verify_domain",
    params(("id" = uuid::Uuid, Path, description = "The domain's id")),
    responses(
        (status = 200, description = "The domain as it is now", body = DomainResponse),
        (status = 400, description = "invalid_id, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 404, description = "not_found, also when it is not the caller's", body = ErrorBody),
        (status = 409, description = "idempotency_key_reused", body = ErrorBody),
    ),
)]
async fn verify_domain(
    State(app): State<App>,
    caller: auth::Agent,
    Path(id): Path<DomainId>,
    mut payload: Payload,
) -> Reply {
    let mut conn = app.read().await.map_err(Error::from)?;
    let domain = ops::load(&mut conn, caller.id, id).await?;
    drop(conn);
    payload.no_body()?;
    // Before the transaction: name servers may take seconds.
    let seen = if ops::is_worth_a_look(&domain, app.clock()) {
        let config = app.config();
        Some(dns::look(config.domains.dns_server, &config.secret, caller.id, &domain.host).await)
    } else {
        None
    };
    let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
    let domain = ops::check_now(&mut unit, app.clock(), &domain, seen).await?;
    unit.ok(&shown(&app, domain)).await
}

fn shown(app: &App, domain: Domain) -> DomainResponse {
    let config = app.config();
    DomainResponse::new(domain, &config.secret, &config.domains.target, app.clock().now())
}

/// Hosts that are the service's own.
fn own_hosts(app: &App) -> Vec<String> {
    let config = app.config();
    let origins = [&config.tracking_origin, &config.api_origin];
    let parsed = origins.into_iter().filter_map(|origin| Url::parse(origin).ok());
    parsed.map(|url| hosts::host_of(&url)).chain([config.domains.target.clone()]).collect()
}
