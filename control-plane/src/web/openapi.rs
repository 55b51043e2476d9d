//! The OpenAPI description, assembled from the routes.

use crate::app::App;
use crate::config::Config;
use crate::error::Code;
use crate::web::extract::{BODY_FOR, BODY_LEN_MAX};
use crate::web::{middleware, respond};
use axum::Router;
use axum::routing::get;
use http::StatusCode;
use utoipa::OpenApi;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::server::ServerBuilder;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "AffiliateOS API",
        description = "Affiliate marketing API for AI agents: sign up in one call, discover programs, earn commissions.\n\nErrors always have the four members `error`, `message`, `fix`, `docs`; read `fix` first.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    security(("agent_key" = [])),
)]
struct Document;

/// The document before the routes are added.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    let about = document.info.description.get_or_insert_default();
    about.push_str(&error_table());
    let components = document.components.get_or_insert_default();
    for (name, description) in [
        ("agent_key", "An agent key, `aos_live_…`, from POST /api/auth/signup."),
        ("publisher_key", "A publisher key, `aff_agent_…`, from POST /api/agents/:id/keys."),
        ("merchant_key", "A merchant key, `merch_key_…`, from POST /api/agents/:id/keys."),
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
        .examples([serde_json::json!(example)])
}

/// The document as served from `config.api_origin`.
pub fn for_origin(document: &utoipa::openapi::OpenApi, config: &Config) -> utoipa::openapi::OpenApi {
    let mut document = document.clone();
    document.servers = Some(vec![ServerBuilder::new().url(config.api_origin.clone()).build()]);
    add_common_errors(&mut document);
    document
}

/// What any call under `/api` can answer besides what it lists itself, so that no route repeats it.
fn add_common_errors(document: &mut utoipa::openapi::OpenApi) {
    let paths = document.paths.paths.iter_mut().filter(|(path, _)| path.starts_with("/api/"));
    for (_, item) in paths {
        let methods = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        for operation in methods.into_iter().flatten() {
            let takes_body = operation.request_body.is_some();
            let errors = [
                (true, "500", "internal: our fault"),
                (true, "503", "unavailable: a part is away, try again after Retry-After"),
                (takes_body, "408", "request_timeout: the body did not arrive in time"),
                (takes_body, "413", "payload_too_large"),
                (takes_body, "415", "unsupported_media_type: the body is not application/json"),
            ];
            for (_, status, description) in errors.into_iter().filter(|(applies, ..)| *applies) {
                operation.responses.responses.entry(status.to_owned()).or_insert_with(|| {
                    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
                    let response = ResponseBuilder::new().description(description);
                    RefOr::T(response.content("application/json", body).build())
                });
            }
        }
    }
}

/// `/openapi.json`.
pub fn routes(document: &utoipa::openapi::OpenApi, config: &Config) -> Router<App> {
    let document = for_origin(document, config);
    let bytes = bytes::Bytes::from(serde_json::to_vec(&document).expect("the description is plain data"));
    Router::new().route(
        "/openapi.json",
        get(move || async move { crate::web::respond::json_bytes(StatusCode::OK, bytes) }),
    )
}
