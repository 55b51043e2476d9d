//! SQL of conversions.

use super::model::{Commission, Conversion, EventType, Status, Tracked};
use crate::error::{Error, Result};
use crate::features::commissions::rules::Terms;
use crate::money::Micros;
use crate::page::Page;
use chrono::{DateTime, Utc};
use shared::click::ClassSet;
use shared::id::{AgentId, CommissionId, ConversionId, LinkId, PartnershipId, PayoutId, ProgramId};
use shared::{ClickClass, ClickId, LinkKey};
use sqlx::PgConnection;

/// Rows a list counts at most: what pages can reach.
pub(crate) const COUNT_MAX: i64 = crate::page::REACH_MAX;

#[derive(sqlx::FromRow)]
struct TrackedRow {
    link_id: LinkId,
    token: String,
    link_deleted: bool,
    partnership_id: PartnershipId,
    partnership_status: String,
    program_id: ProgramId,
    program_status: String,
    advertiser_id: AgentId,
    advertiser_number: i32,
    affiliate_id: AgentId,
    commission_rate_bp: Option<i32>,
    commission_fixed_micros: Option<Micros>,
    attribution_days: i32,
    hold_days: i32,
    auto_approve_days: i32,
    pay_classes: i16,
}

fn terms(rate_bp: Option<i32>, fixed: Option<Micros>) -> Result<Terms> {
    Terms::from_columns(rate_bp, fixed)
        .ok_or_else(|| Error::bug(anyhow::anyhow!("a row has no commission terms or two")))
}

/// The link behind a key, deleted ones included: its clicks may still lead to sales. The program stays
/// until the transaction ends: deleting it waits.
pub(crate) async fn find_tracked(conn: &mut PgConnection, key: LinkKey) -> Result<Option<Tracked>> {
    let row: Option<TrackedRow> = sqlx::query_as(
        "SELECT links.id AS link_id, links.token, links.deleted_at IS NOT NULL AS link_deleted,
                partnerships.id AS partnership_id,
                partnerships.status AS partnership_status, programs.id AS program_id,
                programs.status AS program_status, programs.advertiser_id,
                agents.number AS advertiser_number, partnerships.affiliate_id,
                programs.commission_rate_bp, programs.commission_fixed_micros,
                programs.attribution_days, programs.hold_days, programs.auto_approve_days,
                programs.pay_classes
           FROM links
           JOIN partnerships ON partnerships.id = links.partnership_id
           JOIN programs ON programs.id = links.program_id
           JOIN agents ON agents.id = programs.advertiser_id
          WHERE links.key = $1
            FOR KEY SHARE OF programs",
    )
    .bind(key.to_i64())
    .fetch_optional(conn)
    .await?;
    let tracked = |row: TrackedRow| {
        Ok(Tracked {
            link_id: row.link_id,
            token: row.token,
            link_deleted: row.link_deleted,
            partnership_id: row.partnership_id,
            partnership_status: row.partnership_status,
            program_id: row.program_id,
            program_status: row.program_status,
            advertiser_id: row.advertiser_id,
            advertiser_number: row.advertiser_number,
            affiliate_id: row.affiliate_id,
            terms: terms(row.commission_rate_bp, row.commission_fixed_micros)?,
            attribution_days: row.attribution_days,
            hold_days: row.hold_days,
            auto_approve_days: row.auto_approve_days,
            pay_classes: ClassSet(row.pay_classes.cast_unsigned()),
        })
    };
    row.map(tracked).transpose()
}

/// What a report stores.
pub(crate) struct NewConversion<'a> {
    pub(crate) id: ConversionId,
    pub(crate) event_type: EventType,
    pub(crate) revenue: Option<Micros>,
    pub(crate) currency: &'a str,
    pub(crate) external_id: Option<&'a str>,
    pub(crate) click_id: Option<&'a str>,
    pub(crate) clicked_at: Option<DateTime<Utc>>,
    pub(crate) auto_approve_at: DateTime<Utc>,
    pub(crate) now: DateTime<Utc>,
}

