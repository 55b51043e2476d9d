//! Events: each takes effect once, in the transaction that remembers it.
//!
//! An event that does not fit what we asked for (another amount, currency or mode) moves nothing; it is
//! kept as `mismatch` and counted, for somebody to look at. Answering it with an error would only make Stripe
//! send it again for three days.

use super::model::{InvoiceStage, Kind};
use super::{months, queries, reversals};
use crate::app::App;
use crate::error::Result;
use crate::features::ledger::model::CURRENCY;
use crate::features::wallet::model::Topup;
use crate::features::wallet::payments as wallet;
use crate::money::Micros;
use crate::stripe::event::{
    Charge, Event, Invoice, InvoicePayment, Payment, Reversal, Session, Subscription,
};
use crate::workers::jobs::Turn;
use chrono::TimeDelta;
use shared::Clock;
use shared::id::TopupId;
use sqlx::PgConnection;

/// How long events are remembered. Stripe sends one again for three days; an operator may for thirty.
const KEPT_FOR: TimeDelta = TimeDelta::days(90);
const FORGET_MAX: i64 = 1000;

/// What became of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It took effect, or its effect was there.
    Applied,
    /// None of our business.
    Ignored,
    /// Taken down, for a payment we do not know yet.
    Waiting,
    /// Not what we asked for.
    Mismatch(&'static str),
    /// It was taken before; nothing happened now.
    Repeated,
}

impl Outcome {
    /// The column value, and the metric's.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Ignored => "ignored",
            Self::Waiting => "waiting",
            Self::Mismatch(_) => "mismatch",
            Self::Repeated => "repeated",
        }
    }
}

/// Applies an event once. The caller owns the transaction. `live`: whether our key moves real money.
pub async fn apply(conn: &mut PgConnection, clock: &dyn Clock, live: bool, event: &Event) -> Result<Outcome> {
    if !queries::insert_event(conn, event, clock.now()).await? {
        return Ok(Outcome::Repeated);
    }
    let outcome = if event.livemode == live {
        effect(conn, clock, event).await?
    } else {
        Outcome::Mismatch("livemode")
    };
    let detail = match outcome {
        Outcome::Mismatch(what) => Some(what),
        _ => None,
    };
    queries::save_outcome(conn, &event.id, outcome.as_str(), detail).await?;
    Ok(outcome)
}

async fn effect(conn: &mut PgConnection, clock: &dyn Clock, event: &Event) -> Result<Outcome> {
    const UNREADABLE: Outcome = Outcome::Mismatch("unreadable");
    let object = &event.object;
    match event.kind.as_str() {
        "checkout.session.completed"
        | "checkout.session.async_payment_succeeded"
        | "checkout.session.async_payment_failed"
        | "checkout.session.expired" => {
            let Some(session) = Session::read(object) else { return Ok(UNREADABLE) };
            let ending = match event.kind.as_str() {
                "checkout.session.expired" => Some("expired"),
                "checkout.session.async_payment_failed" => Some("failed"),
                _ => None,
            };
            checkout(conn, clock, &session, ending, event.created).await
        }
        "payment_intent.succeeded" => {
            let Some(payment) = Payment::read(object) else { return Ok(UNREADABLE) };
            succeeded(conn, clock, &payment).await
        }
        "charge.refunded" => {
            let Some(charge) = Charge::read(object) else { return Ok(UNREADABLE) };
            reversals::charge(conn, clock, &charge).await
        }
        "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated" => {
            let Some(refund) = Reversal::read(object) else { return Ok(UNREADABLE) };
            reversals::reversal(conn, clock, Kind::Refund, &refund).await
        }
        "charge.dispute.created"
        | "charge.dispute.updated"
        | "charge.dispute.closed"
        | "charge.dispute.funds_withdrawn"
        | "charge.dispute.funds_reinstated" => {
            let Some(dispute) = Reversal::read(object) else { return Ok(UNREADABLE) };
            reversals::reversal(conn, clock, Kind::Dispute, &dispute).await
        }
        "customer.subscription.created"
        | "customer.subscription.updated"
        | "customer.subscription.deleted" => {
            let Some(subscription) = Subscription::read(object) else { return Ok(UNREADABLE) };
            let deleted = event.kind == "customer.subscription.deleted";
            months::subscription(conn, clock, &subscription, deleted, event.created).await
        }
        "invoice_payment.paid" => {
            let Some(paid) = InvoicePayment::read(object) else { return Ok(UNREADABLE) };
            months::payment(conn, clock, &paid).await
        }
        kind => {
            let stage = match kind {
                "invoice.paid" | "invoice.payment_succeeded" => InvoiceStage::Paid,
                "invoice.payment_failed" | "invoice.payment_action_required" => InvoiceStage::Failed,
                "invoice.voided" | "invoice.marked_uncollectible" => InvoiceStage::GivenUp,
                _ => return Ok(Outcome::Ignored),
            };
            let Some(invoice) = Invoice::read(object) else { return Ok(UNREADABLE) };
            months::invoice(conn, clock, &invoice, stage, event.created).await
        }
    }
}

