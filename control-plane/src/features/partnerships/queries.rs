//! SQL of partnerships.

use super::model::{Filter, Partnership, Status};
use crate::error::Result;
use crate::features::programs::model::{Commission, CommissionType, Status as ProgramStatus};
use crate::page::{Page, Paged, REACH_MAX};
use chrono::{DateTime, Utc};
use shared::id::{AgentId, PartnershipId, ProgramId};
use sqlx::PgConnection;

#[derive(sqlx::FromRow)]
struct PartnershipRow {
    id: PartnershipId,
    program_id: ProgramId,
    affiliate_id: AgentId,
    advertiser_id: AgentId,
    status: Status,
    message: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    approved_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    affiliate_name: String,
    affiliate_handle: String,
    program_name: String,
    program_url: Option<String>,
    program_status: ProgramStatus,
    commission_type: CommissionType,
    commission_rate_bp: Option<i32>,
    commission_fixed_micros: Option<i64>,
}

impl From<PartnershipRow> for Partnership {
    fn from(row: PartnershipRow) -> Self {
        Self {
            id: row.id,
            program_id: row.program_id,
            affiliate_id: row.affiliate_id,
            advertiser_id: row.advertiser_id,
            status: row.status,
            message: row.message,
            created_at: row.created_at,
            updated_at: row.updated_at,
            approved_at: row.approved_at,
            ended_at: row.ended_at,
            affiliate_name: row.affiliate_name,
            affiliate_handle: row.affiliate_handle,
            program_name: row.program_name,
            program_url: row.program_url,
            program_status: row.program_status,
            commission: Commission::from_columns(
                row.commission_type,
                row.commission_rate_bp,
                row.commission_fixed_micros,
            ),
        }
    }
}

macro_rules! select_partnerships {
    ($rest:literal) => {
        concat!(
            "SELECT partnerships.id, partnerships.program_id, partnerships.affiliate_id,
                    partnerships.advertiser_id, partnerships.status, partnerships.message,
                    partnerships.created_at, partnerships.updated_at, partnerships.approved_at,
                    partnerships.ended_at, affiliates.name AS affiliate_name,
                    affiliates.handle AS affiliate_handle, programs.name AS program_name,
                    programs.url AS program_url, programs.status AS program_status,
                    programs.commission_type, programs.commission_rate_bp, programs.commission_fixed_micros
               FROM partnerships
               JOIN programs ON programs.id = partnerships.program_id
               JOIN agents AS affiliates ON affiliates.id = partnerships.affiliate_id ",
            $rest
        )
    };
}

pub(crate) async fn find_partnership(
    conn: &mut PgConnection,
    id: PartnershipId,
) -> Result<Option<Partnership>> {
    let row: Option<PartnershipRow> = sqlx::query_as(select_partnerships!("WHERE partnerships.id = $1"))
        .bind(id)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(Partnership::from))
}

/// The partnership, locked against other changes until the transaction ends. Its program is locked first.
pub(crate) async fn lock_partnership(
    conn: &mut PgConnection,
    id: PartnershipId,
) -> Result<Option<Partnership>> {
    sqlx::query(
        "SELECT FROM programs
          WHERE id = (SELECT program_id FROM partnerships WHERE id = $1)
            FOR NO KEY UPDATE",
    )
    .bind(id)
    .execute(&mut *conn)
    .await?;
    let row: Option<PartnershipRow> =
        sqlx::query_as(select_partnerships!("WHERE partnerships.id = $1 FOR UPDATE OF partnerships"))
            .bind(id)
            .fetch_optional(conn)
            .await?;
    Ok(row.map(Partnership::from))
}

/// The partnership of an affiliate in a program that is not cancelled.
pub(crate) async fn find_live(
    conn: &mut PgConnection,
    program: ProgramId,
    affiliate: AgentId,
) -> Result<Option<Partnership>> {
    let row: Option<PartnershipRow> = sqlx::query_as(select_partnerships!(
        "WHERE partnerships.program_id = $1 AND partnerships.affiliate_id = $2
           AND partnerships.status <> 'cancelled'"
    ))
    .bind(program)
    .bind(affiliate)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Partnership::from))
}

/// What a join stores.
pub(crate) struct NewPartnership<'a> {
    pub(crate) program: ProgramId,
    pub(crate) affiliate: AgentId,
    pub(crate) advertiser: AgentId,
    pub(crate) status: Status,
    pub(crate) message: Option<&'a str>,
}

/// Inserts a partnership; `None` when the affiliate has a live one, with the transaction still usable.
pub(crate) async fn insert_partnership(
    conn: &mut PgConnection,
    new: &NewPartnership<'_>,
    now: DateTime<Utc>,
) -> Result<Option<PartnershipId>> {
    Ok(sqlx::query_scalar(
        "INSERT INTO partnerships (id, program_id, affiliate_id, advertiser_id, status, message, created_at,
                                   updated_at, approved_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7, CASE WHEN $5 = 'approved' THEN $7 END)
         ON CONFLICT (program_id, affiliate_id) WHERE status <> 'cancelled' DO NOTHING
         RETURNING id",
    )
    .bind(PartnershipId::generate())
    .bind(new.program)
    .bind(new.affiliate)
    .bind(new.advertiser)
    .bind(new.status)
    .bind(new.message)
    .bind(now)
    .fetch_optional(conn)
    .await?)
}