/// Inserts a conversion; `false` when its `external_id` is taken. Waits for one in flight that takes it.
pub(crate) async fn insert_conversion(
    conn: &mut PgConnection,
    tracked: &Tracked,
    new: &NewConversion<'_>,
) -> Result<bool> {
    let inserted = sqlx::query(
        "INSERT INTO conversions (id, advertiser_id, program_id, partnership_id, affiliate_id, link_id, event_type,
                                  revenue_micros, currency, external_id, click_id, clicked_at, status,
                                  auto_approve_at, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'pending', $13, $14, $14)
         ON CONFLICT (advertiser_id, program_id, event_type, external_id) WHERE external_id IS NOT NULL DO NOTHING",
    )
    .bind(new.id)
    .bind(tracked.advertiser_id)
    .bind(tracked.program_id)
    .bind(tracked.partnership_id)
    .bind(tracked.affiliate_id)
    .bind(tracked.link_id)
    .bind(new.event_type.as_str())
    .bind(new.revenue)
    .bind(new.currency)
    .bind(new.external_id)
    .bind(new.click_id)
    .bind(new.clicked_at)
    .bind(new.auto_approve_at)
    .bind(new.now)
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// The conversion that has an `external_id`.
pub(crate) async fn find_by_external_id(
    conn: &mut PgConnection,
    tracked: &Tracked,
    event_type: EventType,
    external_id: &str,
) -> Result<Option<ConversionId>> {
    Ok(sqlx::query_scalar(
        "SELECT id
           FROM conversions
          WHERE advertiser_id = $1 AND program_id = $2 AND event_type = $3 AND external_id = $4",
    )
    .bind(tracked.advertiser_id)
    .bind(tracked.program_id)
    .bind(event_type.as_str())
    .bind(external_id)
    .fetch_optional(conn)
    .await?)
}

#[derive(sqlx::FromRow)]
struct ConversionRow {
    id: ConversionId,
    advertiser_id: AgentId,
    program_id: ProgramId,
    partnership_id: PartnershipId,
    affiliate_id: AgentId,
    link_id: LinkId,
    tracking_token: String,
    #[sqlx(try_from = "String")]
    event_type: EventType,
    revenue_micros: Option<Micros>,
    refunded_micros: Micros,
    currency: String,
    external_id: Option<String>,
    click_id: Option<String>,
    clicked_at: Option<DateTime<Utc>>,
    #[sqlx(try_from = "String")]
    status: Status,
    reason: Option<String>,
    auto_approve_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    decided_at: Option<DateTime<Utc>>,
    commission_id: CommissionId,
    amount_micros: Micros,
    rate_bp: Option<i32>,
    fixed_micros: Option<Micros>,
    #[sqlx(try_from = "String")]
    commission_status: Status,
    payable_at: DateTime<Utc>,
    payout_id: Option<PayoutId>,
}

impl ConversionRow {
    fn conversion(self) -> Result<Conversion> {
        Ok(Conversion {
            id: self.id,
            advertiser_id: self.advertiser_id,
            program_id: self.program_id,
            partnership_id: self.partnership_id,
            affiliate_id: self.affiliate_id,
            link_id: self.link_id,
            tracking_token: self.tracking_token,
            event_type: self.event_type,
            revenue: self.revenue_micros,
            refunded: self.refunded_micros,
            currency: self.currency,
            external_id: self.external_id,
            click_id: self.click_id,
            clicked_at: self.clicked_at,
            status: self.status,
            reason: self.reason,
            auto_approve_at: self.auto_approve_at,
            created_at: self.created_at,
            updated_at: self.updated_at,
            decided_at: self.decided_at,
            commission: Commission {
                id: self.commission_id,
                amount: self.amount_micros,
                terms: terms(self.rate_bp, self.fixed_micros)?,
                status: self.commission_status,
                payable_at: self.payable_at,
                payout_id: self.payout_id,
            },
        })
    }
}

/// Conversions with their links and their first commissions (`reversal` rows take back, and are not shown here).
macro_rules! select_conversions {
    ($tail:literal) => {
        select_conversions!("conversions", $tail)
    };
    ($from:literal, $tail:literal) => {
        concat!(
            "SELECT conversions.id, conversions.advertiser_id, conversions.program_id, conversions.partnership_id,
                    conversions.affiliate_id, conversions.link_id, links.token AS tracking_token,
                    conversions.event_type, conversions.revenue_micros, conversions.refunded_micros,
                    conversions.currency, conversions.external_id, conversions.click_id, conversions.clicked_at,
                    conversions.status, conversions.reason, conversions.auto_approve_at, conversions.created_at,
                    conversions.updated_at, conversions.decided_at,
                    commissions.id AS commission_id, commissions.amount_micros, commissions.rate_bp,
                    commissions.fixed_micros, commissions.status AS commission_status, commissions.payable_at,
                    commissions.payout_id
               FROM ",
            $from,
            "  JOIN links ON links.id = conversions.link_id
               JOIN commissions ON commissions.conversion_id = conversions.id
                    AND commissions.advertiser_id = conversions.advertiser_id AND NOT commissions.reversal ",
            $tail
        )
    };
}

