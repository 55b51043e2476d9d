//! The OpenAPI description: assembled from the routes, completed with what is the same for every call, and
//! illustrated with replies that a test got from the running service.
//!
//! Must stay true: whatever a call answers is listed here. Replies that tests get are checked against this
//! document (`tests/it/harness/contract.rs`).

mod complete;
mod examples;

use crate::app::App;
use crate::config::Config;
use crate::error::Code;
use crate::web::extract::{BODY_FOR, BODY_LEN_MAX};
use crate::web::{middleware, respond};
use axum::Router;
use axum::routing::get;
use http::StatusCode;
use serde_json::{Value, json};
use utoipa::OpenApi;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "AffiliateOS API",
        description = "Affiliate marketing API for AI agents: sign up in one call, discover programs, earn commissions.\n\n\
            Start with `POST /api/quickstart`: no key, no e-mail, no card. Send the `api_key` it shows as \
            `Authorization: Bearer aos_live_…` with every other call, and `Content-Type: application/json` with every body.\n\n\
            Errors under `/api` always have the four members `error`, `message`, `fix`, `docs`: match on `error`, do what `fix` says. \
            `x-error-codes` of a reply lists the codes it can have. A path that does not exist answers 404 `not_found`, another \
            method 405 `method_not_allowed` with `Allow`.\n\n\
            Amounts are JSON numbers in US dollars, exact to the cent and read as decimals; instants are RFC 3339 in UTC. \
            Every POST takes an `Idempotency-Key`, so that repeating it does nothing twice. Every reply has an `X-Request-Id`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    security(("agent_key" = [])),
    tags(
        (name = "agents", description = "Accounts: sign up, profile, what an agent earned."),
        (name = "keys", description = "An account's keys: make, list, rotate, revoke."),
        (name = "programs", description = "The advertiser's side: offers, their affiliates, conversions and payouts."),
        (name = "network", description = "The affiliate's side: find programs and join them."),
        (name = "partnerships", description = "An affiliate in a program: approve, reject, suspend, cancel."),
        (name = "links", description = "Tracking links of a partnership."),
        (name = "domains", description = "Domains of your own, on which your links can be."),
        (name = "clicks", description = "What became of a click."),
        (name = "conversions", description = "Leads and sales: report, approve, refund."),
        (name = "payouts", description = "Commissions becoming money."),
        (name = "wallet", description = "What metered calls are paid from, and what is left for free."),
        (name = "subscription", description = "Infrastructure Pro."),
        (name = "webhooks", description = "Events, pushed to endpoints or pulled."),
        (name = "attribution", description = "`/v1`: proof that an agent's recommendation led to an order."),
    ),
)]
struct Document;

/// The document before the routes are added.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    let about = document.info.description.get_or_insert_default();
    about.push_str(&error_table());
    let components = document.components.get_or_insert_default();
    for (name, description) in [
        ("agent_key", "An agent key, `aos_live_…`, from POST /api/quickstart or POST /api/auth/signup."),
        ("publisher_key", "A publisher key, `aff_agent_…`, from POST /api/agents/{id}/keys."),
        ("merchant_key", "A merchant key, `merch_key_…`, from POST /api/agents/{id}/keys."),
    ] {
        let mut scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        scheme.description = Some(description.to_owned());
        components.add_security_scheme(name, SecurityScheme::Http(scheme));
    }
    crate::features::webhooks::describe::add(&mut document);
    document
}

/// Every code with its status and meaning, for whoever reads the description.
fn error_table() -> String {
    let rows = Code::ALL.iter().map(|code| {
        let status = respond::status(code.class()).as_u16();
        format!("| `{}` | {status} | {} |\n", code.as_str(), code.meaning().trim())
    });
    format!(
        "\n\nBeside what each call lists, every call can answer: `method_not_allowed`, `rate_limited`, `malformed_request`, `uri_too_long` (more than {} bytes), `headers_too_large`, and with a body `payload_too_large` (more than {BODY_LEN_MAX} bytes) and `request_timeout` (not whole within {} s). Headers that do not arrive within 10 s close the connection without an answer.\n\n| error | HTTP | meaning |\n|---|---|---|\n{}",
        middleware::URI_LEN_MAX,
        BODY_FOR.as_secs(),
        rows.collect::<String>(),
    )
}

/// The schema of an amount in dollars within these bounds.
pub fn dollars(about: &str, minimum: i32, maximum: i32, example: i32) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Number)
        .description(Some(about))
        .minimum(Some(minimum))
        .maximum(Some(maximum))
        .examples([json!(example)])
}

/// The whole description as served from `origin`.
pub fn complete(document: &utoipa::openapi::OpenApi, origin: &str) -> Value {
    let mut document = serde_json::to_value(document).expect("the description is plain data");
    complete::add_what_every_call_has(&mut document, origin);
    examples::add(&mut document, origin);
    document
}

/// The same, of the routes of this build.
pub fn described(origin: &str) -> Value {
    complete(&super::router::described().into_openapi(), origin)
}

/// `/openapi.json`.
pub fn routes(document: &Value, config: &Config) -> Router<App> {
    debug_assert!(document["servers"][0]["url"] == config.api_origin);
    let bytes = bytes::Bytes::from(document.to_string());
    Router::new().route(
        "/openapi.json",
        get(move || async move { crate::web::respond::json_bytes(StatusCode::OK, bytes) }),
    )
}
