//! SQL of attribution.

use super::model::{CommissionLine, EventKind, RuntimeLine, TrackedLine};
use crate::error::Result;
use crate::page::{Page, REACH_MAX};
use crate::time::Span;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use shared::LinkKey;
use shared::id::{
    AgentId, AttributionEventId, CommissionId, ConversionId, PartnershipId, ProgramId, VerificationId,
};
use sqlx::PgConnection;

/// Where a publisher's events for a merchant go.
#[derive(sqlx::FromRow)]
pub(crate) struct Place {
    pub(crate) program_id: ProgramId,
    pub(crate) partnership_id: Option<PartnershipId>,
    link_key: Option<i64>,
}

impl Place {
    pub(crate) fn link(&self) -> Option<LinkKey> {
        self.link_key.map(LinkKey::from_i64)
    }
}

/// The merchant's active program this publisher's events count for: the one asked for, else the one it
/// promotes already, else the oldest that takes everybody. A partnership that is not approved does not count.
pub(crate) async fn find_place(
    conn: &mut PgConnection,
    merchant: AgentId,
    publisher: AgentId,
    program: Option<ProgramId>,
) -> Result<Option<Place>> {
    Ok(sqlx::query_as(
        "SELECT programs.id AS program_id,
                approved.id AS partnership_id,
                links.key AS link_key
           FROM programs
           LEFT JOIN partnerships AS live
                  ON live.program_id = programs.id AND live.affiliate_id = $2 AND live.status <> 'cancelled'
           LEFT JOIN partnerships AS approved ON approved.id = live.id AND approved.status = 'approved'
           LEFT JOIN links
                  ON links.partnership_id = approved.id AND links.purpose = 'attribution'
                     AND links.deleted_at IS NULL
          WHERE programs.advertiser_id = $1
            AND programs.status = 'active'
            AND ($3::UUID IS NULL OR programs.id = $3)
            AND (approved.id IS NOT NULL OR (live.id IS NULL AND programs.approval_mode = 'auto'))
          ORDER BY approved.id IS NULL, approved.created_at, programs.created_at, programs.id
          LIMIT 1",
    )
    .bind(merchant)
    .bind(publisher)
    .bind(program)
    .fetch_optional(conn)
    .await?)
}

/// What a tracked event stores.
pub(crate) struct NewEvent<'a> {
    pub(crate) id: AttributionEventId,
    pub(crate) merchant: AgentId,
    pub(crate) program: ProgramId,
    pub(crate) partnership: PartnershipId,
    pub(crate) publisher: AgentId,
    pub(crate) link: LinkKey,
    pub(crate) click_id: &'a str,
    pub(crate) kind: EventKind,
    pub(crate) product_id: Option<&'a str>,
    pub(crate) metadata: &'a Map<String, Value>,
    pub(crate) now: DateTime<Utc>,
}

pub(crate) async fn insert_event(conn: &mut PgConnection, new: &NewEvent<'_>) -> Result<()> {
    sqlx::query(
        "INSERT INTO attribution_events (id, advertiser_id, program_id, partnership_id, affiliate_id, link_key,
                                         click_id, kind, product_id, metadata, agent_runtime, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10 ->> 'agent_runtime', $11)",
    )
    .bind(new.id)
    .bind(new.merchant)
    .bind(new.program)
    .bind(new.partnership)
    .bind(new.publisher)
    .bind(new.link.to_i64())
    .bind(new.click_id)
    .bind(new.kind.as_str())
    .bind(new.product_id)
    .bind(sqlx::types::Json(new.metadata))
    .bind(new.now)
    .execute(conn)
    .await?;
    Ok(())
}

/// The link and the click of an event.
pub(crate) async fn find_event(
    conn: &mut PgConnection,
    merchant: AgentId,
    id: AttributionEventId,
) -> Result<Option<(LinkKey, String)>> {
    let row: Option<(i64, String)> = sqlx::query_as(
        "SELECT link_key, click_id
           FROM attribution_events
          WHERE id = $1 AND advertiser_id = $2",
    )
    .bind(id)
    .bind(merchant)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|(key, click_id)| (LinkKey::from_i64(key), click_id)))
}

