//! Pro by card: starting it, changing it, and telling Stripe what became of it on our side.

use super::stripe::queries;
use super::topups::{away, create_session, returning};
use crate::app::App;
use crate::auth;
use crate::error::{Error, Result};
use crate::features::subscriptions::model::{Subscription, Wish};
use crate::features::subscriptions::months;
use crate::features::subscriptions::ops::Started;
use crate::stripe::Account;
use crate::stripe::client::{Failure, Form, Stripe};
use crate::web::extract::Payload;
use crate::web::idempotency::Unit;
use crate::web::respond::ApiError;
use crate::workers::jobs::Turn;
use chrono::TimeDelta;
use shared::id::EventId;

/// Nobody else tells Stripe the same thing meanwhile: three tries of 8 s and their pauses, and then some.
const TELLING_FOR: TimeDelta = TimeDelta::seconds(45);

/// Starts Pro by card; the unit has the answer still to be written.
pub async fn start(
    app: &App,
    account: &Account,
    caller: auth::Agent,
    payload: &Payload,
) -> Result<(Unit, Started), ApiError> {
    let scope = caller.id.to_string();
    payload.replayed(app, &scope).await?;
    let mut tx = app.begin().await?;
    let started = months::open(&mut tx, app.clock(), caller.id).await?;
    let customer = queries::find_customer(&mut tx, caller.id).await?;
    tx.commit().await?;
    let subscription = match started {
        Started::Resumed(_) => {
            tell_soon(app);
            return Ok((payload.unit(app, &scope).await?, started));
        }
        Started::New(subscription) => subscription,
    };
    if subscription.checkout_url.is_some() {
        return Ok((payload.unit(app, &scope).await?, Started::New(subscription)));
    }
    let page = checkout(app, account, &subscription, customer);
    let session = match page.await {
        Ok(session) => session,
        Err(failure) => return Err(gave_up(app, &subscription, failure).await?.into()),
    };
    let mut unit = payload.unit(app, &scope).await?;
    let url = session.url.as_deref();
    let bound = months::bind_checkout(&mut unit, app.clock(), &subscription, &session.id, url).await?;
    Ok((unit, Started::New(bound)))
}

async fn checkout(
    app: &App,
    account: &Account,
    subscription: &Subscription,
    customer: Option<String>,
) -> Result<crate::stripe::event::Session, Failure> {
    let id = subscription.id.to_string();
    let mut form = Form::default()
        .with("mode", "subscription")
        .with("client_reference_id", &id)
        .with("metadata[subscription_id]", &id)
        // Copied to the subscription and from there to its invoices, so that each says whose it is.
        .with("subscription_data[metadata][subscription_id]", &id)
        .with("line_items[0][price]", &account.pro_price)
        .with("line_items[0][quantity]", "1");
    form = returning(form, app);
    if let Some(customer) = customer {
        form = form.with("customer", customer);
    }
    // A page that has grown old is replaced by another, which is another call.
    let asked = subscription.checkout_at.map_or(0, |at| at.timestamp_micros());
    create_session(Stripe::new(account, app.services()), &format!("pro:{id}:{asked}"), &form).await
}

/// A refusal ends the start; what is unknown leaves it for the next try.
async fn gave_up(app: &App, subscription: &Subscription, failure: Failure) -> Result<Error> {
    if let Failure::Refused { .. } = failure {
        let mut tx = app.begin().await?;
        if let Some(kept) = months::lock(&mut tx, subscription.id).await? {
            months::never_paid(&mut tx, app.clock(), &kept).await?;
        }
        tx.commit().await?;
    }
    Ok(away(failure))
}

/// The page where a person changes the card, sees invoices and cancels.
pub async fn portal(app: &App, account: &Account, caller: auth::Agent) -> Result<String> {
    let mut conn = app.read().await?;
    let customer = queries::find_customer(&mut conn, caller.id).await?;
    drop(conn);
    let customer = customer.ok_or_else(|| {
        Error::not_found(
            "customer",
            "Pay Pro by card first: POST /api/subscription/pro gives a `checkout_url`.",
        )
    })?;
    let form = Form::default()
        .with("customer", customer)
        .with("return_url", format!("{}/my-dashboard", app.config().api_origin));
    let key = format!("portal:{}", EventId::generate());
    let answer = Stripe::new(account, app.services()).post("/v1/billing_portal/sessions", &key, &form).await;
    let url = answer.map_err(away)?.get("url").and_then(serde_json::Value::as_str).map(str::to_owned);
    url.ok_or_else(|| Error::unavailable(anyhow::anyhow!("a portal session without an address")))
}

/// Tells Stripe what it has to be told, now and in the background; the job does it if this does not.
pub fn tell_soon(app: &App) {
    let task = app.clone();
    app.tasks().spawn(async move {
        while let Ok(Turn::Again) = tell_job(task.clone()).await {
            if task.tasks().is_stopping() {
                return;
            }
        }
    });
}

/// The job: tells Stripe one thing a turn.
pub async fn tell_job(app: App) -> Result<Turn> {
    let Some(account) = &app.config().stripe else { return Ok(Turn::Idle) };
    let mut tx = app.db_worker().begin().await?;
    let taken = months::take_wish(&mut tx, app.clock(), TELLING_FOR).await?;
    tx.commit().await?;
    let Some((subscription, wish)) = taken else { return Ok(Turn::Idle) };
    match tell(Stripe::new(account, app.services()), &subscription, wish).await {
        Ok(()) => {}
        // It is gone already, or was never there: what we want is so.
        Err(Failure::Refused { status, code }) => {
            tracing::warn!(subscription.id = %subscription.id, status, code, "Stripe refused a change of a subscription");
        }
        Err(failure) => return Err(Error::unavailable(failure)),
    }
    let mut conn = app.db_worker().acquire().await?;
    months::wish_done(&mut conn, &subscription).await?;
    Ok(Turn::Again)
}

async fn tell(stripe: Stripe<'_>, subscription: &Subscription, wish: Wish) -> Result<(), Failure> {
    let since = subscription.provider_wish_at.map_or(0, |at| at.timestamp_micros());
    let key = format!("pro:{}:{}:{since}", subscription.id, wish.as_str());
    let by_name = subscription.provider_ref.as_ref().map(|name| format!("/v1/subscriptions/{name}"));
    let change = |cancel: &str| Form::default().with("cancel_at_period_end", cancel);
    match (wish, by_name) {
        (Wish::CancelAtPeriodEnd, Some(path)) => stripe.post(&path, &key, &change("true")).await?,
        (Wish::Resume, Some(path)) => stripe.post(&path, &key, &change("false")).await?,
        (Wish::Cancel, Some(path)) => stripe.delete(&path, &key).await?,
        (Wish::Cancel | Wish::ExpireCheckout, _) => match &subscription.checkout_ref {
            Some(session) => {
                let path = format!("/v1/checkout/sessions/{session}/expire");
                stripe.post(&path, &key, &Form::default()).await?
            }
            None => return Ok(()),
        },
        // Its name at Stripe has not come yet: the event that brings it is on its way.
        (Wish::CancelAtPeriodEnd | Wish::Resume, None) => {
            return Err(Failure::Unknown("the subscription has no name there yet".to_owned()));
        }
    };
    Ok(())
}
