//! SQL of commissions.

use crate::error::Result;
use crate::money::Micros;
use chrono::{DateTime, Utc};
use shared::id::{AgentId, CommissionId, ConversionId, PartnershipId, ProgramId};
use sqlx::PgConnection;

/// What a commission stores.
pub(crate) struct NewCommission {
    pub(crate) advertiser_id: AgentId,
    pub(crate) conversion_id: ConversionId,
    pub(crate) program_id: ProgramId,
    pub(crate) partnership_id: PartnershipId,
    pub(crate) affiliate_id: AgentId,
    pub(crate) amount: Micros,
    pub(crate) currency: String,
    pub(crate) terms: super::rules::Terms,
    pub(crate) status: &'static str,
    pub(crate) reversal: bool,
    pub(crate) payable_at: DateTime<Utc>,
    pub(crate) now: DateTime<Utc>,
}

pub(crate) async fn insert_commission(conn: &mut PgConnection, new: &NewCommission) -> Result<CommissionId> {
    let id = CommissionId::generate();
    let (rate_bp, fixed) = new.terms.to_columns();
    sqlx::query(
        "INSERT INTO commissions (id, advertiser_id, conversion_id, program_id, partnership_id, affiliate_id,
                                  amount_micros, currency, rate_bp, fixed_micros, status, reversal, payable_at,
                                  created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14)",
    )
    .bind(id)
    .bind(new.advertiser_id)
    .bind(new.conversion_id)
    .bind(new.program_id)
    .bind(new.partnership_id)
    .bind(new.affiliate_id)
    .bind(new.amount)
    .bind(&new.currency)
    .bind(rate_bp)
    .bind(fixed)
    .bind(new.status)
    .bind(new.reversal)
    .bind(new.payable_at)
    .bind(new.now)
    .execute(conn)
    .await?;
    Ok(id)
}

/// Changes a commission that no payout has taken; tells whether there was one.
pub(crate) async fn update_commission(
    conn: &mut PgConnection,
    id: CommissionId,
    status: &str,
    amount: Micros,
    now: DateTime<Utc>,
) -> Result<bool> {
    let updated = sqlx::query(
        "UPDATE commissions
            SET status = $2, amount_micros = $3, updated_at = $4
          WHERE id = $1 AND payout_id IS NULL",
    )
    .bind(id)
    .bind(status)
    .bind(amount)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(updated.rows_affected() == 1)
}

/// What one side of one program's commissions comes to, by state.
#[derive(sqlx::FromRow)]
pub(crate) struct SumRow {
    /// The program, or the affiliate: what the sums are told apart by.
    pub(crate) key: uuid::Uuid,
    pub(crate) name: String,
    pub(crate) handle: Option<String>,
    pub(crate) conversions: i64,
    pub(crate) pending: Micros,
    pub(crate) approved: Micros,
    pub(crate) payable: Micros,
    pub(crate) processing: Micros,
    pub(crate) paid: Micros,
    pub(crate) rejected: Micros,
    pub(crate) reversed: Micros,
}

macro_rules! sums {
    ($key:literal, $name:literal, $handle:literal, $tail:literal) => {
        concat!(
            "SELECT ", $key, " AS key, ", $name, " AS name, ", $handle, " AS handle,
                    count(*) FILTER (WHERE NOT reversal) AS conversions,
                    COALESCE(sum(amount_micros) FILTER (WHERE commissions.status = 'pending'), 0)::BIGINT AS pending,
                    COALESCE(sum(amount_micros) FILTER (
                        WHERE commissions.status = 'approved' AND payout_id IS NULL), 0)::BIGINT AS approved,
                    COALESCE(sum(amount_micros) FILTER (
                        WHERE commissions.status = 'approved' AND payout_id IS NULL AND payable_at <= $2), 0)::BIGINT AS payable,
                    COALESCE(sum(amount_micros) FILTER (
                        WHERE commissions.status = 'approved' AND payout_id IS NOT NULL), 0)::BIGINT AS processing,
                    COALESCE(sum(amount_micros) FILTER (WHERE commissions.status = 'paid'), 0)::BIGINT AS paid,
                    COALESCE(sum(amount_micros) FILTER (WHERE commissions.status = 'rejected'), 0)::BIGINT AS rejected,
                    COALESCE(-sum(amount_micros) FILTER (WHERE reversal), 0)::BIGINT AS reversed
               FROM commissions ",
            $tail
        )
    };
}

/// What an affiliate earned, a row per program, the newest program's first.
pub(crate) async fn sum_by_program(
    conn: &mut PgConnection,
    affiliate: AgentId,
    now: DateTime<Utc>,
) -> Result<Vec<SumRow>> {
    Ok(sqlx::query_as(sums!(
        "programs.id",
        "programs.name",
        "NULL::TEXT",
        "JOIN programs ON programs.id = commissions.program_id
         WHERE commissions.affiliate_id = $1
         GROUP BY programs.id
         ORDER BY programs.created_at DESC, programs.id DESC"
    ))
    .bind(affiliate)
    .bind(now)
    .fetch_all(conn)
    .await?)
}

/// What a program owes and paid, a row per affiliate, the newest affiliate's first.
pub(crate) async fn sum_by_affiliate(
    conn: &mut PgConnection,
    program: ProgramId,
    now: DateTime<Utc>,
) -> Result<Vec<SumRow>> {
    Ok(sqlx::query_as(sums!(
        "agents.id",
        "agents.name",
        "agents.handle",
        "JOIN agents ON agents.id = commissions.affiliate_id
         WHERE commissions.program_id = $1
         GROUP BY agents.id
         ORDER BY agents.created_at DESC, agents.id DESC"
    ))
    .bind(program)
    .bind(now)
    .fetch_all(conn)
    .await?)
}