pub(crate) async fn update_status(
    conn: &mut PgConnection,
    id: PartnershipId,
    status: Status,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "UPDATE partnerships
            SET status = $2,
                updated_at = $3,
                approved_at = CASE WHEN $2 = 'approved' THEN COALESCE(approved_at, $3) ELSE approved_at END,
                ended_at = CASE WHEN $2 IN ('rejected', 'cancelled') THEN $3 END
          WHERE id = $1",
    )
    .bind(id)
    .bind(status)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// The partnerships of an affiliate that are not cancelled yet, by program, so that locks are taken in
/// one order.
pub(crate) async fn list_live_ids(conn: &mut PgConnection, agent: AgentId) -> Result<Vec<PartnershipId>> {
    Ok(sqlx::query_scalar(
        "SELECT id
           FROM partnerships
          WHERE (affiliate_id = $1 OR program_id IN (SELECT id FROM programs WHERE advertiser_id = $1))
            AND status <> 'cancelled'
          ORDER BY program_id, id",
    )
    .bind(agent)
    .fetch_all(conn)
    .await?)
}

/// The live partnerships of an affiliate in these programs.
pub(crate) async fn list_live_in(
    conn: &mut PgConnection,
    affiliate: AgentId,
    programs: &[ProgramId],
) -> Result<Vec<(ProgramId, PartnershipId, Status)>> {
    Ok(sqlx::query_as(
        "SELECT program_id, id, status
           FROM partnerships
          WHERE affiliate_id = $1 AND program_id = ANY($2) AND status <> 'cancelled'",
    )
    .bind(affiliate)
    .bind(programs.iter().map(|id| id.uuid()).collect::<Vec<_>>())
    .fetch_all(conn)
    .await?)
}

/// A page of an affiliate's partnerships, newest first.
pub(crate) async fn list_of_affiliate(
    conn: &mut PgConnection,
    affiliate: AgentId,
    filter: Filter,
    page: Page,
) -> Result<Paged<Partnership>> {
    let total = match page.total() {
        Some(total) => total,
        None => {
            sqlx::query_scalar(
                "SELECT count(*)
                   FROM (SELECT
                           FROM partnerships
                          WHERE affiliate_id = $1 AND ($2 IS NULL OR status = $2)
                          LIMIT $3) AS counted",
            )
            .bind(affiliate)
            .bind(filter.status)
            .bind(REACH_MAX)
            .fetch_one(&mut *conn)
            .await?
        }
    };
    let (instant, id) = page.below_instant();
    let rows: Vec<PartnershipRow> = sqlx::query_as(select_partnerships!(
        "WHERE partnerships.id = ANY(ARRAY(
                 SELECT id
                   FROM partnerships
                  WHERE affiliate_id = $1 AND ($2 IS NULL OR status = $2) AND (created_at, id) < ($3, $4)
                  ORDER BY created_at DESC, id DESC
                  LIMIT $5 OFFSET $6))
         ORDER BY partnerships.created_at DESC, partnerships.id DESC"
    ))
    .bind(affiliate)
    .bind(filter.status)
    .bind(instant)
    .bind(id)
    .bind(page.limit_and_one())
    .bind(page.offset())
    .fetch_all(conn)
    .await?;
    Ok(paged(rows, total, page))
}

/// A page of a program's partnerships, newest first.
pub(crate) async fn list_of_program(
    conn: &mut PgConnection,
    program: ProgramId,
    filter: Filter,
    page: Page,
) -> Result<Paged<Partnership>> {
    let total = match page.total() {
        Some(total) => total,
        None => {
            sqlx::query_scalar(
                "SELECT count(*)
                   FROM (SELECT
                           FROM partnerships
                          WHERE program_id = $1 AND ($2 IS NULL OR status = $2)
                          LIMIT $3) AS counted",
            )
            .bind(program)
            .bind(filter.status)
            .bind(REACH_MAX)
            .fetch_one(&mut *conn)
            .await?
        }
    };
    let (instant, id) = page.below_instant();
    let rows: Vec<PartnershipRow> = sqlx::query_as(select_partnerships!(
        "WHERE partnerships.id = ANY(ARRAY(
                 SELECT id
                   FROM partnerships
                  WHERE program_id = $1 AND ($2 IS NULL OR status = $2) AND (created_at, id) < ($3, $4)
                  ORDER BY created_at DESC, id DESC
                  LIMIT $5 OFFSET $6))
         ORDER BY partnerships.created_at DESC, partnerships.id DESC"
    ))
    .bind(program)
    .bind(filter.status)
    .bind(instant)
    .bind(id)
    .bind(page.limit_and_one())
    .bind(page.offset())
    .fetch_all(conn)
    .await?;
    Ok(paged(rows, total, page))
}

fn paged(rows: Vec<PartnershipRow>, total: i64, page: Page) -> Paged<Partnership> {
    let partnerships = rows.into_iter().map(Partnership::from).collect();
    page.of_rows(partnerships, total, |partnership: &Partnership| {
        (partnership.created_at.timestamp_micros(), partnership.id.uuid())
    })
}
