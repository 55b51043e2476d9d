//! SQL of stats: hourly counts of links, daily ones of sources; conversions and commissions are summed by `trade`.

use super::model::{Part, Span, Standing};
use super::wire::ReferralStats;
use crate::error::Result;
use crate::money::Micros;
use chrono::NaiveDate;
use shared::id::AgentId;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

/// A line of one of the lists.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct ClickRow {
    pub(super) part: Part,
    pub(super) id: Option<Uuid>,
    pub(super) class: Option<i16>,
    pub(super) label: Option<String>,
    pub(super) clicks: i64,
    pub(super) counted: i64,
    pub(super) previous: i64,
}

/// All lists of one side in one statement, so that a fold in between is seen on one side only. `$2` to `$4`
/// are the span's three ends. The strongest ten of each list, ties by id.
macro_rules! click_lists {
    ($of_hours:literal, $of_waiting:literal, $of_sources:literal) => {
        concat!(
            "WITH days AS MATERIALIZED (
                 SELECT link_key, class, hour >= $3 AS recent,
                        date_bin('1 day', hour, TIMESTAMPTZ '2000-01-01 00:00:00Z') AS day,
                        sum(clicks) AS clicks, sum(billable) AS billable
                   FROM (
                 SELECT link_key, class, hour, clicks, billable
                   FROM link_hours ",
            $of_hours,
            " AND hour >= $2 AND hour < $4
                  UNION ALL
                 SELECT waiting.link_key, waiting.class, to_timestamp(waiting.hour * 3600::BIGINT), waiting.clicks,
                        CASE WHEN waiting.billable THEN waiting.clicks ELSE 0 END
                   FROM (SELECT advertisers, link_keys, hours, classes, billable, counts
                           FROM click_deltas ORDER BY id LIMIT 1000) AS deltas,
                        unnest(deltas.advertisers, deltas.link_keys, deltas.hours, deltas.classes, deltas.billable,
                               deltas.counts) AS waiting (advertiser, link_key, hour, class, billable, clicks) ",
            $of_waiting,
            "   AND waiting.hour >= extract(EPOCH FROM $2)::BIGINT / 3600
                    AND waiting.hour < extract(EPOCH FROM $4)::BIGINT / 3600) AS hours
                  GROUP BY link_key, class, recent, day),
             sums AS MATERIALIZED (
                 SELECT link_key, class, coalesce(sum(clicks) FILTER (WHERE recent), 0) AS clicks,
                        coalesce(sum(billable) FILTER (WHERE recent), 0) AS counted,
                        coalesce(sum(clicks) FILTER (WHERE NOT recent), 0) AS previous
                   FROM days
                  GROUP BY link_key, class),
             -- Looked up link by link below: how many there are is not known when the plan is made.
             per_link AS MATERIALIZED (
                 SELECT link_key, sum(clicks)::BIGINT AS clicks, sum(counted)::BIGINT AS counted,
                        sum(previous)::BIGINT AS previous
                   FROM sums
                  GROUP BY link_key),
             sources AS MATERIALIZED (
                 SELECT kind, name, coalesce(sum(clicks) FILTER (WHERE day >= ($3 AT TIME ZONE 'UTC')::DATE), 0) AS clicks,
                        coalesce(sum(clicks) FILTER (WHERE day < ($3 AT TIME ZONE 'UTC')::DATE), 0) AS previous
                   FROM link_sources ",
            $of_sources,
            " AND day >= ($2 AT TIME ZONE 'UTC')::DATE
                  GROUP BY kind, name)
             SELECT 'class' AS part, NULL::UUID AS id, class, NULL::TEXT AS label, sum(clicks)::BIGINT AS clicks,
                    sum(counted)::BIGINT AS counted, sum(previous)::BIGINT AS previous
               FROM sums
              GROUP BY class
              UNION ALL
             (SELECT 'day', NULL, NULL, to_char(day AT TIME ZONE 'UTC', 'YYYY-MM-DD'), sum(clicks)::BIGINT,
                     sum(billable)::BIGINT, 0
                FROM days
               WHERE recent
               GROUP BY day
               ORDER BY day)
              UNION ALL
             (SELECT 'link', link.id, NULL, link.destination_url, strongest.clicks, strongest.counted,
                     strongest.previous
                FROM (SELECT link_key, clicks, counted, previous
                        FROM per_link
                       ORDER BY clicks DESC, link_key
                       LIMIT 10) AS strongest,
                     LATERAL (SELECT id, destination_url FROM links WHERE key = strongest.link_key LIMIT 1) AS link
               ORDER BY strongest.clicks DESC, link.id)
              UNION ALL
             (SELECT 'program', program.id, NULL, program.name, strongest.clicks, strongest.counted,
                     strongest.previous
                FROM (SELECT link.program_id, sum(clicks)::BIGINT AS clicks, sum(counted)::BIGINT AS counted,
                             sum(previous)::BIGINT AS previous
                        FROM per_link,
                             LATERAL (SELECT program_id FROM links WHERE key = per_link.link_key LIMIT 1) AS link
                       GROUP BY link.program_id
                       ORDER BY clicks DESC, link.program_id
                       LIMIT 10) AS strongest,
                     LATERAL (SELECT id, name FROM programs WHERE id = strongest.program_id LIMIT 1) AS program
               ORDER BY strongest.clicks DESC, program.id)
              UNION ALL
             (SELECT 'country', NULL, NULL, name, clicks::BIGINT, 0, previous::BIGINT
                FROM sources
               WHERE kind = 0
               ORDER BY sources.clicks DESC, name
               LIMIT 10)
              UNION ALL
             (SELECT 'sub_id', NULL, NULL, name, clicks::BIGINT, 0, previous::BIGINT
                FROM sources
               WHERE kind = 1
               ORDER BY sources.clicks DESC, name
               LIMIT 10)"
        )
    };
}