/// A conversion with its commission.
pub(crate) async fn find_conversion(conn: &mut PgConnection, id: ConversionId) -> Result<Option<Conversion>> {
    let row: Option<ConversionRow> = sqlx::query_as(select_conversions!("WHERE conversions.id = $1"))
        .bind(id)
        .fetch_optional(conn)
        .await?;
    row.map(ConversionRow::conversion).transpose()
}

/// The same, locked: conversion first, then commission, in every transaction.
pub(crate) async fn lock_conversion(conn: &mut PgConnection, id: ConversionId) -> Result<Option<Conversion>> {
    sqlx::query("SELECT FROM conversions WHERE id = $1 FOR UPDATE").bind(id).execute(&mut *conn).await?;
    let row: Option<ConversionRow> =
        sqlx::query_as(select_conversions!("WHERE conversions.id = $1 FOR UPDATE OF commissions"))
            .bind(id)
            .fetch_optional(conn)
            .await?;
    row.map(ConversionRow::conversion).transpose()
}

/// Records a decision on a locked conversion.
pub(crate) async fn update_status(
    conn: &mut PgConnection,
    id: ConversionId,
    status: Status,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "UPDATE conversions
            SET status = $2, reason = COALESCE($3, reason), decided_at = $4, updated_at = $4
          WHERE id = $1",
    )
    .bind(id)
    .bind(status.as_str())
    .bind(reason)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Which conversions a list shows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Filter<'a> {
    pub(crate) advertiser_id: Option<AgentId>,
    pub(crate) program_id: Option<ProgramId>,
    pub(crate) affiliate_id: Option<AgentId>,
    pub(crate) status: Option<Status>,
    pub(crate) event_type: Option<EventType>,
    pub(crate) external_id: Option<&'a str>,
    pub(crate) from: Option<DateTime<Utc>>,
    pub(crate) to: Option<DateTime<Utc>>,
}

/// A page of conversions, newest first. Filters that are not set fall away when the query is planned.
pub(crate) async fn list_conversions(
    conn: &mut PgConnection,
    filter: &Filter<'_>,
    page: Page,
) -> Result<Vec<Conversion>> {
    let (below, below_id) = page.below_instant_and(filter.to);
    // The page is found in an index alone; only its rows are read and joined, however deep it lies.
    let rows: Vec<ConversionRow> = sqlx::query_as(select_conversions!(
        "(SELECT id, advertiser_id
            FROM conversions
           WHERE ($1::UUID IS NULL OR program_id = $1)
             AND ($2::UUID IS NULL OR affiliate_id = $2)
             AND ($3::TEXT IS NULL OR status = $3)
             AND ($4::TEXT IS NULL OR event_type = $4)
             AND ($5::TEXT IS NULL OR external_id = $5)
             AND ($6::TIMESTAMPTZ IS NULL OR created_at >= $6)
             AND ($7::TIMESTAMPTZ IS NULL OR created_at < $7)
             AND (created_at, id) < ($10, $11)
             AND ($12::UUID IS NULL OR advertiser_id = $12)
           ORDER BY created_at DESC, id DESC
           LIMIT $8 OFFSET $9) AS page
           JOIN conversions ON conversions.id = page.id AND conversions.advertiser_id = page.advertiser_id",
        "ORDER BY conversions.created_at DESC, conversions.id DESC"
    ))
    .bind(filter.program_id)
    .bind(filter.affiliate_id)
    .bind(filter.status.map(Status::as_str))
    .bind(filter.event_type.map(EventType::as_str))
    .bind(filter.external_id)
    .bind(filter.from)
    .bind(filter.to)
    .bind(page.limit_and_one())
    .bind(page.offset())
    .bind(below)
    .bind(below_id)
    .bind(filter.advertiser_id)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(ConversionRow::conversion).collect()
}