/// Spends a nonce; `false` when it is spent. Waits for a verification in flight with the same one.
pub(crate) async fn spend_nonce(
    conn: &mut PgConnection,
    id: VerificationId,
    (merchant, publisher): (AgentId, AgentId),
    nonce: &str,
    event: Option<AttributionEventId>,
    order_id: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let spent = sqlx::query(
        "INSERT INTO verifications (id, advertiser_id, affiliate_id, nonce, event_id, order_id, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (advertiser_id, nonce) DO NOTHING",
    )
    .bind(id)
    .bind(merchant)
    .bind(publisher)
    .bind(nonce)
    .bind(event)
    .bind(order_id)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(spent.rows_affected() == 1)
}

/// Keeps what a verification made and answered.
pub(crate) async fn store_answer(
    conn: &mut PgConnection,
    merchant: AgentId,
    id: VerificationId,
    conversion: ConversionId,
    answer: &Value,
) -> Result<()> {
    sqlx::query(
        "UPDATE verifications
            SET conversion_id = $3, answer = $4
          WHERE id = $1 AND advertiser_id = $2",
    )
    .bind(id)
    .bind(merchant)
    .bind(conversion)
    .bind(answer)
    .execute(conn)
    .await?;
    Ok(())
}

/// The order a nonce was spent for, and the answer given.
pub(crate) async fn find_verification(
    conn: &mut PgConnection,
    merchant: AgentId,
    nonce: &str,
) -> Result<Option<(String, Option<Value>)>> {
    Ok(sqlx::query_as(
        "SELECT order_id, answer
           FROM verifications
          WHERE advertiser_id = $1 AND nonce = $2",
    )
    .bind(merchant)
    .bind(nonce)
    .fetch_optional(conn)
    .await?)
}

