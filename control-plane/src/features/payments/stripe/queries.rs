//! SQL of what Stripe said.

use super::model::{InvoiceStage, Kind, Reversed};
use crate::error::Result;
use crate::money::Micros;
use crate::stripe::event::{Event, Invoice, Reversal};
use chrono::{DateTime, Utc};
use shared::id::{AgentId, SubscriptionId, TopupId};
use sqlx::PgConnection;

/// Takes an event; `false` when it was taken before. Waits for whoever is taking it now.
pub(crate) async fn insert_event(conn: &mut PgConnection, event: &Event, now: DateTime<Utc>) -> Result<bool> {
    let inserted = sqlx::query(
        "INSERT INTO stripe_events (id, type, object_ref, outcome, created_at, received_at)
         VALUES ($1, $2, $3, 'ignored', $4, $5)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(&event.id)
    .bind(&event.kind)
    .bind(event.object_ref())
    .bind(event.created)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

pub(crate) async fn save_outcome(
    conn: &mut PgConnection,
    id: &str,
    outcome: &str,
    detail: Option<&str>,
) -> Result<()> {
    sqlx::query("UPDATE stripe_events SET outcome = $2, detail = $3 WHERE id = $1")
        .bind(id)
        .bind(outcome)
        .bind(detail)
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets events received before `before`, at most `limit`.
pub(crate) async fn delete_events(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<u64> {
    let deleted = sqlx::query(
        "DELETE FROM stripe_events
          WHERE id = ANY (ARRAY(
                SELECT id FROM stripe_events WHERE received_at <= $1 ORDER BY received_at LIMIT $2
                   FOR UPDATE SKIP LOCKED))",
    )
    .bind(before)
    .bind(limit)
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected())
}

/// Whether there is such a top-up.
pub(crate) async fn topup_exists(conn: &mut PgConnection, id: TopupId) -> Result<bool> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT FROM topups WHERE id = $1 AND provider = 'stripe')")
        .bind(id)
        .fetch_one(conn)
        .await?)
}

/// The top-up of this session.
pub(crate) async fn find_topup_of_session(conn: &mut PgConnection, session: &str) -> Result<Option<TopupId>> {
    Ok(sqlx::query_scalar("SELECT id FROM topups WHERE provider = 'stripe' AND provider_ref = $1")
        .bind(session)
        .fetch_optional(conn)
        .await?)
}

/// Takes down a payment, whose it is if that is known now, and the sum its charge is said to have refunded.
/// Its row is locked until the transaction ends.
pub(crate) async fn save_payment(
    conn: &mut PgConnection,
    payment: &str,
    topup: Option<TopupId>,
    refunded: Micros,
    now: DateTime<Utc>,
) -> Result<Option<TopupId>> {
    Ok(sqlx::query_scalar(
        "INSERT INTO stripe_payments AS kept (payment_ref, topup_id, refunded_micros, updated_at)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (payment_ref) DO UPDATE
            SET topup_id = coalesce(kept.topup_id, EXCLUDED.topup_id),
                refunded_micros = greatest(kept.refunded_micros, EXCLUDED.refunded_micros),
                updated_at = EXCLUDED.updated_at
         RETURNING topup_id",
    )
    .bind(payment)
    .bind(topup)
    .bind(refunded)
    .bind(now)
    .fetch_one(conn)
    .await?)
}

