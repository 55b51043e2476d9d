//! SQL of programs.

use super::model::{ApprovalMode, Commission, CommissionType, Filter, Program, Settings, Sort, Status};
use crate::error::{Error, Result};
use crate::money::Micros;
use crate::page::{Page, Paged, REACH_MAX};
use chrono::{DateTime, Utc};
use shared::click::ClassSet;
use shared::id::{AgentId, ProgramId};
use sqlx::PgConnection;
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct ProgramRow {
    id: ProgramId,
    number: i32,
    advertiser_id: AgentId,
    advertiser_name: String,
    advertiser_handle: String,
    name: String,
    description: Option<String>,
    url: Option<String>,
    niche: Option<String>,
    audience_type: Option<String>,
    commission_type: CommissionType,
    commission_rate_bp: Option<i32>,
    commission_fixed_micros: Option<i64>,
    approval_mode: ApprovalMode,
    attribution_days: i32,
    hold_days: i32,
    auto_approve_days: i32,
    pay_classes: i16,
    dedup_seconds: i32,
    min_payout_micros: i64,
    click_id_param: Option<String>,
    allowed_hosts: Vec<String>,
    disclosure_text: Option<String>,
    status: Status,
    affiliates: i32,
    epc_micros: Option<i64>,
    approval_bp: Option<i32>,
    days_to_pay_tenths: Option<i32>,
    funded: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<ProgramRow> for Program {
    fn from(row: ProgramRow) -> Self {
        Self {
            id: row.id,
            number: row.number,
            advertiser_id: row.advertiser_id,
            advertiser_name: row.advertiser_name,
            advertiser_handle: row.advertiser_handle,
            settings: Settings {
                name: row.name,
                description: row.description,
                url: row.url,
                niche: row.niche,
                audience_type: row.audience_type,
                commission: Commission::from_columns(
                    row.commission_type,
                    row.commission_rate_bp,
                    row.commission_fixed_micros,
                ),
                approval_mode: row.approval_mode,
                attribution_days: row.attribution_days,
                hold_days: row.hold_days,
                auto_approve_days: row.auto_approve_days,
                pay_classes: ClassSet(row.pay_classes.cast_unsigned()),
                dedup_seconds: row.dedup_seconds,
                min_payout: Micros(row.min_payout_micros),
                click_id_param: row.click_id_param,
                allowed_hosts: row.allowed_hosts,
                disclosure_text: row.disclosure_text,
            },
            status: row.status,
            affiliates: row.affiliates,
            epc: row.epc_micros.map(Micros),
            approval_bp: row.approval_bp,
            days_to_pay_tenths: row.days_to_pay_tenths,
            funded: row.funded,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

macro_rules! select_programs {
    ($($rest:expr),+) => {
        concat!(
            "SELECT programs.id, programs.number, programs.advertiser_id, advertisers.name AS advertiser_name,
                    advertisers.handle AS advertiser_handle, programs.name, programs.description, programs.url,
                    programs.niche, programs.audience_type, programs.commission_type,
                    programs.commission_rate_bp, programs.commission_fixed_micros, programs.approval_mode,
                    programs.attribution_days, programs.hold_days, programs.auto_approve_days,
                    programs.pay_classes, programs.dedup_seconds, programs.min_payout_micros,
                    programs.click_id_param, programs.allowed_hosts, programs.status, programs.affiliates,
                    programs.epc_micros, programs.approval_bp, programs.days_to_pay_tenths, programs.funded,
                    programs.disclosure_text, programs.created_at, programs.updated_at
               FROM programs
               JOIN agents AS advertisers ON advertisers.id = programs.advertiser_id ",
            $($rest),+
        )
    };
}

pub(crate) async fn find_program(conn: &mut PgConnection, id: ProgramId) -> Result<Option<Program>> {
    let row: Option<ProgramRow> =
        sqlx::query_as(select_programs!("WHERE programs.id = $1")).bind(id).fetch_optional(conn).await?;
    Ok(row.map(Program::from))
}

/// Those of these programs that exist, in no order.
pub(crate) async fn list_in(conn: &mut PgConnection, ids: &[ProgramId]) -> Result<Vec<Program>> {
    let rows: Vec<ProgramRow> = sqlx::query_as(select_programs!("WHERE programs.id = ANY($1)"))
        .bind(ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().map(Program::from).collect())
}

/// The program, locked against every other change until the transaction ends.
pub(crate) async fn lock_program(conn: &mut PgConnection, id: ProgramId) -> Result<Option<Program>> {
    let row: Option<ProgramRow> =
        sqlx::query_as(select_programs!("WHERE programs.id = $1 FOR NO KEY UPDATE OF programs"))
            .bind(id)
            .fetch_optional(conn)
            .await?;
    Ok(row.map(Program::from))
}

/// The program, locked against everything that refers to it, for its end.
pub(crate) async fn lock_program_whole(conn: &mut PgConnection, id: ProgramId) -> Result<Option<Program>> {
    let row: Option<ProgramRow> =
        sqlx::query_as(select_programs!("WHERE programs.id = $1 FOR UPDATE OF programs"))
            .bind(id)
            .fetch_optional(conn)
            .await?;
    Ok(row.map(Program::from))
}

pub(crate) async fn insert_program(
    conn: &mut PgConnection,
    id: ProgramId,
    advertiser: AgentId,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Result<()> {
    let (bp, fixed) = columns(settings.commission);
    sqlx::query(
        "INSERT INTO programs (id, advertiser_id, name, description, url, niche, audience_type, commission_type,
                               commission_rate_bp, commission_fixed_micros, approval_mode, attribution_days,
                               hold_days, auto_approve_days, pay_classes, dedup_seconds, min_payout_micros,
                               click_id_param, allowed_hosts, status, created_at, updated_at,
                               disclosure_text)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
                 'active', $20, $20, $21)",
    )
    .bind(id)
    .bind(advertiser)
    .bind(&settings.name)
    .bind(&settings.description)
    .bind(&settings.url)
    .bind(&settings.niche)
    .bind(&settings.audience_type)
    .bind(settings.commission.kind())
    .bind(bp)
    .bind(fixed)
    .bind(settings.approval_mode)
    .bind(settings.attribution_days)
    .bind(settings.hold_days)
    .bind(settings.auto_approve_days)
    .bind(settings.pay_classes.0.cast_signed())
    .bind(settings.dedup_seconds)
    .bind(settings.min_payout)
    .bind(&settings.click_id_param)
    .bind(&settings.allowed_hosts)
    .bind(now)
    .bind(&settings.disclosure_text)
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn update_settings(
    conn: &mut PgConnection,
    id: ProgramId,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Result<()> {
    let (bp, fixed) = columns(settings.commission);
    sqlx::query(
        "UPDATE programs
            SET name = $2, description = $3, url = $4, niche = $5, audience_type = $6, commission_type = $7,
                commission_rate_bp = $8, commission_fixed_micros = $9, approval_mode = $10,
                attribution_days = $11, hold_days = $12, auto_approve_days = $13, pay_classes = $14,
                dedup_seconds = $15, min_payout_micros = $16, click_id_param = $17, allowed_hosts = $18,
                updated_at = $19, disclosure_text = $20
          WHERE id = $1",
    )
    .bind(id)
    .bind(&settings.name)
    .bind(&settings.description)
    .bind(&settings.url)
    .bind(&settings.niche)
    .bind(&settings.audience_type)
    .bind(settings.commission.kind())
    .bind(bp)
    .bind(fixed)
    .bind(settings.approval_mode)
    .bind(settings.attribution_days)
    .bind(settings.hold_days)
    .bind(settings.auto_approve_days)
    .bind(settings.pay_classes.0.cast_signed())
    .bind(settings.dedup_seconds)
    .bind(settings.min_payout)
    .bind(&settings.click_id_param)
    .bind(&settings.allowed_hosts)
    .bind(now)
    .bind(&settings.disclosure_text)
    .execute(conn)
    .await?;
    Ok(())
}

fn columns(commission: Commission) -> (Option<i32>, Option<Micros>) {
    match commission {
        Commission::Percentage(bp) => (Some(bp), None),
        Commission::Fixed(amount) => (None, Some(amount)),
    }
}

pub(crate) async fn update_status(
    conn: &mut PgConnection,
    id: ProgramId,
    status: Status,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query("UPDATE programs SET status = $2, updated_at = $3 WHERE id = $1")
        .bind(id)
        .bind(status)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Whether a lead or sale was ever reported for the program.
pub(crate) async fn has_conversions(conn: &mut PgConnection, id: ProgramId) -> Result<bool> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT FROM conversions WHERE program_id = $1)")
        .bind(id)
        .fetch_one(conn)
        .await?)
}

/// Deletes the program and its partnerships. Its links stay as tombstones, so that edges say 410 for them.
pub(crate) async fn delete_program(conn: &mut PgConnection, id: ProgramId, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "UPDATE links SET deleted_at = $2, updated_at = $2 WHERE program_id = $1 AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    sqlx::query("DELETE FROM partnerships WHERE program_id = $1").bind(id).execute(&mut *conn).await?;
    sqlx::query("DELETE FROM programs WHERE id = $1").bind(id).execute(conn).await?;
    Ok(())
}

/// Blocks the program's links whose host the rules do not allow, and unblocks those whose host they do.
/// No rules allow every host. Answers how many links changed.
pub(crate) async fn apply_host_rules(
    conn: &mut PgConnection,
    id: ProgramId,
    rules: &[String],
    now: DateTime<Utc>,
) -> Result<u64> {
    let changed = sqlx::query(
        "WITH judged AS (
             SELECT links.id,
                    cardinality($2::TEXT[]) = 0 OR EXISTS (
                        SELECT FROM unnest($2::TEXT[]) AS rule
                         WHERE links.host = rule OR right(links.host, length(rule) + 1) = '.' || rule) AS allowed
               FROM links
              WHERE links.program_id = $1 AND links.deleted_at IS NULL)
         UPDATE links
            SET blocked_at = CASE WHEN judged.allowed THEN NULL ELSE $3 END
           FROM judged
          WHERE judged.id = links.id AND judged.allowed <> (links.blocked_at IS NULL)",
    )
    .bind(id)
    .bind(rules)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(changed.rows_affected())
}

/// The programs of an advertiser that are not archived yet, oldest first.
pub(crate) async fn list_open_ids(conn: &mut PgConnection, advertiser: AgentId) -> Result<Vec<ProgramId>> {
    Ok(sqlx::query_scalar(
        "SELECT id FROM programs WHERE advertiser_id = $1 AND status <> 'archived' ORDER BY created_at, id",
    )
    .bind(advertiser)
    .fetch_all(conn)
    .await?)
}

/// The conditions of a filter: `$1` to `$8`.
macro_rules! matching {
    () => {
        "WHERE (programs.status = $1 OR ($1 IS NULL AND programs.status <> 'archived'))
           AND ($2 IS NULL OR lower(programs.niche) = lower($2))
           AND ($3 IS NULL OR lower(programs.audience_type) = lower($3))
           AND ($4 IS NULL OR programs.commission_type = $4)
           AND ($5 IS NULL OR programs.commission_rank >= $5)
           AND ($6 IS NULL OR programs.advertiser_id = $6)
           AND ($7 IS NULL OR programs.search @@ to_tsquery('simple', $7)
                OR programs.id = $8 OR programs.advertiser_id = $8) "
    };
}

macro_rules! list_by {
    ($key:literal) => {
        // The page is found in an index; only its programs are read and joined.
        select_programs!(
            "WHERE programs.id = ANY(ARRAY(SELECT programs.id FROM programs ",
            matching!(),
            "AND (",
            $key,
            ", programs.id) < ($9, $10)
             ORDER BY ",
            $key,
            " DESC, programs.id DESC
             LIMIT $11 OFFSET $12))
             ORDER BY ",
            $key,
            " DESC, programs.id DESC"
        )
    };
}