/// A Checkout session says how it stands: `ending` when nothing will come of it.
pub(super) async fn checkout(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    session: &Session,
    ending: Option<&'static str>,
    at: chrono::DateTime<chrono::Utc>,
) -> Result<Outcome> {
    if session.subscribes {
        return months::checkout(conn, clock, session, ending, at).await;
    }
    let ours = session.ours.as_deref().and_then(|id| id.parse::<TopupId>().ok());
    let id = match ours {
        Some(id) if queries::topup_exists(conn, id).await? => Some(id),
        _ => queries::find_topup_of_session(conn, &session.id).await?,
    };
    let Some(id) = id else { return Ok(Outcome::Ignored) };
    if let Some(payment) = &session.payment {
        queries::save_payment(conn, payment, Some(id), Micros::ZERO, clock.now()).await?;
    }
    let Some(topup) = wallet::lock(conn, id).await? else { return Ok(Outcome::Ignored) };
    if let Some(status) = ending {
        wallet::given_up(conn, clock, &topup, status).await?;
        return Ok(Outcome::Applied);
    }
    if !session.paid {
        // A payment that takes days: another event will say what became of it.
        return Ok(Outcome::Waiting);
    }
    let known = topup.provider_ref.as_deref() == Some(&session.id);
    if let Some(mismatch) = mismatch(&topup, session.amount, session.currency.as_deref(), known) {
        return Ok(Outcome::Mismatch(mismatch));
    }
    if topup.provider_ref.is_none() {
        wallet::bind(conn, clock, topup.id, &session.id, None).await?;
    }
    if wallet::paid(conn, clock, &topup).await? {
        tracing::info!(topup.id = %topup.id, "a top-up was paid");
    }
    match &session.payment {
        // What was known of its way back before we knew whose it was.
        Some(payment) => reversals::settle(conn, clock, payment).await,
        None => Ok(Outcome::Applied),
    }
}

/// A payment says it succeeded: the same news as the session's, by another way.
async fn succeeded(conn: &mut PgConnection, clock: &dyn Clock, payment: &Payment) -> Result<Outcome> {
    let Some(id) = payment.ours.as_deref().and_then(|id| id.parse::<TopupId>().ok()) else {
        return Ok(Outcome::Ignored);
    };
    if !queries::topup_exists(conn, id).await? {
        return Ok(Outcome::Ignored);
    }
    queries::save_payment(conn, &payment.id, Some(id), Micros::ZERO, clock.now()).await?;
    let Some(topup) = wallet::lock(conn, id).await? else { return Ok(Outcome::Ignored) };
    if let Some(mismatch) = mismatch(&topup, payment.received, payment.currency.as_deref(), false) {
        return Ok(Outcome::Mismatch(mismatch));
    }
    wallet::paid(conn, clock, &topup).await?;
    reversals::settle(conn, clock, &payment.id).await
}

/// What was paid must be what we asked for. Without an amount, the session must be the one we made, whose
/// amount we set.
fn mismatch(
    topup: &Topup,
    amount: Option<Micros>,
    currency: Option<&str>,
    known: bool,
) -> Option<&'static str> {
    if currency.is_some_and(|currency| currency != CURRENCY) {
        return Some("currency");
    }
    match amount {
        Some(amount) if amount == topup.amount_micros => None,
        None if known => None,
        _ => Some("amount"),
    }
}

/// The job: forgets a batch of old events, again at once while there is more.
pub async fn forget_job(app: App) -> Result<Turn> {
    let mut conn = app.db_worker().acquire().await?;
    let forgotten = queries::delete_events(&mut conn, app.clock().now() - KEPT_FOR, FORGET_MAX).await?;
    Ok(if forgotten == FORGET_MAX.unsigned_abs() { Turn::Again } else { Turn::Idle })
}