/// How many conversions a filter lets through, those after `last` in the list or all, counted up to `most`.
pub(crate) async fn count_conversions(
    conn: &mut PgConnection,
    filter: &Filter<'_>,
    last: Option<&Conversion>,
    most: i64,
) -> Result<i64> {
    Ok(sqlx::query_scalar(
        "SELECT count(*)
           FROM (SELECT
                   FROM conversions
                  WHERE ($1::UUID IS NULL OR program_id = $1)
                    AND ($2::UUID IS NULL OR affiliate_id = $2)
                    AND ($3::TEXT IS NULL OR status = $3)
                    AND ($4::TEXT IS NULL OR event_type = $4)
                    AND ($5::TEXT IS NULL OR external_id = $5)
                    AND ($6::TIMESTAMPTZ IS NULL OR created_at >= $6)
                    AND ($7::TIMESTAMPTZ IS NULL OR created_at < $7)
                    AND ($9::UUID IS NULL OR advertiser_id = $9)
                    AND ($10::TIMESTAMPTZ IS NULL OR (created_at, id) < ($10, $11))
                  LIMIT $8) AS counted",
    )
    .bind(filter.program_id)
    .bind(filter.affiliate_id)
    .bind(filter.status.map(Status::as_str))
    .bind(filter.event_type.map(EventType::as_str))
    .bind(filter.external_id)
    .bind(filter.from)
    .bind(filter.to)
    .bind(most)
    .bind(filter.advertiser_id)
    .bind(last.map(|last| last.created_at))
    .bind(last.map(|last| last.id))
    .fetch_one(conn)
    .await?)
}

/// Who owns a program.
pub(crate) async fn find_program_owner(conn: &mut PgConnection, id: ProgramId) -> Result<Option<AgentId>> {
    Ok(sqlx::query_scalar("SELECT advertiser_id FROM programs WHERE id = $1")
        .bind(id)
        .fetch_optional(conn)
        .await?)
}

/// The next number of a server-side click.
pub(crate) async fn next_click_seq(conn: &mut PgConnection) -> Result<u64> {
    let seq: i64 = sqlx::query_scalar("SELECT nextval('server_click_seq')").fetch_one(conn).await?;
    Ok(seq.unsigned_abs())
}

/// Stores a metered click and its counters.
pub(crate) async fn insert_click(
    conn: &mut PgConnection,
    click: &ClickId,
    advertiser_number: i32,
    (class, billable): (ClickClass, bool),
    now: DateTime<Utc>,
) -> Result<()> {
    // Without its day's partition a row would go to the default one and keep the partition from being made.
    sqlx::query(
        "WITH missing AS MATERIALIZED (
             SELECT ($1 AT TIME ZONE 'UTC')::DATE AS day
              WHERE to_regclass(format('clicks_%s', to_char($1 AT TIME ZONE 'UTC', 'YYYYMMDD'))) IS NULL),
              alone AS MATERIALIZED (SELECT day, pg_advisory_xact_lock(hashtextextended('click partitions', 0)) FROM missing)
         SELECT ensure_click_partitions(day, day) FROM alone",
    )
    .bind(now)
    .execute(&mut *conn)
    .await?;
    let hour = now.timestamp().div_euclid(3600) as i32;
    sqlx::query(
        "WITH stored AS (
             INSERT INTO clicks (at, seq, link_key, visitor, spool_tag, advertiser, class, flags, country)
             VALUES ($1, $2, $3, 0, $4, $5, $6, $7, 0))
         INSERT INTO click_deltas (advertisers, link_keys, hours, classes, billable, counts, created_at)
         VALUES (ARRAY[$5], ARRAY[$3], ARRAY[$8], ARRAY[$6], ARRAY[$9], ARRAY[1], $1)",
    )
    .bind(now)
    .bind(click.seq as i64)
    .bind(click.link.to_i64())
    .bind(click.spool_tag as i32)
    .bind(advertiser_number)
    .bind(i16::from(class as u8))
    .bind(if billable { i16::from(shared::click::FLAG_BILLABLE) } else { 0 })
    .bind(hour)
    .bind(billable)
    .execute(conn)
    .await?;
    Ok(())
}

/// Pending conversions whose time to be decided is over, locked; those somebody decides now are passed over.
pub(crate) async fn lock_overdue(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<ConversionId>> {
    Ok(sqlx::query_scalar(
        "SELECT id
           FROM conversions
          WHERE status = 'pending' AND auto_approve_at <= $1
          ORDER BY auto_approve_at
          LIMIT $2
            FOR UPDATE SKIP LOCKED",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}
