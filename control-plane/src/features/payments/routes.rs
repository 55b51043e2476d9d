//! HTTP of payments: extract, call, respond.

use super::stripe::apply::{self, Outcome};
use super::{pro, topups};
use crate::app::App;
use crate::auth;
use crate::error::{Code, Error};
use crate::features::subscriptions::model::Source;
use crate::features::subscriptions::ops::{self, Started};
use crate::features::subscriptions::wire::{StartRequest, SubscriptionResponse};
use crate::features::wallet;
use crate::features::wallet::wire::{TopupPayment, TopupRequest, TopupResponse};
use crate::money::Micros;
use crate::stripe::event::Event;
use crate::stripe::signature;
use crate::web::extract::Payload;
use crate::web::respond::{self, ErrorBody, Reply};
use crate::web::x402;
use axum::extract::{DefaultBodyLimit, State};
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// An event is a few KiB; an invoice with many lines is more.
const EVENT_LEN_MAX: usize = 512 * 1024;
const TOPUP_PATH: &str = "/api/wallet/topup";

/// The routes of payments.
pub fn router() -> OpenApiRouter<App> {
    let events = OpenApiRouter::new()
        .routes(routes!(receive_stripe_event))
        .layer(DefaultBodyLimit::max(EVENT_LEN_MAX));
    OpenApiRouter::new()
        .routes(routes!(topup_wallet))
        .routes(routes!(start_pro))
        .routes(routes!(cancel_subscription))
        .routes(routes!(open_billing_portal))
        .merge(events)
}

/// Put money in
///
/// $5 to $500 in steps of $5. Paid by card: the reply has a `checkout_url` where a person pays, and the wallet
/// is credited once that is done. The sandbox, on a deployment without a payment provider, credits at once
/// and says `"sandbox": true`. With `"payment": "x402"` it is paid within the request: 402 says what to sign, the
/// same request with the PAYMENT-SIGNATURE header (or version 1's X-PAYMENT) is settled and credited.
#[utoipa::path(
    post, path = "/api/wallet/topup", tag = "wallet", operation_id = "topup_wallet",
    request_body = TopupRequest,
    responses(
        (status = 201, description = "The payment: `paid` and credited, or `pending` with a `checkout_url`", body = TopupResponse),
        (status = 400, description = "missing_field, invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 402, description = "payment_required, with `\"payment\": \"x402\"`: `accepts` and the PAYMENT-REQUIRED header say what to sign", body = ErrorBody),
        (status = 409, description = "idempotency_key_reused; invalid_state: another account used this payment", body = ErrorBody),
        (status = 503, description = "unavailable: the payment provider is away; send the request again", body = ErrorBody),
    ),
)]
async fn topup_wallet(
    State(app): State<App>,
    caller: auth::Agent,
    headers: HeaderMap,
    mut payload: Payload,
) -> Reply {
    let request: TopupRequest = payload.json()?;
    if request.payment == Some(TopupPayment::X402) || x402::shown(&headers).is_some() {
        return topup_within(&app, caller, &headers, &payload, request.amount).await;
    }
    let (mut unit, topup) = if let Some(account) = &app.config().stripe {
        topups::start(&app, account, caller, &payload, request.amount).await?
    } else {
        let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
        let topup =
            wallet::ops::topup_sandbox(&mut unit, app.clock(), caller.id, request.amount, false).await?;
        (unit, topup)
    };
    let balance = wallet::ops::balance(&mut unit, caller.id).await?;
    unit.created(&TopupResponse::of(topup, balance)).await
}

/// A top-up that is paid within the request: asks for it, or takes it and credits it.
async fn topup_within(
    app: &App,
    caller: auth::Agent,
    headers: &HeaderMap,
    payload: &Payload,
    amount: Micros,
) -> Reply {
    let amount = wallet::model::topup_amount("amount", amount)?;
    let Some(terms) = &app.config().x402 else {
        return Err(Error::invalid(
            "payment",
            "This deployment does not take x402 payments.",
            "Leave `payment` out: GET /api/wallet names the `provider` that is used.",
        )
        .into());
    };
    if x402::shown(headers).is_none() {
        return Err(x402::ask(amount).into());
    }
    payload.replayed(app, &caller.id.to_string()).await?;
    let settled = x402::settle(app, terms, caller.id, Some(amount), headers, TOPUP_PATH).await?;
    let mut unit = payload.unit(app, &caller.id.to_string()).await?;
    let balance = wallet::ops::balance(&mut unit, caller.id).await?;
    let topup = settled.topup.clone();
    let mut response = unit.created(&TopupResponse::of(topup, balance)).await?;
    x402::write_receipt(terms, &settled, response.headers_mut());
    Ok(response)
}

/// Start Infrastructure Pro, $99 a month
///
/// 500,000 clicks and 1,000 conversions a month included, what comes on top at half price, webhooks and
/// custom domains. A cancelled subscription that still runs goes on.
#[utoipa::path(
    post, path = "/api/subscription/pro", tag = "subscription", operation_id = "start_pro",
    request_body = Option<StartRequest>,
    responses(
        (status = 200, description = "A cancelled subscription goes on", body = SubscriptionResponse),
        (status = 201, description = "Active, or pending with a `checkout_url`", body = SubscriptionResponse),
        (status = 400, description = "invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 402, description = "insufficient_credits, when paying from the wallet", body = ErrorBody),
        (status = 409, description = "already_active, idempotency_key_reused", body = ErrorBody),
        (status = 503, description = "unavailable: the payment provider is away; send the request again", body = ErrorBody),
    ),
)]
async fn start_pro(State(app): State<App>, caller: auth::Agent, mut payload: Payload) -> Reply {
    let request: StartRequest = payload.json_or_default()?;
    let by_card = app.config().stripe.as_ref().filter(|_| request.payment.is_none());
    let (unit, started) = if let Some(account) = by_card {
        pro::start(&app, account, caller, &payload).await?
    } else {
        let source = if request.payment.is_some() { Source::Wallet } else { Source::Sandbox };
        let mut unit = payload.unit(&app, &caller.id.to_string()).await?;
        let started = ops::start(&mut unit, app.clock(), caller.id, source).await?;
        (unit, started)
    };
    match started {
        Started::New(subscription) => unit.created(&SubscriptionResponse::of(Some(subscription))).await,
        Started::Resumed(subscription) => unit.ok(&SubscriptionResponse::of(Some(subscription))).await,
    }
}