/// A publisher's commissions, newest first, those before `before`.
pub(crate) async fn list_commissions(
    conn: &mut PgConnection,
    publisher: AgentId,
    status: Option<&str>,
    before: Option<CommissionId>,
    limit: i64,
) -> Result<Vec<CommissionLine>> {
    Ok(sqlx::query_as(
        "SELECT commissions.id, commissions.amount_micros AS amount, commissions.currency, commissions.status,
                agents.name AS merchant, conversions.external_id AS order_id, commissions.created_at
           FROM commissions
           JOIN agents ON agents.id = commissions.advertiser_id
           LEFT JOIN conversions ON conversions.id = commissions.conversion_id
          WHERE commissions.affiliate_id = $1
            AND ($2::TEXT IS NULL OR commissions.status = $2)
            AND ($3::UUID IS NULL OR (commissions.created_at, commissions.id)
                 < (SELECT created_at, id FROM commissions AS last WHERE last.id = $3 AND last.affiliate_id = $1))
          ORDER BY commissions.created_at DESC, commissions.id DESC
          LIMIT $4",
    )
    .bind(publisher)
    .bind(status)
    .bind(before)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

/// Runtimes whose agents tracked something for a program; a page that has rows knows it too.
pub(crate) async fn count_runtimes(
    conn: &mut PgConnection,
    program: ProgramId,
    (from, to): Span,
) -> Result<i64> {
    Ok(sqlx::query_scalar(
        "SELECT count(*)
           FROM (SELECT DISTINCT agent_runtime
                   FROM attribution_events
                  WHERE program_id = $1
                    AND ($2::TIMESTAMPTZ IS NULL OR created_at >= $2)
                    AND ($3::TIMESTAMPTZ IS NULL OR created_at < $3)) AS runtimes",
    )
    .bind(program)
    .bind(from)
    .bind(to)
    .fetch_one(conn)
    .await?)
}

/// A program's events and what came of them, by runtime, most events first. An event's token is redeemed
/// at most once, so no order is counted twice. Events are many and orders few: each is summed up by itself.
pub(crate) async fn list_runtimes(
    conn: &mut PgConnection,
    program: ProgramId,
    (from, to): Span,
    page: Page,
) -> Result<Vec<RuntimeLine>> {
    Ok(sqlx::query_as(
        "WITH seen AS (
             SELECT agent_runtime, sum(events)::BIGINT AS events,
                    coalesce(sum(events) FILTER (WHERE kind = 'recommendation'), 0)::BIGINT AS recommendations,
                    coalesce(sum(events) FILTER (WHERE kind = 'click'), 0)::BIGINT AS clicks,
                    coalesce(sum(events) FILTER (WHERE kind = 'impression'), 0)::BIGINT AS impressions,
                    count(DISTINCT affiliate_id) AS publishers
               FROM (SELECT agent_runtime, affiliate_id, kind, count(*) AS events
                       FROM attribution_events
                      WHERE program_id = $1
                        AND ($2::TIMESTAMPTZ IS NULL OR created_at >= $2)
                        AND ($3::TIMESTAMPTZ IS NULL OR created_at < $3)
                      GROUP BY agent_runtime, affiliate_id, kind) AS lines
              GROUP BY agent_runtime),
         sold AS (
             SELECT events.agent_runtime, count(verifications.conversion_id) AS orders,
                    sum(conversions.revenue_micros)::BIGINT AS revenue, sum(earned.micros)::BIGINT AS commission
               FROM programs
               JOIN verifications ON verifications.advertiser_id = programs.advertiser_id
               JOIN attribution_events AS events
                 ON events.id = verifications.event_id AND events.advertiser_id = verifications.advertiser_id
                    AND events.program_id = programs.id
                    AND ($2::TIMESTAMPTZ IS NULL OR events.created_at >= $2)
                    AND ($3::TIMESTAMPTZ IS NULL OR events.created_at < $3)
               LEFT JOIN conversions
                      ON conversions.id = verifications.conversion_id
                         AND conversions.advertiser_id = verifications.advertiser_id
               LEFT JOIN LATERAL (
                         SELECT sum(amount_micros) AS micros
                           FROM commissions
                          WHERE commissions.conversion_id = conversions.id
                            AND commissions.status <> 'rejected') AS earned ON TRUE
              WHERE programs.id = $1
              GROUP BY events.agent_runtime)
         SELECT seen.*, coalesce(sold.orders, 0) AS orders, coalesce(sold.revenue, 0) AS revenue,
                coalesce(sold.commission, 0) AS commission, count(*) OVER () AS runtimes
           FROM seen
           LEFT JOIN sold
                  ON coalesce(sold.agent_runtime, '') = coalesce(seen.agent_runtime, '')
                     AND (sold.agent_runtime IS NULL) = (seen.agent_runtime IS NULL)
          ORDER BY seen.events DESC, seen.agent_runtime NULLS LAST
          LIMIT $4 OFFSET $5",
    )
    .bind(program)
    .bind(from)
    .bind(to)
    .bind(page.limit())
    .bind(page.offset())
    .fetch_all(conn)
    .await?)
}

pub(crate) async fn count_events(
    conn: &mut PgConnection,
    program: ProgramId,
    runtime: Option<&str>,
    (from, to): Span,
) -> Result<i64> {
    Ok(sqlx::query_scalar(
        "SELECT count(*)
           FROM (SELECT
                   FROM attribution_events
                  WHERE program_id = $1
                    AND ($2::TEXT IS NULL OR agent_runtime = $2)
                    AND ($3::TIMESTAMPTZ IS NULL OR created_at >= $3)
                    AND ($4::TIMESTAMPTZ IS NULL OR created_at < $4)
                  LIMIT $5) AS counted",
    )
    .bind(program)
    .bind(runtime)
    .bind(from)
    .bind(to)
    .bind(REACH_MAX)
    .fetch_one(conn)
    .await?)
}

/// A program's events, newest first.
pub(crate) async fn list_events(
    conn: &mut PgConnection,
    program: ProgramId,
    runtime: Option<&str>,
    (from, to): Span,
    page: Page,
) -> Result<Vec<TrackedLine>> {
    let (below, below_id) = page.below_instant_and(to);
    Ok(sqlx::query_as(
        "SELECT events.id, events.kind, events.affiliate_id AS publisher, events.product_id, events.metadata,
                events.click_id, verifications.order_id, verifications.conversion_id AS conversion,
                events.created_at
           FROM attribution_events AS events
           LEFT JOIN verifications
                  ON verifications.event_id = events.id AND verifications.advertiser_id = events.advertiser_id
          WHERE events.program_id = $1
            AND events.id = ANY(ARRAY(
                SELECT id
                  FROM attribution_events
                 WHERE program_id = $1
                   AND ($2::TEXT IS NULL OR agent_runtime = $2)
                   AND ($3::TIMESTAMPTZ IS NULL OR created_at >= $3)
                   AND ($4::TIMESTAMPTZ IS NULL OR created_at < $4)
                   AND (created_at, id) < ($5, $6)
                 ORDER BY created_at DESC, id DESC
                 LIMIT $7 OFFSET $8))
          ORDER BY events.created_at DESC, events.id DESC",
    )
    .bind(program)
    .bind(runtime)
    .bind(from)
    .bind(to)
    .bind(below)
    .bind(below_id)
    .bind(page.limit_and_one())
    .bind(page.offset())
    .fetch_all(conn)
    .await?)
}