/// A page of the programs a filter finds.
pub(crate) async fn list_programs(
    conn: &mut PgConnection,
    filter: &Filter,
    page: Page,
) -> Result<Paged<Program>> {
    let search = filter.search();
    if search.as_deref() == Some("") {
        return Err(Error::invalid(
            "q",
            "`q` has no word in it.",
            "Send `q` with at least one letter or digit.",
        ));
    }
    let named = find_named(conn, filter).await?;
    let min_commission = filter.min_commission.map(|value| value.0);
    let total = match page.total() {
        Some(total) => total,
        None => {
            sqlx::query_scalar(concat!(
                "SELECT count(*) FROM (SELECT FROM programs ",
                matching!(),
                "LIMIT $9) AS counted"
            ))
            .bind(filter.status)
            .bind(&filter.niche)
            .bind(&filter.audience_type)
            .bind(filter.commission_type)
            .bind(min_commission)
            .bind(filter.advertiser_id)
            .bind(&search)
            .bind(named)
            .bind(REACH_MAX)
            .fetch_one(&mut *conn)
            .await?
        }
    };
    let sql = match filter.sort {
        Sort::Newest => list_by!("programs.created_at"),
        Sort::HighestCommission => list_by!("programs.commission_rank"),
        Sort::MostAffiliates => list_by!("programs.affiliates"),
        Sort::BestEpc => list_by!("COALESCE(programs.epc_micros, -1)"),
    };
    let query = sqlx::query_as(sql)
        .bind(filter.status)
        .bind(&filter.niche)
        .bind(&filter.audience_type)
        .bind(filter.commission_type)
        .bind(min_commission)
        .bind(filter.advertiser_id)
        .bind(&search)
        .bind(named);
    let query = match filter.sort {
        Sort::Newest => {
            let (instant, id) = page.below_instant();
            query.bind(instant).bind(id)
        }
        // An INTEGER column is compared with BIGINT bounds through the index all the same.
        Sort::HighestCommission | Sort::MostAffiliates | Sort::BestEpc => {
            let (key, id) = page.below();
            query.bind(key).bind(id)
        }
    };
    let rows: Vec<ProgramRow> = query.bind(page.limit_and_one()).bind(page.offset()).fetch_all(conn).await?;
    let programs = rows.into_iter().map(Program::from).collect();
    Ok(page.of_rows(programs, total, |program: &Program| (key_of(program, filter.sort), program.id.uuid())))
}

/// The program or the advertiser that a search names: by its id, or the advertiser by its handle.
async fn find_named(conn: &mut PgConnection, filter: &Filter) -> Result<Option<Uuid>> {
    let Some(q) = filter.q.as_deref() else { return Ok(None) };
    if let Ok(id) = q.parse() {
        return Ok(Some(id));
    }
    let handle = q.strip_prefix('@').unwrap_or(q).to_lowercase();
    Ok(sqlx::query_scalar("SELECT id FROM agents WHERE handle = $1 AND deleted_at IS NULL")
        .bind(handle)
        .fetch_optional(conn)
        .await?)
}

fn key_of(program: &Program, sort: Sort) -> i64 {
    match sort {
        Sort::Newest => program.created_at.timestamp_micros(),
        Sort::HighestCommission => program.settings.commission.value().0,
        Sort::MostAffiliates => i64::from(program.affiliates),
        Sort::BestEpc => program.epc.map_or(-1, |epc| epc.0),
    }
}
