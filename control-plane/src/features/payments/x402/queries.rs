//! SQL of payments over x402.

use crate::error::Result;
use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::id::{AgentId, TopupId};
use sqlx::PgConnection;

/// A payment as it is kept.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Kept {
    pub(crate) topup_id: TopupId,
    pub(crate) agent_id: AgentId,
    pub(crate) payload: Value,
    pub(crate) requirements: Value,
    pub(crate) from_block: i64,
    pub(crate) state: String,
    pub(crate) transaction: Option<String>,
    pub(crate) failure: Option<String>,
}

/// What is kept of one from the start.
pub(crate) struct NewPayment<'a> {
    pub(crate) topup: TopupId,
    pub(crate) agent: AgentId,
    pub(crate) reference: &'a str,
    pub(crate) payload: &'a Value,
    pub(crate) requirements: &'a Value,
    pub(crate) from_block: i64,
    pub(crate) lease_until: DateTime<Utc>,
    pub(crate) attribution: (Option<&'a str>, Option<&'a str>),
}

macro_rules! payments {
    ($head:literal, $tail:literal) => {
        concat!(
            $head,
            " topup_id, agent_id, payload, requirements, from_block, state, transaction, failure ",
            $tail
        )
    };
}

pub(crate) async fn insert(
    conn: &mut PgConnection,
    new: &NewPayment<'_>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let inserted = sqlx::query(
        "INSERT INTO x402_payments (topup_id, agent_id, reference, payload, requirements, from_block, lease_until,
                                    attribution_reference, attribution_publisher, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
         ON CONFLICT DO NOTHING",
    )
    .bind(new.topup)
    .bind(new.agent)
    .bind(new.reference)
    .bind(new.payload)
    .bind(new.requirements)
    .bind(new.from_block)
    .bind(new.lease_until)
    .bind(new.attribution.0)
    .bind(new.attribution.1)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

pub(crate) async fn find(conn: &mut PgConnection, reference: &str) -> Result<Option<Kept>> {
    Ok(sqlx::query_as(payments!("SELECT", "FROM x402_payments WHERE reference = $1"))
        .bind(reference)
        .fetch_optional(conn)
        .await?)
}

/// Takes a payment to have it carried out, unless somebody else has it.
pub(crate) async fn take(
    conn: &mut PgConnection,
    topup: TopupId,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<bool> {
    let taken = sqlx::query(
        "UPDATE x402_payments
            SET lease_until = $3, updated_at = $2
          WHERE topup_id = $1 AND state = 'settling' AND lease_until <= $2",
    )
    .bind(topup)
    .bind(now)
    .bind(until)
    .execute(conn)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Takes the payment that has waited longest.
pub(crate) async fn take_next(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Option<Kept>> {
    Ok(sqlx::query_as(payments!(
        "UPDATE x402_payments
            SET lease_until = $2, updated_at = $1
          WHERE topup_id = (SELECT topup_id
                              FROM x402_payments
                             WHERE state = 'settling' AND lease_until <= $1
                             ORDER BY lease_until
                             LIMIT 1
                               FOR UPDATE SKIP LOCKED)
        RETURNING",
        ""
    ))
    .bind(now)
    .bind(until)
    .fetch_optional(conn)
    .await?)
}

/// The end of a payment: settled in a transaction, or failed for a reason.
pub(crate) async fn save_end(
    conn: &mut PgConnection,
    topup: TopupId,
    outcome: std::result::Result<&str, &str>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "UPDATE x402_payments
            SET state = CASE WHEN $2::TEXT IS NULL THEN 'failed' ELSE 'settled' END,
                transaction = $2, failure = $3, updated_at = $4
          WHERE topup_id = $1 AND state = 'settling'",
    )
    .bind(topup)
    .bind(outcome.ok())
    .bind(outcome.err())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets a payment go that is still open: it is looked at again from `at` on.
pub(crate) async fn save_open(
    conn: &mut PgConnection,
    topup: TopupId,
    failure: &str,
    at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "UPDATE x402_payments SET lease_until = $3, failure = $2 WHERE topup_id = $1 AND state = 'settling'",
    )
    .bind(topup)
    .bind(failure)
    .bind(at)
    .execute(conn)
    .await?;
    Ok(())
}
