//! `/mcp`: the API for language models, by the Model Context Protocol (Streamable HTTP).
//!
//! Every operation of the OpenAPI description that takes an agent key, or none, is a tool. Nothing is said
//! twice: a tool's name, text and schemas are the operation's, and a call goes through the same router, so
//! keys, limits, billing and errors are those of the API. What moves money or destroys something asks for a
//! confirmation first ([`confirm`]).
//!
//! Stateless: any node answers any request, and nothing is kept between two of them.
//! Spec: <https://modelcontextprotocol.io/specification>, versions 2026-07-28 and older.

mod call;
mod confirm;
mod guides;
mod schema;
mod server;
mod tools;

use crate::app::App;
use crate::config::Config;
use crate::web::extract::BODY_LEN_MAX;
use axum::Router;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use std::sync::Arc;

/// The route `/mcp`, whose tools call `api`.
pub fn routes(document: &serde_json::Value, app: &App, api: Router) -> Router<App> {
    let server = server::Server::new(document, app, api);
    let service = StreamableHttpService::new(
        move || Ok(server.clone()),
        Arc::new(NeverSessionManager::default()),
        settings(app.config()),
    );
    Router::new().route_service("/mcp", service)
}

/// One JSON reply per request, for the hosts we are known by. A page of another site may not talk to a
/// server on the reader's own machine (DNS rebinding), so foreign origins are refused but for loopback.
fn settings(config: &Config) -> StreamableHttpServerConfig {
    const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
    let origin = url::Url::parse(&config.api_origin).ok();
    let host = origin.as_ref().and_then(|url| url.host_str()).unwrap_or("localhost").to_owned();
    let hosts = LOOPBACK.iter().map(|host| (*host).to_owned()).chain([host]);
    let origins = LOOPBACK.iter().flat_map(|host| [format!("http://{host}:*"), format!("https://{host}:*")]);
    StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_sse_keep_alive(None)
        .with_allowed_hosts(hosts)
        .with_allowed_origins(origins.chain([config.api_origin.clone()]))
        .with_max_request_body_bytes(BODY_LEN_MAX)
}
