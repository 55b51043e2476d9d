//! Every URL of every surface, in one table.

use crate::app::App;
use crate::features;
use crate::surfaces;
use crate::web::extract::{BODY_FOR, BODY_LEN_MAX};
use crate::web::known_routes::{self, KnownRoutes};
use crate::web::no_query::{self, PlainReads};
use crate::web::{cors, middleware, openapi, public_posts, retry, x402};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use std::sync::Arc;
use tower_http::timeout::RequestBodyTimeoutLayer;
use utoipa_axum::router::OpenApiRouter;

/// The routes with their descriptions.
pub fn described() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::document())
        .merge(features::agents::routes::router())
        .merge(features::accounts::routes::router())
        .merge(features::keys::routes::router())
        .merge(features::wallet::routes::router())
        .merge(features::payments::routes::router())
        .merge(features::payouts::routes::router())
        .merge(features::usage::routes::router())
        .merge(features::stats::routes::router())
        .merge(features::subscriptions::routes::router())
        .merge(features::conversions::routes::router())
        .merge(features::explain::routes::router())
        .merge(features::programs::routes::router())
        .merge(features::partnerships::routes::router())
        .merge(features::links::routes::router())
        .merge(features::domains::routes::router())
        .merge(features::network::routes::router())
        .merge(features::matching::routes::router())
        .merge(features::attribution::routes::router())
        .merge(features::webhooks::routes::router())
        .merge(surfaces::attribution_v1::routes::router())
}

/// The public service.
pub fn build(app: &App) -> Router {
    let (routes, document) = described().split_for_parts();
    let known = Arc::new(KnownRoutes::of(&document));
    let plain = PlainReads::of(&document);
    let document = openapi::complete(&document, &app.config().api_origin);
    let routes = routes
        .merge(openapi::routes(&document, app.config()))
        .merge(crate::surfaces::docs::routes(&document, app.config()))
        .merge(surfaces::front::routes(app.config()))
        .merge(surfaces::site::routes())
        .layer(axum::middleware::from_fn_with_state(plain, no_query::around))
        .layer(axum::middleware::from_fn(retry::around))
        .layer(axum::middleware::from_fn_with_state(app.clone(), x402::around))
        .fallback(known_routes::unknown_route)
        .method_not_allowed_fallback(known_routes::wrong_method)
        .layer(axum::Extension(known))
        .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
        .layer(axum::middleware::from_fn_with_state(app.clone(), public_posts::around))
        .layer(axum::middleware::from_fn_with_state(app.clone(), middleware::around))
        .with_state(app.clone());
    let mcp = surfaces::mcp::routes(&document, app, routes.clone())
        .layer(RequestBodyTimeoutLayer::new(BODY_FOR))
        .layer(axum::middleware::from_fn_with_state(app.clone(), middleware::around))
        .with_state(app.clone());
    let dashboard = surfaces::dashboard::routes(routes.clone())
        .layer(axum::middleware::from_fn_with_state(app.clone(), middleware::around))
        .with_state(app.clone());
    // The router adds `Allow` to a 405 outside of its own layers; the answer to OPTIONS is made of it.
    Router::new()
        .merge(mcp)
        .merge(dashboard)
        .fallback_service(routes)
        .layer(axum::middleware::from_fn(cors::around))
}
