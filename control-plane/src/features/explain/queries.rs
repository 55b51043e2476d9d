//! SQL of explanations: reads only.

use crate::error::Result;
use crate::money::Micros;
use chrono::{DateTime, NaiveDate, Utc};
use shared::LinkKey;
use shared::id::{AgentId, ConversionId, LinkId, PayoutId, ProgramId};
use sqlx::PgConnection;

/// Conversions of one click that are told of.
const CONVERSIONS_MAX: i64 = 20;
/// Refunds of one conversion that are told of.
const REFUNDS_MAX: i64 = 100;

#[derive(sqlx::FromRow)]
pub(super) struct LinkRow {
    pub(super) id: LinkId,
    pub(super) token: String,
    pub(super) program_id: ProgramId,
    pub(super) affiliate_id: AgentId,
    pub(super) advertiser_id: AgentId,
    pub(super) advertiser_number: i32,
    pub(super) attribution_days: i32,
    pub(super) dedup_seconds: i32,
}

/// The link behind a key, deleted ones included.
pub(super) async fn find_link(conn: &mut PgConnection, key: LinkKey) -> Result<Option<LinkRow>> {
    Ok(sqlx::query_as(
        "SELECT links.id, links.token, links.program_id, links.affiliate_id, links.advertiser_id,
                agents.number AS advertiser_number, programs.attribution_days, programs.dedup_seconds
           FROM links
           JOIN programs ON programs.id = links.program_id
           JOIN agents ON agents.id = links.advertiser_id
          WHERE links.key = $1",
    )
    .bind(key.to_i64())
    .fetch_optional(conn)
    .await?)
}

/// Whether the rows of a day were dropped.
pub(super) async fn is_day_dropped(conn: &mut PgConnection, day: NaiveDate) -> Result<bool> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT FROM click_days_dropped WHERE day = $1)")
        .bind(day)
        .fetch_one(conn)
        .await?)
}

#[derive(sqlx::FromRow, Default)]
pub(super) struct MonthRow {
    pub(super) used: i64,
    pub(super) included: i64,
    pub(super) billed: i64,
    pub(super) over_limit: i64,
    pub(super) capped: i64,
    pub(super) amount_micros: Micros,
}

/// What became of an account's clicks of a month; `None` before the first was metered.
pub(super) async fn find_click_month(
    conn: &mut PgConnection,
    advertiser: i32,
    month: NaiveDate,
) -> Result<Option<MonthRow>> {
    Ok(sqlx::query_as(
        "SELECT used, included, billed, over_limit, capped, amount_micros
           FROM usage_months
          WHERE advertiser = $1 AND month = $2 AND metric = 'clicks'",
    )
    .bind(advertiser)
    .bind(month)
    .fetch_optional(conn)
    .await?)
}

#[derive(sqlx::FromRow)]
pub(super) struct CreditedRow {
    pub(super) id: ConversionId,
    pub(super) event_type: String,
    pub(super) status: String,
    pub(super) created_at: DateTime<Utc>,
}

/// The conversions that name a click, oldest first.
pub(super) async fn list_credited(conn: &mut PgConnection, click_id: &str) -> Result<Vec<CreditedRow>> {
    Ok(sqlx::query_as(
        "SELECT id, event_type, status, created_at
           FROM conversions
          WHERE click_id = $1
          ORDER BY created_at, id
          LIMIT $2",
    )
    .bind(click_id)
    .bind(CONVERSIONS_MAX)
    .fetch_all(conn)
    .await?)
}

/// Whether a conversion came from a verified attribution.
pub(super) async fn is_verified(conn: &mut PgConnection, id: ConversionId) -> Result<bool> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT FROM verifications WHERE conversion_id = $1)")
        .bind(id)
        .fetch_one(conn)
        .await?)
}

/// What metering a conversion took from the advertiser's wallet, and when; nothing within the allowance.
pub(super) async fn find_charge(
    conn: &mut PgConnection,
    id: ConversionId,
) -> Result<Option<(Micros, DateTime<Utc>)>> {
    Ok(sqlx::query_as(
        "SELECT amount_micros, created_at
           FROM ledger_transfers
          WHERE kind = 'conversion' AND reference = $1",
    )
    .bind(id.to_string())
    .fetch_optional(conn)
    .await?)
}

#[derive(sqlx::FromRow)]
pub(super) struct RefundRow {
    pub(super) amount_micros: Micros,
    pub(super) commission_micros: Micros,
    pub(super) reversed: bool,
    pub(super) reason: Option<String>,
    pub(super) created_at: DateTime<Utc>,
}

/// The refunds of a conversion, oldest first.
pub(super) async fn list_refunds(conn: &mut PgConnection, id: ConversionId) -> Result<Vec<RefundRow>> {
    Ok(sqlx::query_as(
        "SELECT amount_micros, commission_micros, reversal_id IS NOT NULL AS reversed, reason, created_at
           FROM refunds
          WHERE conversion_id = $1
          ORDER BY created_at, id
          LIMIT $2",
    )
    .bind(id)
    .bind(REFUNDS_MAX)
    .fetch_all(conn)
    .await?)
}

/// What a program has to gather for an affiliate before it pays out, and what it has gathered.
pub(super) async fn load_gathered(
    conn: &mut PgConnection,
    program: ProgramId,
    affiliate: AgentId,
    now: DateTime<Utc>,
) -> Result<(Micros, Micros)> {
    Ok(sqlx::query_as(
        "SELECT programs.min_payout_micros,
                (SELECT coalesce(sum(amount_micros), 0)::BIGINT
                   FROM commissions
                  WHERE commissions.program_id = programs.id AND affiliate_id = $2 AND status = 'approved'
                    AND payout_id IS NULL AND payable_at <= $3)
           FROM programs
          WHERE id = $1",
    )
    .bind(program)
    .bind(affiliate)
    .bind(now)
    .fetch_one(conn)
    .await?)
}

/// Method, state and time of a payout.
pub(super) async fn find_payout(
    conn: &mut PgConnection,
    id: PayoutId,
) -> Result<Option<(String, String, DateTime<Utc>)>> {
    Ok(sqlx::query_as("SELECT method, status, COALESCE(paid_at, created_at) FROM payouts WHERE id = $1")
        .bind(id)
        .fetch_optional(conn)
        .await?)
}
