//! SQL of commissions.

use super::claims::{Claimed, Payable, Scope};
use crate::error::Result;
use crate::money::Micros;
use chrono::{DateTime, Utc};
use shared::id::{AgentId, CommissionId, ConversionId, PartnershipId, PayoutId, ProgramId};
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

/// What was taken back of a conversion by rows of their own; none when there is no such row.
pub(crate) async fn sum_taken_back(
    conn: &mut PgConnection,
    conversion: ConversionId,
) -> Result<Option<Micros>> {
    Ok(sqlx::query_scalar(
        "SELECT -sum(amount_micros)::BIGINT FROM commissions WHERE conversion_id = $1 AND reversal",
    )
    .bind(conversion)
    .fetch_one(conn)
    .await?)
}

/// Conversions with something payable, locked in the order of their ids.
pub(crate) async fn lock_payable_conversions(
    conn: &mut PgConnection,
    scope: Scope,
) -> Result<Vec<ConversionId>> {
    Ok(sqlx::query_scalar(
        "SELECT id
           FROM conversions
          WHERE id IN (SELECT conversion_id
                         FROM commissions
                        WHERE program_id = $1 AND status = 'approved' AND payout_id IS NULL AND payable_at <= $2
                          AND currency = 'usd' AND ($3::UUID IS NULL OR affiliate_id = $3))
          ORDER BY id
            FOR NO KEY UPDATE",
    )
    .bind(scope.program)
    .bind(scope.now)
    .bind(scope.affiliate)
    .fetch_all(conn)
    .await?)
}

/// What may be paid out, by id; with `locked`, only of these conversions, and locked.
pub(crate) async fn list_payable(
    conn: &mut PgConnection,
    scope: Scope,
    locked: Option<&[ConversionId]>,
) -> Result<Vec<Payable>> {
    macro_rules! payable {
        ($tail:literal) => {
            concat!(
                "SELECT id, conversion_id, affiliate_id, amount_micros
                   FROM commissions
                  WHERE program_id = $1 AND status = 'approved' AND payout_id IS NULL AND payable_at <= $2
                    AND currency = 'usd' AND ($3::UUID IS NULL OR affiliate_id = $3)",
                $tail
            )
        };
    }
    let query = match locked {
        None => sqlx::query_as(payable!(" ORDER BY id")),
        Some(_) => sqlx::query_as(payable!(" AND conversion_id = ANY ($4) ORDER BY id FOR NO KEY UPDATE")),
    };
    let query = query.bind(scope.program).bind(scope.now).bind(scope.affiliate);
    let query = match locked {
        None => query,
        Some(ids) => query.bind(ids.iter().map(|id| id.uuid()).collect::<Vec<_>>()),
    };
    Ok(query.fetch_all(conn).await?)
}

/// Puts commissions into payouts; gives how many were free to take.
pub(crate) async fn claim(
    conn: &mut PgConnection,
    claims: &[(CommissionId, PayoutId)],
    now: DateTime<Utc>,
) -> Result<u64> {
    let claimed = sqlx::query(
        "UPDATE commissions
            SET payout_id = given.payout_id, updated_at = $3
           FROM unnest($1::UUID[], $2::UUID[]) AS given (id, payout_id)
          WHERE commissions.id = given.id AND commissions.status = 'approved' AND commissions.payout_id IS NULL",
    )
    .bind(claims.iter().map(|(id, _)| id.uuid()).collect::<Vec<_>>())
    .bind(claims.iter().map(|(_, payout)| payout.uuid()).collect::<Vec<_>>())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(claimed.rows_affected())
}

/// Locks the conversions of payouts in the order of their ids.
pub(crate) async fn lock_conversions_of(conn: &mut PgConnection, payouts: &[PayoutId]) -> Result<()> {
    sqlx::query(
        "SELECT
           FROM conversions
          WHERE id IN (SELECT conversion_id FROM commissions WHERE payout_id = ANY ($1))
          ORDER BY id
            FOR NO KEY UPDATE",
    )
    .bind(payouts.iter().map(|payout| payout.uuid()).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// Marks the commissions of payouts as paid, and the conversions that were waiting for it.
pub(crate) async fn settle(conn: &mut PgConnection, payouts: &[PayoutId], now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "WITH paid AS (
             UPDATE commissions
                SET status = 'paid', updated_at = $2
              WHERE payout_id = ANY ($1) AND status = 'approved'
          RETURNING conversion_id, reversal)
         UPDATE conversions
            SET updated_at = $2,
                -- What was refunded as a whole while its payout was on its way.
                status = CASE WHEN refunded_micros = revenue_micros
                                OR (revenue_micros IS NULL
                                    AND EXISTS (SELECT FROM commissions AS taken
                                                 WHERE taken.conversion_id = conversions.id AND taken.reversal))
                         THEN 'reversed' ELSE 'paid' END
          WHERE id IN (SELECT conversion_id FROM paid WHERE NOT reversal) AND status = 'approved'",
    )
    .bind(payouts.iter().map(|payout| payout.uuid()).collect::<Vec<_>>())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives the commissions of a payout back.
pub(crate) async fn release(conn: &mut PgConnection, payout: PayoutId, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "UPDATE commissions
            SET payout_id = NULL, updated_at = $2
          WHERE payout_id = $1 AND status = 'approved'",
    )
    .bind(payout)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn list_claimed(
    conn: &mut PgConnection,
    payout: PayoutId,
    limit: i64,
) -> Result<Vec<Claimed>> {
    Ok(sqlx::query_as(
        "SELECT id, conversion_id, amount_micros
           FROM commissions
          WHERE payout_id = $1
          ORDER BY id
          LIMIT $2",
    )
    .bind(payout)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}
