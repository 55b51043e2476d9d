//! HTTP of `/v1`: who calls, how often, then extract → feature → their words.

use super::error::{V1ErrorBody, V1Failure};
use super::wire::{
    CommissionsQuery, CommissionsResponse, PayoutMethod, PayoutRequest, PayoutsResponse, TrackRequest,
    TrackResponse, VerifyRequest, VerifyResponse,
};
use crate::app::App;
use crate::auth::Agent;
use crate::auth::api_keys::Kind;
use crate::auth::extract::authenticate;
use crate::auth::slat::SlatKeysResponse;
use crate::error::{Code, Error, Result};
use crate::features::attribution::header;
use crate::features::attribution::model::check_metadata;
use crate::features::attribution::ops::{self, EventReport, Keys, Order, Outcome, Proof};
use crate::features::conversions::ops::check_revenue;
use crate::features::payouts;
use crate::features::payouts::address::Address;
use crate::features::payouts::model::Method;
use crate::money::Micros;
use crate::text;
use crate::web::extract::{Payload, parse_query};
use crate::web::rate_limit::{self, Limit, Standing, WithoutRedis};
use crate::web::respond::{self, ApiError};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};
use shared::id::{AgentId, CommissionId, ProgramId};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

const TRACK: Limit =
    Limit { name: "v1-track", max: 100, window_seconds: 60, without_redis: WithoutRedis::CountLocally };
const VERIFY: Limit =
    Limit { name: "v1-verify", max: 600, window_seconds: 60, without_redis: WithoutRedis::CountLocally };
const COMMISSIONS: Limit =
    Limit { name: "v1-commissions", max: 60, window_seconds: 60, without_redis: WithoutRedis::CountLocally };
const PAYOUTS: Limit =
    Limit { name: "v1-payouts", max: 10, window_seconds: 3600, without_redis: WithoutRedis::Refuse };

/// A request's body, or what is wrong with it: said in this API's words, behind key and limit.
type Body = Result<Payload, ApiError>;

/// The routes of `/v1`.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(track_event))
        .routes(routes!(verify_conversion))
        .routes(routes!(list_publisher_commissions))
        .routes(routes!(request_payout))
        .routes(routes!(slat_keys))
}

/// Checks key and limit, runs the call, and puts the limit's headers on whatever comes of it.
async fn limited<F>(
    app: &App,
    headers: &HeaderMap,
    kind: Kind,
    limit: &Limit,
    call: impl FnOnce(Agent) -> F,
) -> Response
where
    F: Future<Output = Result<Response, V1Failure>>,
{
    let now = app.clock().now_ms() / 1000;
    let (standing, mut response) = match authenticate(app, headers, kind).await {
        Err(error) => (Standing::untouched(limit, now), V1Failure::from(error).into_response()),
        Ok(agent) => match rate_limit::take(app, limit, &subject(limit, &agent)).await {
            Err(error) => (Standing::untouched(limit, now), V1Failure::from(error).into_response()),
            Ok(standing) if !standing.allowed => {
                (standing, V1Failure::from(standing.refusal()).into_response())
            }
            Ok(standing) => (standing, call(agent).await.unwrap_or_else(IntoResponse::into_response)),
        },
    };
    standing.write(response.headers_mut());
    response
}

/// Payouts are limited per account, everything else per key.
fn subject(limit: &Limit, agent: &Agent) -> String {
    if limit.name == PAYOUTS.name { agent.id.to_string() } else { agent.key_id.to_string() }
}

fn keys(app: &App) -> Keys<'_> {
    Keys { slat: app.slat_keys(), tokens: app.token_key(), clicks: app.click_id_key() }
}

/// Record an attribution event
///
/// The equivalent of a click for an agent that recommends: metered as one, and proved by a token that the
/// merchant redeems with the order.
#[utoipa::path(
    post, path = "/v1/track", tag = "attribution", operation_id = "track_event",
    security(("publisher_key" = [])), request_body = TrackRequest,
    responses(
        (status = 201, description = "The event and its SLAT token", body = TrackResponse),
        (status = 400, description = "missing_field, invalid_value", body = V1ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = V1ErrorBody),
        (status = 403, description = "not_affiliated, own_program", body = V1ErrorBody),
        (status = 404, description = "merchant_not_found", body = V1ErrorBody),
        (status = 413, description = "payload_too_large", body = V1ErrorBody),
        (status = 415, description = "unsupported_media_type", body = V1ErrorBody),
        (status = 429, description = "rate_limited: 100 a minute and key", body = V1ErrorBody),
    ),
)]
async fn track_event(State(app): State<App>, headers: HeaderMap, payload: Body) -> Response {
    limited(&app, &headers, Kind::Publisher, &TRACK, async |publisher: Agent| {
        let mut payload = payload.map_err(V1Failure::from_api)?;
        let request: TrackRequest = payload.json()?;
        let merchant = header::prefixed("merch_", &request.merchant_id)
            .map(AgentId::from_uuid)
            .ok_or_else(unknown_merchant)?;
        let program = request.program_id.as_deref().map(program_id).transpose()?;
        let product =
            request.product_id.as_deref().map(|id| text::line("product_id", id, 255)).transpose()?;
        check_metadata(&request.metadata)?;
        let mut unit = payload.unit(&app, &publisher.id.to_string()).await.map_err(V1Failure::from_api)?;
        let report = EventReport {
            kind: request.event.into(),
            merchant,
            program,
            product_id: product.as_deref(),
            metadata: &request.metadata,
        };
        let event = ops::track(&mut unit, app.clock(), keys(&app), publisher.id, &report).await?;
        unit.created(&TrackResponse::from(event)).await.map_err(V1Failure::from_api)
    })
    .await
}

