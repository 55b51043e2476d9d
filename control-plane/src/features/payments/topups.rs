//! Starting a top-up that is paid at Stripe.
//!
//! Three steps, so that no transaction waits for a stranger: the top-up is written, the page to pay on is
//! asked for under the top-up's own key, the answer is written. Cut off anywhere, the same request goes on
//! where it stopped: with an `Idempotency-Key` it finds its top-up, and Stripe gives the same page again.

use super::stripe::queries;
use crate::app::App;
use crate::auth;
use crate::error::{Error, Result};
use crate::features::wallet::model::{Opening, Provider, TOPUP_STEP, Topup};
use crate::features::wallet::payments as wallet;
use crate::features::wallet::{model, ops};
use crate::money::Micros;
use crate::stripe::Account;
use crate::stripe::client::{Failure, Form, Stripe};
use crate::stripe::event::Session;
use crate::web::extract::Payload;
use crate::web::idempotency::Unit;
use crate::web::respond::ApiError;

/// Starts a top-up; the unit has the answer still to be written.
pub async fn start(
    app: &App,
    account: &Account,
    caller: auth::Agent,
    payload: &Payload,
    amount: Micros,
) -> Result<(Unit, Topup), ApiError> {
    let amount = model::topup_amount("amount", amount)?;
    let scope = caller.id.to_string();
    payload.replayed(app, &scope).await?;
    let request = payload.request_name(app, &scope);
    let opening = Opening {
        agent: caller.id,
        provider: Provider::Stripe,
        amount,
        request: request.as_deref(),
        provider_ref: None,
    };
    let mut tx = app.begin().await?;
    let topup = wallet::open(&mut tx, app.clock(), &opening).await?;
    let customer = queries::find_customer(&mut tx, caller.id).await?;
    tx.commit().await?;
    let session = match page(app, account, &topup, customer).await {
        Ok(session) => session,
        Err(failure) => return Err(gave_up(app, &topup, failure).await?.into()),
    };
    let mut unit = payload.unit(app, &scope).await?;
    wallet::bind(&mut unit, app.clock(), topup.id, &session.id, session.url.as_deref()).await?;
    let topup = ops::load_topup(&mut unit, caller.id, topup.id).await?;
    Ok((unit, topup))
}

/// Asks for the page on which a top-up is paid.
async fn page(
    app: &App,
    account: &Account,
    topup: &Topup,
    customer: Option<String>,
) -> Result<Session, Failure> {
    let id = topup.id.to_string();
    let mut form = Form::default()
        .with("mode", "payment")
        .with("client_reference_id", &id)
        .with("metadata[topup_id]", &id)
        // Copied to the charge, so that a refund says whose it is.
        .with("payment_intent_data[metadata][topup_id]", &id);
    form = priced(form, account, topup.amount_micros);
    form = returning(form, app);
    if let Some(customer) = customer {
        form = form.with("customer", customer);
    }
    let key = format!("topup:{id}");
    create_session(Stripe::new(account, app.services()), &key, &form).await
}

/// What is bought: so many times the operator's price of $5, or a price made for this one.
fn priced(form: Form, account: &Account, amount: Micros) -> Form {
    if let Some(price) = &account.topup_price {
        let quantity = amount.0.div_euclid(TOPUP_STEP.0);
        return form
            .with("line_items[0][price]", price)
            .with("line_items[0][quantity]", quantity.to_string());
    }
    let cents = amount.whole_cents().unwrap_or_default();
    form.with("line_items[0][price_data][currency]", "usd")
        .with("line_items[0][price_data][unit_amount]", cents.to_string())
        .with("line_items[0][price_data][product_data][name]", "AffiliateOS wallet top-up")
        .with("line_items[0][quantity]", "1")
}

/// Where a person comes back to.
pub(super) fn returning(form: Form, app: &App) -> Form {
    let dashboard = format!("{}/my-dashboard", app.config().api_origin);
    form.with("success_url", &dashboard).with("cancel_url", dashboard)
}

/// Asks for a page to pay on.
pub(super) async fn create_session(stripe: Stripe<'_>, key: &str, form: &Form) -> Result<Session, Failure> {
    let answer = stripe.post("/v1/checkout/sessions", key, form).await?;
    Session::read(&answer).ok_or_else(|| Failure::Unknown("an answer that is not a session".to_owned()))
}

/// A refusal ends the top-up; what is unknown leaves it for the next try.
async fn gave_up(app: &App, topup: &Topup, failure: Failure) -> Result<Error> {
    if let Failure::Refused { .. } = failure {
        let mut tx = app.begin().await?;
        if let Some(kept) = wallet::lock(&mut tx, topup.id).await? {
            wallet::given_up(&mut tx, app.clock(), &kept, "failed").await?;
        }
        tx.commit().await?;
    }
    Ok(away(failure))
}

/// What a caller is told of a provider that is away or refuses.
pub(super) fn away(failure: Failure) -> Error {
    if let Failure::Refused { .. } = failure {
        // Our settings or our account there: nothing a caller could mend.
        tracing::error!(cause = %failure, "the payment provider refused a call");
    }
    let mut error = Error::unavailable(failure);
    error.message =
        String::from("The payment provider cannot be reached for the moment; nothing was charged.");
    error.retry_after = Some(5);
    error
}
