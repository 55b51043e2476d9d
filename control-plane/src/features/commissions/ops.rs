//! Steps on commissions. The caller owns the transaction.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, clippy::as_conversions)]

use super::queries::{self, NewCommission};
use crate::error::{Code, Error, Result};
use crate::money::{Micros, OutOfRange};
use chrono::{DateTime, Utc};
use shared::id::{AgentId, CommissionId, ConversionId, ProgramId};
use sqlx::PgConnection;

pub(crate) use super::queries::NewCommission as New;

/// Stores a commission.
pub(crate) async fn insert(conn: &mut PgConnection, new: &NewCommission) -> Result<CommissionId> {
    queries::insert_commission(conn, new).await
}

/// Sets state and amount of a commission that is in no payout.
pub(crate) async fn update(
    conn: &mut PgConnection,
    id: CommissionId,
    status: &str,
    amount: Micros,
    now: DateTime<Utc>,
) -> Result<()> {
    if queries::update_commission(conn, id, status, amount, now).await? {
        return Ok(());
    }
    Err(Error::new(
        Code::InvalidState,
        "The commission went into a payout just now.",
        "Look at it with GET /api/conversions/:id; a refund with POST /api/conversions/:id/refunds is netted off the next payout.",
    ))
}

/// What was taken back of a conversion by negative commissions, which only one that was in a payout has;
/// none otherwise. The conversion is locked.
pub(crate) async fn taken_back(conn: &mut PgConnection, conversion: ConversionId) -> Result<Option<Micros>> {
    queries::sum_taken_back(conn, conversion).await
}

/// Sums of commissions by state. `approved` are those no payout has taken; `payable` the part of them past
/// its hold; `processing` those a payout has taken and not paid yet; `paid` is net of what was taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Leads and sales.
    pub conversions: i64,
    /// Not decided.
    pub pending: Micros,
    /// Owed, and in no payout.
    pub approved: Micros,
    /// Owed, in no payout, past its hold.
    pub payable: Micros,
    /// In a payout that is on its way.
    pub processing: Micros,
    /// Paid out.
    pub paid: Micros,
    /// What rejected conversions would have earned.
    pub rejected: Micros,
    /// Taken back after it was paid, contained in the others as negative amounts.
    pub reversed: Micros,
}

impl Sums {
    /// Both together.
    pub fn plus(self, other: Self) -> Result<Self, OutOfRange> {
        Ok(Self {
            conversions: self.conversions.checked_add(other.conversions).ok_or(OutOfRange)?,
            pending: self.pending.plus(other.pending)?,
            approved: self.approved.plus(other.approved)?,
            payable: self.payable.plus(other.payable)?,
            processing: self.processing.plus(other.processing)?,
            paid: self.paid.plus(other.paid)?,
            rejected: self.rejected.plus(other.rejected)?,
            reversed: self.reversed.plus(other.reversed)?,
        })
    }
}

/// Sums with what they are told apart by.
#[derive(Clone, Debug)]
pub struct Group {
    /// Program or affiliate.
    pub id: uuid::Uuid,
    /// Its name.
    pub name: String,
    /// An affiliate's handle.
    pub handle: Option<String>,
    /// What it comes to.
    pub sums: Sums,
}

/// What an affiliate earned, program by program.
pub async fn earnings(conn: &mut PgConnection, affiliate: AgentId, now: DateTime<Utc>) -> Result<Vec<Group>> {
    Ok(queries::sum_by_program(conn, affiliate, now).await?.into_iter().map(group).collect())
}

/// What a program owes and paid, affiliate by affiliate.
pub async fn owed(conn: &mut PgConnection, program: ProgramId, now: DateTime<Utc>) -> Result<Vec<Group>> {
    Ok(queries::sum_by_affiliate(conn, program, now).await?.into_iter().map(group).collect())
}

fn group(row: queries::SumRow) -> Group {
    Group {
        id: row.key,
        name: row.name,
        handle: row.handle,
        sums: Sums {
            conversions: row.conversions,
            pending: row.pending,
            approved: row.approved,
            payable: row.payable,
            processing: row.processing,
            paid: row.paid,
            rejected: row.rejected,
            reversed: row.reversed,
        },
    }
}

/// The sum of groups.
pub fn total(groups: &[Group]) -> Result<Sums> {
    groups.iter().try_fold(Sums::default(), |sums, group| sums.plus(group.sums)).map_err(Error::bug)
}
