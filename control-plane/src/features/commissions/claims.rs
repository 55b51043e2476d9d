//! Commissions and payouts: taken row by row under lock, settled, or given back. The caller owns the
//! transaction.
//!
//! Lock order: conversions by id, then their commissions by id, as everywhere.

use super::queries;
use crate::error::{Error, Result};
use crate::money::Micros;
use chrono::{DateTime, Utc};
use shared::id::{AgentId, CommissionId, ConversionId, PayoutId, ProgramId};
use sqlx::PgConnection;

/// A commission that may go into a payout: approved, past its hold, in none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Payable {
    /// The commission.
    pub id: CommissionId,
    /// Its conversion.
    pub conversion_id: ConversionId,
    /// Who earned it.
    pub affiliate_id: AgentId,
    /// How much; negative for what is taken back.
    pub amount_micros: Micros,
}

/// Whose commissions.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// The program that owes them.
    pub program: ProgramId,
    /// One affiliate, or all.
    pub affiliate: Option<AgentId>,
    /// What counts as past its hold.
    pub now: DateTime<Utc>,
}

/// What could be paid out.
pub async fn list_payable(conn: &mut PgConnection, scope: Scope) -> Result<Vec<Payable>> {
    queries::list_payable(conn, scope, None).await
}

/// The same, locked with the conversions: none of it changes before the transaction ends.
pub async fn lock_payable(conn: &mut PgConnection, scope: Scope) -> Result<Vec<Payable>> {
    let conversions = queries::lock_payable_conversions(conn, scope).await?;
    queries::list_payable(conn, scope, Some(&conversions)).await
}

/// Puts locked commissions into payouts.
pub async fn claim(
    conn: &mut PgConnection,
    claims: &[(CommissionId, PayoutId)],
    now: DateTime<Utc>,
) -> Result<()> {
    let claimed = queries::claim(conn, claims, now).await?;
    if claimed != claims.len() as u64 {
        return Err(Error::bug(anyhow::anyhow!("{claimed} of {} commissions claimed", claims.len())));
    }
    Ok(())
}

/// Locks what a payout pays for.
pub async fn lock(conn: &mut PgConnection, payout: PayoutId) -> Result<()> {
    queries::lock_conversions_of(conn, &[payout]).await
}

/// Marks the commissions of payouts as paid, and their conversions.
pub async fn settle(conn: &mut PgConnection, payouts: &[PayoutId], now: DateTime<Utc>) -> Result<()> {
    queries::lock_conversions_of(conn, payouts).await?;
    queries::settle(conn, payouts, now).await
}

/// Gives the commissions of a payout back.
pub async fn release(conn: &mut PgConnection, payout: PayoutId, now: DateTime<Utc>) -> Result<()> {
    queries::lock_conversions_of(conn, &[payout]).await?;
    queries::release(conn, payout, now).await
}

/// A commission inside a payout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Claimed {
    /// The commission.
    pub id: CommissionId,
    /// Its conversion.
    pub conversion_id: ConversionId,
    /// How much; negative for what is taken back.
    pub amount_micros: Micros,
}

/// The commissions of a payout, oldest first, at most `limit`.
pub async fn list_claimed(conn: &mut PgConnection, payout: PayoutId, limit: i64) -> Result<Vec<Claimed>> {
    queries::list_claimed(conn, payout, limit).await
}