/// Takes down how far a refund or a dispute has come. What is older than what is known changes nothing.
pub(crate) async fn save_reversal(
    conn: &mut PgConnection,
    kind: Kind,
    reversal: &Reversal,
    now: DateTime<Utc>,
) -> Result<()> {
    let (stage, taken) = kind.stage(&reversal.status);
    sqlx::query(
        "INSERT INTO stripe_reversals AS kept (id, payment_ref, kind, amount_micros, stage, taken, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (id) DO UPDATE
            SET stage = EXCLUDED.stage, taken = EXCLUDED.taken, amount_micros = EXCLUDED.amount_micros,
                updated_at = EXCLUDED.updated_at
          WHERE EXCLUDED.stage > kept.stage",
    )
    .bind(&reversal.id)
    .bind(&reversal.payment)
    .bind(kind.as_str())
    .bind(reversal.amount)
    .bind(stage)
    .bind(taken)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn reversed(conn: &mut PgConnection, payment: &str) -> Result<Reversed> {
    Ok(sqlx::query_as(
        "SELECT payment.refunded_micros AS charge_micros,
                coalesce(sum(back.amount_micros) FILTER (WHERE back.kind = 'refund' AND back.taken), 0)::BIGINT
                    AS refunds_micros,
                coalesce(sum(back.amount_micros) FILTER (WHERE back.kind = 'refund' AND NOT back.taken), 0)::BIGINT
                    AS failed_micros,
                coalesce(sum(back.amount_micros) FILTER (WHERE back.kind = 'dispute' AND back.taken), 0)::BIGINT
                    AS disputes_micros
           FROM stripe_payments AS payment
           LEFT JOIN stripe_reversals AS back ON back.payment_ref = payment.payment_ref
          WHERE payment.payment_ref = $1
          GROUP BY payment.payment_ref",
    )
    .bind(payment)
    .fetch_one(conn)
    .await?)
}

/// The agent's customer.
pub(crate) async fn find_customer(conn: &mut PgConnection, agent: AgentId) -> Result<Option<String>> {
    Ok(sqlx::query_scalar("SELECT customer_ref FROM stripe_customers WHERE agent_id = $1")
        .bind(agent)
        .fetch_optional(conn)
        .await?)
}

/// The first customer of an agent stays.
pub(crate) async fn insert_customer(
    conn: &mut PgConnection,
    agent: AgentId,
    customer: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO stripe_customers (agent_id, customer_ref, created_at)
         VALUES ($1, $2, $3)
         ON CONFLICT (agent_id) DO NOTHING",
    )
    .bind(agent)
    .bind(customer)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// One event about a subscription at a time: what one takes down, the next one sees.
pub(crate) async fn lock_subscription_ref(conn: &mut PgConnection, subscription: &str) -> Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('stripe subscription ' || $1, 0))")
        .bind(subscription)
        .execute(conn)
        .await?;
    Ok(())
}

/// Whose a subscription at Stripe is, as far as is known.
pub(crate) async fn find_bound(
    conn: &mut PgConnection,
    subscription: &str,
) -> Result<Option<SubscriptionId>> {
    let bound: Option<Option<SubscriptionId>> =
        sqlx::query_scalar("SELECT subscription_id FROM stripe_subscriptions WHERE ref = $1")
            .bind(subscription)
            .fetch_optional(conn)
            .await?;
    Ok(bound.flatten())
}

/// What an event says of a subscription.
pub(crate) struct Told<'a> {
    pub(crate) subscription: &'a str,
    pub(crate) ours: Option<SubscriptionId>,
    pub(crate) ended: bool,
    /// Whether it ends with its month; `None` when the event does not say.
    pub(crate) cancel_at_period_end: Option<bool>,
    pub(crate) at: DateTime<Utc>,
}