/// Memory a sum of hours may take, until its transaction ends. With the usual 4 MB the hours of 90 days beside
/// those of 90 before, 200,000 of them, are sorted on disk: twice the time.
const SUMS_MEMORY: &str = "SET LOCAL work_mem = '32MB'";

/// Clicks on an agent's own links.
pub(super) async fn list_clicks_of_affiliate(
    conn: &mut PgConnection,
    affiliate: AgentId,
    span: Span,
) -> Result<Vec<ClickRow>> {
    let mut tx = conn.begin().await?;
    sqlx::query(SUMS_MEMORY).execute(&mut *tx).await?;
    let rows = sqlx::query_as(click_lists!(
        "WHERE link_key = ANY (ARRAY(SELECT key FROM links WHERE affiliate_id = $1))",
        "WHERE waiting.link_key = ANY (ARRAY(SELECT key FROM links WHERE affiliate_id = $1))",
        "WHERE link_key = ANY (ARRAY(SELECT key FROM links WHERE affiliate_id = $1))"
    ))
    .bind(affiliate)
    .bind(span.before)
    .bind(span.from)
    .bind(span.to)
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(rows)
}

/// Clicks on all links of an agent's programs, by its account number.
pub(super) async fn list_clicks_of_advertiser(
    conn: &mut PgConnection,
    advertiser: i32,
    span: Span,
) -> Result<Vec<ClickRow>> {
    let mut tx = conn.begin().await?;
    sqlx::query(SUMS_MEMORY).execute(&mut *tx).await?;
    let rows = sqlx::query_as(click_lists!(
        "WHERE advertiser = $1",
        "WHERE waiting.advertiser = $1",
        "WHERE advertiser = $1"
    ))
    .bind(advertiser)
    .bind(span.before)
    .bind(span.from)
    .bind(span.to)
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(rows)
}

/// Who came by an agent's code, and what they earned.
pub(super) async fn load_referral(
    conn: &mut PgConnection,
    agent: AgentId,
    span: Span,
) -> Result<ReferralStats> {
    let (code, referred, referred_in_period, active, commissions): (String, i64, i64, i64, Micros) =
        sqlx::query_as(
            "WITH came AS MATERIALIZED (
                 SELECT id, created_at FROM agents WHERE referred_by = $1),
             earned AS (
                 SELECT count(*) FILTER (WHERE commissions > 0) AS active, coalesce(sum(micros), 0)::BIGINT AS micros
                   FROM (SELECT affiliate_id, sum(commissions) AS commissions, sum(micros) AS micros
                           FROM (SELECT affiliate_id, commissions,
                                        pending_micros + owed_micros + processing_micros + paid_micros AS micros
                                   FROM trade_sums
                                  WHERE affiliate_id = ANY (ARRAY(SELECT id FROM came))
                                  UNION ALL
                                 SELECT affiliate_id, commissions,
                                        pending_micros + owed_micros + processing_micros + paid_micros
                                   FROM trade_deltas
                                  WHERE affiliate_id = ANY (ARRAY(SELECT id FROM came))) AS parts
                          GROUP BY affiliate_id) AS each)
             SELECT agents.referral_code, (SELECT count(*) FROM came),
                    (SELECT count(*) FROM came WHERE created_at >= $2), earned.active, earned.micros
               FROM agents, earned
              WHERE agents.id = $1",
        )
        .bind(agent)
        .bind(span.from)
        .fetch_one(conn)
        .await?;
    Ok(ReferralStats { code, referred, referred_in_period, active, commissions })
}

/// What decides an agent's next step.
pub(super) async fn load_standing(
    conn: &mut PgConnection,
    agent: AgentId,
    number: i32,
    month: NaiveDate,
) -> Result<Standing> {
    Ok(sqlx::query_as(
        "WITH own AS MATERIALIZED (
             SELECT id, status FROM programs WHERE advertiser_id = $1)
         SELECT (SELECT count(*) FROM own WHERE status <> 'archived') AS programs,
                (SELECT count(*) FROM partnerships WHERE affiliate_id = $1 AND status = 'approved') AS partnerships,
                (SELECT count(*) FROM links WHERE affiliate_id = $1 AND deleted_at IS NULL) AS links,
                (SELECT coalesce(sum(pending), 0)::BIGINT
                   FROM (SELECT pending FROM trade_hours WHERE agent_id = $1 AND advertiser
                         UNION ALL
                         SELECT pending FROM trade_deltas WHERE advertiser_id = $1) AS hours) AS to_decide,
                (SELECT count(*) FROM partnerships
                  WHERE program_id = ANY (ARRAY(SELECT id FROM own)) AND status = 'pending') AS to_admit,
                (SELECT coalesce(sum(over_limit), 0)::BIGINT FROM usage_months
                  WHERE advertiser = $2 AND month = $3 AND metric = 'clicks') AS over_limit",
    )
    .bind(agent)
    .bind(number)
    .bind(month)
    .fetch_one(conn)
    .await?)
}
