//! Pro's months by card: what Stripe says of subscriptions and their invoices, taken down and then put
//! together. A subscription is what its invoices and its end make it, in whatever order they came.

use super::apply::Outcome;
use super::model::InvoiceStage;
use super::queries::{self, Told};
use super::reversals;
use crate::error::Result;
use crate::features::ledger::model::CURRENCY;
use crate::features::subscriptions::model::{self, CardMonths};
use crate::features::subscriptions::months as subscriptions;
use crate::money::Micros;
use crate::stripe::event::{Invoice, InvoicePayment, Session, Subscription};
use chrono::{DateTime, Utc};
use shared::Clock;
use shared::id::SubscriptionId;
use sqlx::PgConnection;

/// A Checkout session for Pro says how it stands.
pub(super) async fn checkout(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    session: &Session,
    ending: Option<&'static str>,
    at: DateTime<Utc>,
) -> Result<Outcome> {
    if let Some(subscription) = &session.subscription {
        queries::lock_subscription_ref(conn, subscription).await?;
    }
    let Some(ours) = ours(conn, session.ours.as_deref(), session.subscription.as_deref()).await? else {
        return Ok(Outcome::Ignored);
    };
    let Some(kept) = subscriptions::lock(conn, ours).await? else { return Ok(Outcome::Ignored) };
    if ending.is_some() {
        subscriptions::never_paid(conn, clock, &kept).await?;
        return Ok(Outcome::Applied);
    }
    if let Some(subscription) = &session.subscription {
        let told = Told { subscription, ours: Some(ours), ended: false, cancel_at_period_end: None, at };
        queries::save_subscription(conn, &told).await?;
    }
    if let Some(customer) = &session.customer {
        queries::insert_customer(conn, kept.agent_id, customer, clock.now()).await?;
    }
    if !session.paid {
        return Ok(Outcome::Waiting);
    }
    if session.currency.as_deref().is_some_and(|currency| currency != CURRENCY) {
        return Ok(Outcome::Mismatch("currency"));
    }
    // The month it paid; its invoice says the same, with the month's exact begin and end.
    let paid = Invoice {
        id: session.invoice.clone().unwrap_or_else(|| session.id.clone()),
        subscription: session.subscription.clone(),
        ours: None,
        paid: session.amount.unwrap_or(kept.price_micros),
        currency: None,
        payment: session.payment.clone(),
        period: None,
    };
    queries::save_invoice(conn, &paid, Some(ours), InvoiceStage::Paid, at).await?;
    settle(conn, clock, ours).await?;
    paid_by(conn, clock, &paid.id, paid.payment.as_deref()).await
}

/// A subscription says how it stands.
pub(super) async fn subscription(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    subscription: &Subscription,
    deleted: bool,
    at: DateTime<Utc>,
) -> Result<Outcome> {
    queries::lock_subscription_ref(conn, &subscription.id).await?;
    let ours = ours(conn, subscription.ours.as_deref(), Some(&subscription.id)).await?;
    let kept = match ours {
        Some(ours) => subscriptions::lock(conn, ours).await?,
        None => None,
    };
    let told = Told {
        subscription: &subscription.id,
        ours: kept.as_ref().map(|kept| kept.id),
        ended: deleted || matches!(subscription.status.as_str(), "canceled" | "incomplete_expired"),
        cancel_at_period_end: Some(subscription.cancel_at_period_end),
        at,
    };
    queries::save_subscription(conn, &told).await?;
    let Some(kept) = kept else { return Ok(Outcome::Waiting) };
    if let Some(customer) = &subscription.customer {
        queries::insert_customer(conn, kept.agent_id, customer, clock.now()).await?;
    }
    settle(conn, clock, kept.id).await
}