/// Confirm a conversion
///
/// Called by the merchant when a purchase is complete. The same order and token again get the same answer.
/// `X-SL-Attribution` may stand in for `slat_token`.
#[utoipa::path(
    post, path = "/v1/verify", tag = "attribution", operation_id = "verify_conversion",
    security(("merchant_key" = [])), request_body = VerifyRequest,
    params(("X-SL-Attribution" = Option<String>, Header, description = "`atxp_reference=…;agent_key=pub_…;ts=…`")),
    responses(
        (status = 200, description = "The commission that is owed", body = VerifyResponse),
        (status = 400, description = "missing_field, invalid_value", body = V1ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid, invalid_slat_token", body = V1ErrorBody),
        (status = 402, description = "free_tier_limit_reached, insufficient_credits", body = V1ErrorBody),
        (status = 403, description = "not_affiliated, not_approved", body = V1ErrorBody),
        (status = 409, description = "nonce_replay, duplicate_conversion, invalid_state", body = V1ErrorBody),
        (status = 410, description = "token_expired", body = V1ErrorBody),
        (status = 413, description = "payload_too_large", body = V1ErrorBody),
        (status = 415, description = "unsupported_media_type", body = V1ErrorBody),
        (status = 429, description = "rate_limited", body = V1ErrorBody),
    ),
)]
async fn verify_conversion(State(app): State<App>, headers: HeaderMap, payload: Body) -> Response {
    limited(&app, &headers, Kind::Merchant, &VERIFY, async |merchant: Agent| {
        let mut payload = payload.map_err(V1Failure::from_api)?;
        let request: VerifyRequest = payload.json()?;
        let order_id = text::line("order_id", &request.order_id, 255)?;
        if !request.currency.eq_ignore_ascii_case("usd") {
            return Err(Error::invalid("currency", "Amounts are in US dollars only.", "Convert the amount to cents of a dollar and send \"currency\":\"usd\".").into());
        }
        let amount = Micros::from_cents(request.amount).map_err(|_| amount_out_of_range())?;
        check_revenue("amount", amount).map_err(|_| amount_out_of_range())?;
        let mut unit = payload.unit(&app, &merchant.id.to_string()).await.map_err(V1Failure::from_api)?;
        let attribution = header::read(&headers)?;
        let proof = match (&request.slat_token, &attribution) {
            (Some(token), _) => Proof::Slat(token),
            (None, Some(attribution)) => {
                attribution.must_be_current(app.clock().now().timestamp())?;
                let publisher = ops::named_publisher(&mut unit, attribution.agent).await?;
                Proof::Reference { reference: attribution.reference, publisher }
            }
            (None, None) => {
                return Err(Error::missing(
                    "slat_token",
                    "Add `slat_token` from POST /v1/track, or send the X-SL-Attribution header that came with the payment.",
                )
                .into());
            }
        };
        let order = Order { id: &order_id, amount };
        match ops::verify(&mut unit, app.clock(), keys(&app), merchant.id, proof, &order).await? {
            Outcome::Again(answer) => Ok(respond::ok(&answer)),
            Outcome::Verified(verified) => {
                let answer = serde_json::to_value(VerifyResponse::new(&verified)).map_err(Error::bug)?;
                ops::keep_answer(&mut unit, merchant.id, &verified, &answer).await?;
                unit.ok(&answer).await.map_err(V1Failure::from_api)
            }
        }
    })
    .await
}

/// A publisher's commissions
///
/// Newest first, with the totals of all of them whatever the filter.
#[utoipa::path(
    get, path = "/v1/commissions", tag = "attribution", operation_id = "list_publisher_commissions",
    security(("publisher_key" = [])), params(CommissionsQuery),
    responses(
        (status = 200, description = "Commissions and totals", body = CommissionsResponse),
        (status = 400, description = "invalid_value", body = V1ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = V1ErrorBody),
        (status = 429, description = "rate_limited: 60 a minute and key", body = V1ErrorBody),
    ),
)]
async fn list_publisher_commissions(State(app): State<App>, headers: HeaderMap, uri: Uri) -> Response {
    limited(&app, &headers, Kind::Publisher, &COMMISSIONS, async |publisher: Agent| {
        let query: CommissionsQuery = parse_query(&uri)?;
        let limit = query.limit.unwrap_or(20);
        if !(1..=100).contains(&limit) {
            return Err(Error::invalid(
                "limit",
                format!("`limit` is {limit}."),
                "Send `limit` from 1 to 100.",
            )
            .into());
        }
        let after = query.after.as_deref().map(commission_id).transpose()?;
        let mut conn = app.read().await.map_err(Error::from)?;
        let status = query.status.map(super::wire::CommissionStatus::as_str);
        let (lines, sums) =
            ops::commissions(&mut conn, publisher.id, status, after, limit, app.clock().now()).await?;
        let cents = |amount: Micros| amount.whole_cents().unwrap_or_default();
        let owed = sums.approved.plus(sums.processing).map_err(Error::bug)?;
        Ok(respond::ok(&CommissionsResponse {
            commissions: lines.into_iter().map(Into::into).collect(),
            total_pending: cents(sums.pending),
            total_approved: cents(owed),
            total_paid: cents(sums.paid),
        }))
    })
    .await
}

