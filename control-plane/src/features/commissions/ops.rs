//! Steps on commissions. The caller owns the transaction.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, clippy::as_conversions)]

use super::queries::{self, NewCommission};
use crate::error::{Code, Error, Result};
use crate::features::trade::queries::{self as trade, SumRow};
use crate::money::Micros;
use crate::page::{Page, Paged};
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

/// What all groups come to, and a page of them.
#[derive(Debug)]
pub struct Summed {
    /// All of them.
    pub total: Sums,
    /// Those of the page.
    pub groups: Paged<Group>,
}

/// What an affiliate earned, program by program.
pub async fn earnings(
    conn: &mut PgConnection,
    affiliate: AgentId,
    now: DateTime<Utc>,
    page: Page,
) -> Result<Summed> {
    summed(trade::sum_by_program(conn, affiliate, now, page).await?, page)
}

/// What a program owes and paid, affiliate by affiliate.
pub async fn owed(
    conn: &mut PgConnection,
    program: ProgramId,
    now: DateTime<Utc>,
    page: Page,
) -> Result<Summed> {
    summed(trade::sum_by_affiliate(conn, program, now, page).await?, page)
}

fn summed(rows: Vec<SumRow>, page: Page) -> Result<Summed> {
    let mut rows = rows.into_iter();
    let all = rows.next().filter(|row| row.key.is_none());
    let all = all.ok_or_else(|| Error::bug(anyhow::anyhow!("sums came without their total")))?;
    let (groups, total) = (all.groups, sums(&all));
    let rows: Vec<_> = rows.map(group).collect();
    Ok(Summed { total, groups: page.of_rows(rows, groups, |group| (0, group.id)) })
}

fn group(row: SumRow) -> Group {
    let sums = sums(&row);
    Group { id: row.key.unwrap_or_default(), name: row.name, handle: row.handle, sums }
}

fn sums(row: &SumRow) -> Sums {
    Sums {
        conversions: row.conversions,
        pending: row.pending,
        approved: row.approved,
        payable: row.payable,
        processing: row.processing,
        paid: row.paid,
        rejected: row.rejected,
        reversed: row.reversed,
    }
}
