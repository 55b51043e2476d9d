//! The limit of the POSTs that need no key, each of which makes an account: so many per client network and
//! hour, counted together. Lifted by a setting. Without Redis they are refused: what is limited here must
//! not become unlimited because the counter is away.

use crate::app::App;
use crate::web::client_address::ClientNetwork;
use crate::web::rate_limit::{self, Limit, WithoutRedis};
use crate::web::respond::ApiError;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::Method;

const ROUTES: [&str; 2] = ["/api/auth/signup", "/api/quickstart"];

/// Around the routes.
pub async fn around(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let max = app.config().signups_per_hour;
    if max == 0 || request.method() != Method::POST || !ROUTES.contains(&route) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let network = ClientNetwork::of(&app, &parts);
    let limit = Limit { name: "signup", max, window_seconds: 3600, without_redis: WithoutRedis::Refuse };
    let standing = match rate_limit::take(&app, &limit, network.as_str()).await {
        Ok(standing) => standing,
        Err(error) => return ApiError::from(error).into_response(),
    };
    let mut response = if standing.allowed {
        next.run(Request::from_parts(parts, body)).await
    } else {
        ApiError::from(standing.refusal()).into_response()
    };
    standing.write(response.headers_mut());
    response
}