/// An invoice says how far it has come.
pub(super) async fn invoice(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    invoice: &Invoice,
    stage: InvoiceStage,
    at: DateTime<Utc>,
) -> Result<Outcome> {
    let Some(subscription) = &invoice.subscription else { return Ok(Outcome::Ignored) };
    if invoice.currency.as_deref().is_some_and(|currency| currency != CURRENCY) {
        return Ok(Outcome::Mismatch("currency"));
    }
    queries::lock_subscription_ref(conn, subscription).await?;
    let ours = ours(conn, invoice.ours.as_deref(), Some(subscription)).await?;
    let kept = match ours {
        Some(ours) => subscriptions::lock(conn, ours).await?,
        None => None,
    };
    queries::save_invoice(conn, invoice, kept.as_ref().map(|kept| kept.id), stage, at).await?;
    let outcome = match kept {
        Some(kept) => settle(conn, clock, kept.id).await?,
        None => Outcome::Waiting,
    };
    paid_by(conn, clock, &invoice.id, invoice.payment.as_deref()).await?;
    Ok(outcome)
}

/// A payment says which invoice it paid.
pub(super) async fn payment(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    paid: &InvoicePayment,
) -> Result<Outcome> {
    paid_by(conn, clock, &paid.invoice, Some(&paid.payment)).await
}

/// Takes down what paid an invoice, and what went back of that before we knew.
async fn paid_by(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    invoice: &str,
    payment: Option<&str>,
) -> Result<Outcome> {
    let Some(payment) = payment else { return Ok(Outcome::Applied) };
    queries::save_payment(conn, payment, None, Micros::ZERO, clock.now()).await?;
    queries::save_invoice_of(conn, payment, invoice).await?;
    reversals::settle(conn, clock, payment).await?;
    Ok(Outcome::Applied)
}

/// Ours: by the id that came along, or by what an earlier event said.
async fn ours(
    conn: &mut PgConnection,
    id: Option<&str>,
    subscription: Option<&str>,
) -> Result<Option<SubscriptionId>> {
    if let Some(id) = id.and_then(|id| id.parse().ok())
        && subscriptions::is_by_card(conn, id).await?
    {
        return Ok(Some(id));
    }
    match subscription {
        Some(subscription) => queries::find_bound(conn, subscription).await,
        None => Ok(None),
    }
}

/// Books what was paid and makes the subscription what it has come to. The caller holds it.
async fn settle(conn: &mut PgConnection, clock: &dyn Clock, ours: SubscriptionId) -> Result<Outcome> {
    let Some(kept) = subscriptions::lock(conn, ours).await? else { return Ok(Outcome::Ignored) };
    let bound = queries::find_bound_to(conn, ours).await?;
    let invoices = queries::list_invoices(conn, ours).await?;
    let paid = InvoiceStage::Paid.number();
    let mut months = Vec::new();
    for invoice in invoices.iter().filter(|invoice| invoice.stage == paid) {
        let start = invoice.period_start.unwrap_or(invoice.created_at);
        let end = invoice.period_end.unwrap_or_else(|| model::period(start, 1).end);
        months.push((start, end));
        if !invoice.booked {
            if invoice.amount_micros > Micros::ZERO {
                subscriptions::book(conn, clock, &kept, &invoice.id, invoice.amount_micros).await?;
            }
            queries::save_booked(conn, &invoice.id).await?;
            if let Some(payment) = queries::find_payment_of(conn, &invoice.id).await? {
                // What was known of its way back before the month was.
                reversals::settle(conn, clock, &payment).await?;
            }
        }
    }
    let known = bound.as_ref();
    let card = CardMonths {
        months,
        failing: invoices.iter().any(|invoice| invoice.stage == InvoiceStage::Failed.number()),
        ended: known.is_some_and(|bound| bound.ended),
        cancel_at_period_end: known.is_some_and(|bound| bound.cancel_at_period_end),
    };
    subscriptions::arrange(conn, clock, &kept, &card, known.map(|bound| bound.provider_ref.as_str())).await?;
    Ok(Outcome::Applied)
}
