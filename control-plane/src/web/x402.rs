//! Paying within a request: a request refused for lack of money says what would mend it, and the same request
//! sent again with that payment tops the wallet up first and then runs. One round trip, no other call.
//!
//! Only what money mends is offered: not a spend cap, which its owner has set, nor more than one top-up can
//! bring. The top-up's own call settles its payment itself, since it knows the amount.

use crate::app::App;
use crate::auth::api_keys;
use crate::auth::extract::authenticate;
use crate::error::{Code, Error, Result};
use crate::features::attribution;
use crate::features::payments::x402::ops::{self, Settled, Shown};
use crate::features::wallet::model::{TOPUP_MAX, TOPUP_STEP};
use crate::money::Micros;
use crate::web::respond::ApiError;
use crate::x402::Terms;
use crate::x402::terms::Resource;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use shared::id::AgentId;

/// What is to be paid; version 1 has it in the body.
pub const REQUIRED: HeaderName = HeaderName::from_static("payment-required");
const SIGNATURE: HeaderName = HeaderName::from_static("payment-signature");
const SIGNATURE_V1: HeaderName = HeaderName::from_static("x-payment");
const RESPONSE: HeaderName = HeaderName::from_static("payment-response");
const RESPONSE_V1: HeaderName = HeaderName::from_static("x-payment-response");
/// The call that settles its payment itself.
const TOPUP_PATH: &str = "/api/wallet/topup";
/// A refusal is a few hundred bytes.
const REFUSAL_LEN_MAX: usize = 64 * 1024;

/// What a refused request lacks, on its reply.
#[derive(Clone, Copy, Debug)]
pub struct Lacking(pub Micros);

/// The payment a request shows.
pub fn shown(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(SIGNATURE).or_else(|| headers.get(SIGNATURE_V1))?;
    // What is not text is not a payment either, and is told so.
    Some(value.to_str().unwrap_or_default())
}

/// Around the routes.
pub async fn around(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let Some(terms) = &app.config().x402 else { return next.run(request).await };
    let pays = path == TOPUP_PATH || shown(request.headers()).is_some();
    if pays && let Err(error) = attribution::header::read(request.headers()) {
        // Already the request that is answered with 402 hears of it: nobody signs a payment for nothing.
        return ApiError::from(error).into_response();
    }
    let mut receipt = None;
    if path != TOPUP_PATH && shown(request.headers()).is_some() {
        match settle_first(&app, terms, request.headers(), &path).await {
            Ok(settled) => receipt = Some(settled),
            Err(error) => return offer(&app, terms, &path, ApiError::from(error).into_response()).await,
        }
    }
    let mut response = next.run(request).await;
    if let Some(settled) = receipt {
        write_receipt(terms, &settled, response.headers_mut());
    }
    offer(&app, terms, &path, response).await
}

/// Tops up the wallet of whoever calls, whatever kind of key it shows.
async fn settle_first(app: &App, terms: &Terms, headers: &HeaderMap, path: &str) -> Result<Settled> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let key = bearer.split_once(' ').map_or("", |(_, key)| key.trim());
    let kind = api_keys::kind_of(key).unwrap_or(api_keys::Kind::Agent);
    let caller = authenticate(app, headers, kind).await?;
    settle(app, terms, caller.id, None, headers, path).await
}

/// Takes the payment a request shows.
pub async fn settle(
    app: &App,
    terms: &Terms,
    agent: AgentId,
    wanted: Option<Micros>,
    headers: &HeaderMap,
    path: &str,
) -> Result<Settled> {
    let header = shown(headers).unwrap_or_default();
    let url = format!("{}{path}", app.config().api_origin);
    // Whom the payment is attributed to is said before it is taken, or it is not taken.
    let said = attribution::header::read(headers)?;
    let mut publisher = None;
    if let Some(said) = &said {
        said.must_be_current(app.clock().now().timestamp())?;
        let mut conn = app.read().await?;
        // By its public name: a key is not kept.
        let found = attribution::ops::named_publisher(&mut conn, said.agent).await?;
        publisher = Some(shared::id::publisher_name(found));
    }
    let attribution = (said.map(|said| said.reference), publisher.as_deref());
    ops::take(app, terms, agent, wanted, Shown { header, url: &url, attribution }).await
}

/// Tells the payer's client what became of its payment.
pub fn write_receipt(terms: &Terms, settled: &Settled, headers: &mut HeaderMap) {
    let text = STANDARD.encode(settled.receipt(terms).to_string());
    let name = if settled.version == 1 { RESPONSE_V1 } else { RESPONSE };
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}

/// 402 for a call that is paid within it.
pub fn ask(amount: Micros) -> Error {
    Error::new(
        Code::PaymentRequired,
        format!("Pay ${amount} to go on."),
        "Sign one of `accepts` (or of the PAYMENT-REQUIRED header) and send the same request again with the PAYMENT-SIGNATURE header; x402 clients do that by themselves.",
    )
    .lacking(amount)
}

/// The top-up that brings what is lacking: the smallest one that does.
fn mends(lacking: Micros) -> Option<Micros> {
    let steps = lacking.0.max(1).checked_add(TOPUP_STEP.0.checked_sub(1)?)?.div_euclid(TOPUP_STEP.0);
    TOPUP_STEP.times(steps).ok().filter(|amount| *amount <= TOPUP_MAX)
}

/// Puts the offer on a refusal that money mends.
async fn offer(app: &App, terms: &Terms, path: &str, response: Response) -> Response {
    let lacking = response.extensions().get::<Lacking>().copied();
    let Some(amount) = lacking.and_then(|lacking| mends(lacking.0)) else { return response };
    let url = format!("{}{path}", app.config().api_origin);
    let resource = Resource { url: &url, description: ops::DESCRIPTION };
    let (mut parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, REFUSAL_LEN_MAX).await.unwrap_or_default();
    let mut said: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let error = said.get("error").and_then(Value::as_str).map(str::to_owned);
    let header = terms.required_header(amount, resource, error.as_deref().unwrap_or("insufficient_credits"));
    if let Ok(value) = HeaderValue::try_from(header) {
        parts.headers.insert(REQUIRED, value);
    }
    // Clients of version 1 read the body, whose `error` is a word there as it is here. Under `/v1` it is not.
    if let (Some(_), Some(members)) = (error, said.as_object_mut()) {
        members.insert("x402Version".to_owned(), json!(1));
        let accepts: Vec<Value> = terms.requirements_v1(amount, resource).into_iter().collect();
        members.insert("accepts".to_owned(), json!(accepts));
        parts.headers.remove(CONTENT_LENGTH);
        return Response::from_parts(parts, Body::from(said.to_string()));
    }
    Response::from_parts(parts, Body::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_top_up_that_mends_it() {
        let check = |lacking: i64, amount: Option<i64>| {
            assert_eq!(mends(Micros(lacking)), amount.map(Micros), "{lacking}");
        };
        check(1, Some(5_000_000));
        check(300_000, Some(5_000_000));
        check(5_000_000, Some(5_000_000));
        check(5_000_001, Some(10_000_000));
        check(99_000_000, Some(100_000_000));
        check(500_000_000, Some(500_000_000));
        check(500_000_001, None);
        check(i64::MAX, None);
    }
}