/// Takes down what is said of a subscription: its end for ever, the rest if nothing newer is known.
pub(crate) async fn save_subscription(conn: &mut PgConnection, told: &Told<'_>) -> Result<()> {
    sqlx::query(
        "INSERT INTO stripe_subscriptions AS kept (ref, subscription_id, ended, cancel_at_period_end, as_of)
         VALUES ($1, $2, $3, coalesce($4, FALSE), CASE WHEN $4 IS NULL THEN 'epoch' ELSE $5 END)
         ON CONFLICT (ref) DO UPDATE
            SET subscription_id = coalesce(kept.subscription_id, EXCLUDED.subscription_id),
                ended = kept.ended OR EXCLUDED.ended,
                cancel_at_period_end = CASE WHEN EXCLUDED.as_of >= kept.as_of AND $4 IS NOT NULL
                                            THEN EXCLUDED.cancel_at_period_end ELSE kept.cancel_at_period_end END,
                as_of = greatest(kept.as_of, EXCLUDED.as_of)",
    )
    .bind(told.subscription)
    .bind(told.ours)
    .bind(told.ended)
    .bind(told.cancel_at_period_end)
    .bind(told.at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes down how far an invoice has come.
pub(crate) async fn save_invoice(
    conn: &mut PgConnection,
    invoice: &Invoice,
    ours: Option<SubscriptionId>,
    stage: InvoiceStage,
    at: DateTime<Utc>,
) -> Result<()> {
    let (start, end) = invoice.period.unzip();
    sqlx::query(
        "INSERT INTO stripe_invoices AS kept
                (id, subscription_ref, subscription_id, stage, amount_micros, period_start, period_end, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (id) DO UPDATE
            SET subscription_ref = coalesce(kept.subscription_ref, EXCLUDED.subscription_ref),
                subscription_id = coalesce(kept.subscription_id, EXCLUDED.subscription_id),
                stage = greatest(kept.stage, EXCLUDED.stage),
                amount_micros = greatest(kept.amount_micros, EXCLUDED.amount_micros),
                period_start = coalesce(EXCLUDED.period_start, kept.period_start),
                period_end = coalesce(EXCLUDED.period_end, kept.period_end)",
    )
    .bind(&invoice.id)
    .bind(&invoice.subscription)
    .bind(ours)
    .bind(stage.number())
    .bind(invoice.paid)
    .bind(start)
    .bind(end)
    .bind(at)
    .execute(conn)
    .await?;
    Ok(())
}

/// What is known of a subscription of ours.
#[derive(sqlx::FromRow, Default)]
pub(crate) struct Bound {
    #[sqlx(rename = "ref")]
    pub(crate) provider_ref: String,
    pub(crate) ended: bool,
    pub(crate) cancel_at_period_end: bool,
}

pub(crate) async fn find_bound_to(conn: &mut PgConnection, ours: SubscriptionId) -> Result<Option<Bound>> {
    Ok(sqlx::query_as(
        "SELECT ref, ended, cancel_at_period_end
           FROM stripe_subscriptions
          WHERE subscription_id = $1
          ORDER BY ended, ref
          LIMIT 1",
    )
    .bind(ours)
    .fetch_optional(conn)
    .await?)
}

/// An invoice of a subscription of ours.
#[derive(sqlx::FromRow)]
pub(crate) struct KnownInvoice {
    pub(crate) id: String,
    pub(crate) stage: i16,
    pub(crate) amount_micros: Micros,
    pub(crate) period_start: Option<DateTime<Utc>>,
    pub(crate) period_end: Option<DateTime<Utc>>,
    pub(crate) booked: bool,
    pub(crate) created_at: DateTime<Utc>,
}

/// Its invoices, oldest first.
pub(crate) async fn list_invoices(
    conn: &mut PgConnection,
    ours: SubscriptionId,
) -> Result<Vec<KnownInvoice>> {
    Ok(sqlx::query_as(
        "SELECT id, stage, amount_micros, period_start, period_end, booked, created_at
           FROM stripe_invoices
          WHERE subscription_id = $1
             OR subscription_ref IN (SELECT ref FROM stripe_subscriptions WHERE subscription_id = $1)
          ORDER BY created_at, id",
    )
    .bind(ours)
    .fetch_all(conn)
    .await?)
}

/// The ledger has it.
pub(crate) async fn save_booked(conn: &mut PgConnection, invoice: &str) -> Result<()> {
    sqlx::query("UPDATE stripe_invoices SET booked = TRUE WHERE id = $1").bind(invoice).execute(conn).await?;
    Ok(())
}

/// Takes down which invoice a payment paid.
pub(crate) async fn save_invoice_of(conn: &mut PgConnection, payment: &str, invoice: &str) -> Result<()> {
    sqlx::query("UPDATE stripe_payments SET invoice_ref = $2 WHERE payment_ref = $1 AND invoice_ref IS NULL")
        .bind(payment)
        .bind(invoice)
        .execute(conn)
        .await?;
    Ok(())
}

/// What paid an invoice, as far as is known.
pub(crate) async fn find_payment_of(conn: &mut PgConnection, invoice: &str) -> Result<Option<String>> {
    Ok(sqlx::query_scalar("SELECT payment_ref FROM stripe_payments WHERE invoice_ref = $1")
        .bind(invoice)
        .fetch_optional(conn)
        .await?)
}

/// A month of Pro that a payment paid, as the ledger has it.
#[derive(sqlx::FromRow)]
pub(crate) struct PaidMonth {
    pub(crate) subscription_id: SubscriptionId,
    pub(crate) amount_micros: Micros,
    pub(crate) back_micros: Micros,
    pub(crate) adjustments: i32,
}

/// The month that a payment paid, once it is booked.
pub(crate) async fn find_paid_month(conn: &mut PgConnection, payment: &str) -> Result<Option<PaidMonth>> {
    Ok(sqlx::query_as(
        "SELECT coalesce(invoice.subscription_id, bound.subscription_id) AS subscription_id, invoice.amount_micros,
                payment.back_micros, payment.adjustments
           FROM stripe_payments AS payment
           JOIN stripe_invoices AS invoice ON invoice.id = payment.invoice_ref
           LEFT JOIN stripe_subscriptions AS bound ON bound.ref = invoice.subscription_ref
          WHERE payment.payment_ref = $1 AND invoice.booked
            AND coalesce(invoice.subscription_id, bound.subscription_id) IS NOT NULL",
    )
    .bind(payment)
    .fetch_optional(conn)
    .await?)
}

/// The ledger has given back that much of it.
pub(crate) async fn save_month_back(
    conn: &mut PgConnection,
    payment: &str,
    back: Micros,
    adjustments: i32,
) -> Result<()> {
    sqlx::query("UPDATE stripe_payments SET back_micros = $2, adjustments = $3 WHERE payment_ref = $1")
        .bind(payment)
        .bind(back)
        .bind(adjustments)
        .execute(conn)
        .await?;
    Ok(())
}