/// Cancel Pro
///
/// It ends with the month that was paid; at once when none was.
#[utoipa::path(
    delete, path = "/api/subscription", tag = "subscription", operation_id = "cancel_subscription",
    responses(
        (status = 200, description = "The subscription, ending or ended", body = SubscriptionResponse),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 404, description = "not_found: nothing to cancel", body = ErrorBody),
    ),
)]
async fn cancel_subscription(State(app): State<App>, caller: auth::Agent) -> Reply {
    let mut tx = app.begin().await?;
    let subscription = ops::cancel(&mut tx, app.clock(), caller.id).await?;
    tx.commit().await?;
    pro::tell_soon(&app);
    Ok(respond::ok(&SubscriptionResponse::of(Some(subscription))))
}

/// A page for a person.
#[derive(Debug, Serialize, ToSchema)]
struct PortalResponse {
    /// Where to go; good for a few minutes, once.
    url: String,
}

/// Change the card, see invoices
///
/// Gives the address of a page at the payment provider where a person changes the card that pays for Pro, sees
/// invoices, and cancels.
#[utoipa::path(
    post, path = "/api/subscription/portal", tag = "subscription", operation_id = "open_billing_portal",
    responses(
        (status = 201, description = "The page", body = PortalResponse),
        (status = 400, description = "invalid_value", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 404, description = "not_found: nothing was ever paid by card", body = ErrorBody),
        (status = 409, description = "idempotency_key_reused", body = ErrorBody),
        (status = 503, description = "unavailable: the payment provider is away; send the request again", body = ErrorBody),
    ),
)]
async fn open_billing_portal(State(app): State<App>, caller: auth::Agent, mut payload: Payload) -> Reply {
    payload.no_body()?;
    payload.replayed(&app, &caller.id.to_string()).await?;
    let Some(account) = &app.config().stripe else {
        return Err(Error::not_found("billing portal", "Nothing is paid by card on this deployment.").into());
    };
    let url = pro::portal(&app, account, caller).await?;
    let unit = payload.unit(&app, &caller.id.to_string()).await?;
    unit.created(&PortalResponse { url }).await
}

/// What a payment provider is told.
#[derive(Debug, Serialize, ToSchema)]
struct Received {
    /// Always true: it need not be sent again.
    received: bool,
    /// `applied`, `repeated` (it was known), `waiting` (kept for a payment that is not known yet), `ignored`, or
    /// `mismatch` (kept for an operator to look at).
    outcome: &'static str,
}

/// For Stripe: takes a signed event
///
/// The endpoint to register at Stripe. Each event takes effect once, in whatever order they come.
#[utoipa::path(
    post, path = "/api/payments/stripe/webhook", tag = "wallet", operation_id = "receive_stripe_event",
    security(()), extensions(("x-not-a-tool" = json!(true))),
    request_body(content = serde_json::Value, description = "A Stripe event, signed in `Stripe-Signature`"),
    responses(
        (status = 200, description = "Taken", body = Received),
        (status = 400, description = "invalid_signature; invalid_value: signed, but not an event", body = ErrorBody),
        (status = 404, description = "not_found: this deployment does not use Stripe", body = ErrorBody),
    ),
)]
async fn receive_stripe_event(State(app): State<App>, headers: HeaderMap, mut payload: Payload) -> Reply {
    let Some(account) = &app.config().stripe else {
        return Err(Error::not_found("webhook", "Nothing is paid by card on this deployment.").into());
    };
    let bytes = payload.bytes()?;
    let header = headers.get("stripe-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let now = app.clock().now();
    if let Err(forged) = signature::verify(header, &bytes, &account.webhook_secrets, now.timestamp()) {
        count("forged");
        tracing::warn!(reason = %forged, "a webhook that is not Stripe's was refused");
        let fix = "Send the event as Stripe sends it: the raw body, signed with this endpoint's secret, within 300 seconds.";
        return Err(Error::new(Code::InvalidSignature, format!("Not Stripe's word: {forged}."), fix).into());
    }
    let event = Event::read(&bytes, now).ok_or_else(|| {
        count("unreadable");
        Error::invalid(
            "body",
            "The body is not an event.",
            "Send a Stripe event with `type` and `data.object`.",
        )
    })?;
    let mut tx = app.begin().await?;
    let outcome = apply::apply(&mut tx, app.clock(), account.is_live(), &event).await?;
    tx.commit().await?;
    count(outcome.as_str());
    if let Outcome::Mismatch(what) = outcome {
        tracing::error!(event.id = event.id, event.kind = event.kind, what, "a payment event does not fit");
    }
    pro::tell_soon(&app);
    Ok(respond::ok(&Received { received: true, outcome: outcome.as_str() }))
}

fn count(outcome: &'static str) {
    metrics::counter!("cp_payment_events_total", "provider" => "stripe", "outcome" => outcome).increment(1);
}