/// Request a payout
///
/// Takes every approved commission that is in no payout yet, one payout per program. What a merchant's wallet
/// cannot fund yet waits in `awaiting_funds`.
#[utoipa::path(
    post, path = "/v1/payouts", tag = "attribution", operation_id = "request_payout",
    security(("publisher_key" = [])), request_body = PayoutRequest,
    responses(
        (status = 201, description = "The payouts that were made", body = PayoutsResponse),
        (status = 400, description = "missing_field, invalid_value: also a wrong EIP-55 checksum", body = V1ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = V1ErrorBody),
        (status = 409, description = "nothing_to_pay", body = V1ErrorBody),
        (status = 413, description = "payload_too_large", body = V1ErrorBody),
        (status = 415, description = "unsupported_media_type", body = V1ErrorBody),
        (status = 429, description = "rate_limited: 10 an hour and account", body = V1ErrorBody),
        (status = 503, description = "unavailable: the limit cannot be checked", body = V1ErrorBody),
    ),
)]
async fn request_payout(State(app): State<App>, headers: HeaderMap, payload: Body) -> Response {
    limited(&app, &headers, Kind::Publisher, &PAYOUTS, async |publisher: Agent| {
        let mut payload = payload.map_err(V1Failure::from_api)?;
        let request: PayoutRequest = payload.json()?;
        let address = request.address.as_deref().map(|text| Address::parse("address", text)).transpose()?;
        let method = match (request.method, &address) {
            (PayoutMethod::Usdc, None) => {
                return Err(Error::missing("address", "Add `address`, an EIP-55 address of yours, or send \"method\":\"wallet\".").into());
            }
            (PayoutMethod::Wallet, Some(_)) => {
                return Err(Error::invalid("address", "A payout to the wallet needs no address.", "Leave `address` out, or send \"method\":\"usdc\".").into());
            }
            (PayoutMethod::Usdc, Some(_)) => Method::Usdc,
            (PayoutMethod::Wallet, None) => Method::Wallet,
        };
        let mut unit = payload.unit(&app, &publisher.id.to_string()).await.map_err(V1Failure::from_api)?;
        if let Some(address) = &address {
            payouts::ops::set_address(&mut unit, app.clock(), publisher.id, address).await?;
        }
        let made = payouts::ops::request(&mut unit, app.clock(), publisher.id, method).await?;
        if made.is_empty() {
            return Err(Error::new(
                Code::NothingToPay,
                "No approved commission is waiting for a payout.",
                "GET /v1/commissions?status=pending shows what the merchants have still to approve; commissions are also held back by a program's hold and minimum.",
            )
            .into());
        }
        unit.created(&PayoutsResponse::from(made)).await.map_err(V1Failure::from_api)
    })
    .await
}

/// The keys that SLAT tokens are signed with
///
/// A JSON Web Key Set: the current key, the one before it, and the next one.
#[utoipa::path(
    get, path = "/.well-known/slat-keys.json", tag = "attribution", operation_id = "slat_keys", security(()),
    responses((status = 200, description = "Ed25519 public keys (RFC 8037)", body = SlatKeysResponse)),
)]
async fn slat_keys(State(app): State<App>) -> Response {
    let mut response = respond::json(StatusCode::OK, &app.slat_keys().published());
    response
        .headers_mut()
        .insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("public, max-age=3600"));
    response
}

fn unknown_merchant() -> Error {
    crate::features::attribution::ops::merchant_not_found()
}

fn program_id(text: &str) -> Result<ProgramId> {
    text.parse().map_err(|_| {
        Error::invalid(
            "program_id",
            "`program_id` is not a UUID.",
            "Send the program's `id` from GET /api/network/discover, or leave it out.",
        )
    })
}

fn commission_id(text: &str) -> Result<CommissionId> {
    CommissionId::parse_prefixed(text).ok_or_else(|| {
        Error::invalid(
            "after",
            "`after` is not the id of a commission.",
            "Send the `id` of the last commission of the page before, `com_…`, as `after`.",
        )
    })
}

fn amount_out_of_range() -> Error {
    Error::invalid(
        "amount",
        "`amount` is out of range.",
        "Send `amount` in cents, a whole number from 1 to 1000000000.",
    )
}
