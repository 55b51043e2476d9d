//! SQL of links, and of what happened to them.

use super::destination::Destination;
use super::model::{Counts, Link};
use crate::error::Result;
use crate::features::partnerships::model::Status as PartnershipStatus;
use crate::features::programs::model::Status as ProgramStatus;
use crate::page::{Page, Paged, REACH_MAX};
use chrono::{DateTime, Utc};
use shared::LinkKey;
use shared::click::ClickClass;
use shared::id::{AgentId, LinkId, PartnershipId, ProgramId};
use sqlx::PgConnection;
use std::collections::HashMap;

#[derive(sqlx::FromRow)]
struct LinkRow {
    id: LinkId,
    key: i64,
    token: String,
    partnership_id: PartnershipId,
    program_id: ProgramId,
    affiliate_id: AgentId,
    advertiser_id: AgentId,
    destination_url: String,
    sub_id: Option<String>,
    custom_domain: Option<String>,
    blocked_at: Option<DateTime<Utc>>,
    partnership_status: PartnershipStatus,
    program_status: ProgramStatus,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<LinkRow> for Link {
    fn from(row: LinkRow) -> Self {
        Self {
            id: row.id,
            key: LinkKey::from_i64(row.key),
            token: row.token,
            partnership_id: row.partnership_id,
            program_id: row.program_id,
            affiliate_id: row.affiliate_id,
            advertiser_id: row.advertiser_id,
            destination_url: row.destination_url,
            sub_id: row.sub_id,
            custom_domain: row.custom_domain,
            blocked_at: row.blocked_at,
            partnership_status: row.partnership_status,
            program_status: row.program_status,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

macro_rules! select_links {
    ($rest:literal) => {
        concat!(
            "SELECT links.id, links.key, links.token, links.partnership_id, links.program_id, links.affiliate_id,
                    links.advertiser_id, links.destination_url, links.sub_id, links.custom_domain,
                    links.blocked_at, partnerships.status AS partnership_status,
                    programs.status AS program_status, links.created_at, links.updated_at
               FROM links
               JOIN partnerships ON partnerships.id = links.partnership_id
               JOIN programs ON programs.id = links.program_id
              WHERE links.deleted_at IS NULL AND ",
            $rest
        )
    };
}

pub(crate) async fn find_link(conn: &mut PgConnection, id: LinkId) -> Result<Option<Link>> {
    let row: Option<LinkRow> =
        sqlx::query_as(select_links!("links.id = $1")).bind(id).fetch_optional(conn).await?;
    Ok(row.map(Link::from))
}

/// The link, locked against other changes; its program is held first, so that it cannot end meanwhile.
pub(crate) async fn lock_link(conn: &mut PgConnection, id: LinkId) -> Result<Option<Link>> {
    hold_program_of_link(conn, id).await?;
    let row: Option<LinkRow> = sqlx::query_as(select_links!("links.id = $1 FOR UPDATE OF links"))
        .bind(id)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(Link::from))
}

async fn hold_program_of_link(conn: &mut PgConnection, id: LinkId) -> Result<()> {
    sqlx::query("SELECT FROM programs WHERE id = (SELECT program_id FROM links WHERE id = $1) FOR SHARE")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Holds the program of a partnership against changes of its hosts and against its end, while a link is
/// made; other links may be made beside.
pub(crate) async fn hold_program(conn: &mut PgConnection, partnership: PartnershipId) -> Result<()> {
    sqlx::query(
        "SELECT FROM programs WHERE id = (SELECT program_id FROM partnerships WHERE id = $1) FOR SHARE",
    )
    .bind(partnership)
    .execute(conn)
    .await?;
    Ok(())
}

/// A custom domain as links see it.
#[derive(sqlx::FromRow)]
pub(crate) struct LinkDomain {
    /// `active`, or not yet or no more.
    pub(crate) status: String,
    /// Its owner is not on Pro any more.
    pub(crate) lapsed: bool,
}

/// A domain that one of these agents has proven, held until the transaction ends.
pub(crate) async fn find_domain(
    conn: &mut PgConnection,
    host: &str,
    owners: [AgentId; 2],
) -> Result<Option<LinkDomain>> {
    Ok(sqlx::query_as(
        "SELECT status, lapsed_at IS NOT NULL AS lapsed
           FROM domains
          WHERE host = $1 AND agent_id IN ($2, $3) AND deleted_at IS NULL
          ORDER BY verified_at IS NOT NULL DESC
          LIMIT 1
            FOR SHARE",
    )
    .bind(host)
    .bind(owners[0])
    .bind(owners[1])
    .fetch_optional(conn)
    .await?)
}

/// Takes an agent's links off a domain.
pub(crate) async fn leave_domain(
    conn: &mut PgConnection,
    agent: AgentId,
    host: &str,
    now: DateTime<Utc>,
) -> Result<u64> {
    let moved = sqlx::query(
        "UPDATE links SET custom_domain = NULL, updated_at = $3
          WHERE custom_domain = $1 AND (affiliate_id = $2 OR advertiser_id = $2) AND deleted_at IS NULL",
    )
    .bind(host)
    .bind(agent)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(moved.rows_affected())
}

/// What a new link stores.
pub(crate) struct NewLink<'a> {
    pub(crate) key: LinkKey,
    pub(crate) token: &'a str,
    pub(crate) partnership: PartnershipId,
    pub(crate) program: ProgramId,
    pub(crate) affiliate: AgentId,
    pub(crate) advertiser: AgentId,
    pub(crate) destination: &'a Destination,
    pub(crate) sub_id: Option<&'a str>,
    pub(crate) custom_domain: Option<&'a str>,
}

/// Inserts a link; `None` when the key is taken, with the transaction still usable.
pub(crate) async fn insert_link(
    conn: &mut PgConnection,
    new: &NewLink<'_>,
    now: DateTime<Utc>,
) -> Result<Option<LinkId>> {
    Ok(sqlx::query_scalar(
        "INSERT INTO links (id, key, token, partnership_id, program_id, affiliate_id, advertiser_id,
                            destination_url, host, sub_id, custom_domain, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)
         ON CONFLICT (key) DO NOTHING
         RETURNING id",
    )
    .bind(LinkId::generate())
    .bind(new.key.to_i64())
    .bind(new.token)
    .bind(new.partnership)
    .bind(new.program)
    .bind(new.affiliate)
    .bind(new.advertiser)
    .bind(&new.destination.url)
    .bind(&new.destination.host)
    .bind(new.sub_id)
    .bind(new.custom_domain)
    .bind(now)
    .fetch_optional(conn)
    .await?)
}

/// Where a link leads and how it is labelled. A new destination was checked, so it is not blocked.
pub(crate) async fn update_link(
    conn: &mut PgConnection,
    id: LinkId,
    destination: Option<&Destination>,
    (sub_id, custom_domain): (Option<&str>, Option<&str>),
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "UPDATE links
            SET destination_url = COALESCE($2, destination_url),
                host = COALESCE($3, host),
                blocked_at = CASE WHEN $2 IS NULL THEN blocked_at END,
                sub_id = $4,
                custom_domain = $5,
                updated_at = $6
          WHERE id = $1",
    )
    .bind(id)
    .bind(destination.map(|destination| &destination.url))
    .bind(destination.map(|destination| &destination.host))
    .bind(sub_id)
    .bind(custom_domain)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a link. The row stays: its token must go on answering 410, and its clicks stay counted.
pub(crate) async fn delete_link(conn: &mut PgConnection, id: LinkId, now: DateTime<Utc>) -> Result<()> {
    sqlx::query("UPDATE links SET deleted_at = $2, updated_at = $2 WHERE id = $1")
        .bind(id)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// The partnership's link for what is tracked through `/v1`.
pub(crate) async fn find_attribution_link(
    conn: &mut PgConnection,
    id: PartnershipId,
) -> Result<Option<LinkKey>> {
    let key: Option<i64> = sqlx::query_scalar(
        "SELECT key
           FROM links
          WHERE partnership_id = $1 AND purpose = 'attribution' AND deleted_at IS NULL",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(key.map(LinkKey::from_i64))
}

/// Makes a link the partnership's one for `/v1`.
pub(crate) async fn mark_attribution(conn: &mut PgConnection, id: LinkId) -> Result<()> {
    sqlx::query("UPDATE links SET purpose = 'attribution' WHERE id = $1").bind(id).execute(conn).await?;
    Ok(())
}

/// A page of a partnership's links, newest first.
pub(crate) async fn list_links(
    conn: &mut PgConnection,
    partnership: PartnershipId,
    sub_id: Option<&str>,
    page: Page,
) -> Result<Paged<Link>> {
    let total = match page.total() {
        Some(total) => total,
        None => {
            sqlx::query_scalar(
                "SELECT count(*)
                   FROM (SELECT
                           FROM links
                          WHERE partnership_id = $1 AND deleted_at IS NULL AND ($2 IS NULL OR sub_id = $2)
                          LIMIT $3) AS counted",
            )
            .bind(partnership)
            .bind(sub_id)
            .bind(REACH_MAX)
            .fetch_one(&mut *conn)
            .await?
        }
    };
    let (instant, id) = page.below_instant();
    let rows: Vec<LinkRow> = sqlx::query_as(select_links!(
        "links.id = ANY(ARRAY(
             SELECT id
               FROM links
              WHERE partnership_id = $1 AND deleted_at IS NULL AND ($2 IS NULL OR sub_id = $2)
                AND (created_at, id) < ($3, $4)
              ORDER BY created_at DESC, id DESC
              LIMIT $5 OFFSET $6))
         ORDER BY links.created_at DESC, links.id DESC"
    ))
    .bind(partnership)
    .bind(sub_id)
    .bind(instant)
    .bind(id)
    .bind(page.limit_and_one())
    .bind(page.offset())
    .fetch_all(conn)
    .await?;
    let links = rows.into_iter().map(Link::from).collect();
    Ok(page.of_rows(links, total, |link: &Link| (link.created_at.timestamp_micros(), link.id.uuid())))
}

#[derive(sqlx::FromRow)]
struct ClassRow {
    link_key: i64,
    class: i16,
    clicks: i64,
    billable: i64,
}

/// What happened to these links so far: what is folded into hours, what waits to be, and conversions.
pub(crate) async fn count(
    conn: &mut PgConnection,
    links: &[(LinkId, LinkKey)],
) -> Result<HashMap<LinkId, Counts>> {
    let keys: Vec<i64> = links.iter().map(|(_, key)| key.to_i64()).collect();
    // One statement sees one moment: a delta is either folded or not, never both or neither.
    let classes: Vec<ClassRow> = sqlx::query_as(
        "SELECT link_key, class, sum(clicks)::BIGINT AS clicks, sum(billable)::BIGINT AS billable
           FROM (SELECT link_key, class, clicks, billable
                   FROM link_hours
                  WHERE link_key = ANY($1)
                  UNION ALL
                 SELECT waiting.link_key, waiting.class, waiting.count,
                        CASE WHEN waiting.billable THEN waiting.count ELSE 0 END
                   FROM click_deltas
                  CROSS JOIN unnest(link_keys, classes, billable, counts)
                             AS waiting (link_key, class, billable, count)
                  WHERE click_deltas.link_keys && $1 AND waiting.link_key = ANY($1)) AS counted
          GROUP BY link_key, class
          ORDER BY link_key, class",
    )
    .bind(&keys)
    .fetch_all(&mut *conn)
    .await?;
    let capped: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT link_key, sum(capped)::BIGINT
           FROM link_charges
          WHERE link_key = ANY($1) AND capped > 0
          GROUP BY link_key",
    )
    .bind(&keys)
    .fetch_all(&mut *conn)
    .await?;
    let ids: Vec<_> = links.iter().map(|(id, _)| id.uuid()).collect();
    let conversions: Vec<(LinkId, i64)> = sqlx::query_as(
        "SELECT link_id, count(*)
           FROM conversions
          WHERE link_id = ANY($1) AND status <> 'rejected'
          GROUP BY link_id",
    )
    .bind(&ids)
    .fetch_all(conn)
    .await?;
    let mut counts: HashMap<LinkId, Counts> = HashMap::with_capacity(links.len());
    let by_key: HashMap<i64, LinkId> = links.iter().map(|(id, key)| (key.to_i64(), *id)).collect();
    for row in classes {
        let Some(id) = by_key.get(&row.link_key) else { continue };
        let link = counts.entry(*id).or_default();
        link.clicks += row.billable;
        // A class of a newer build counts among the clicks, without a name.
        if let Some(class) = u8::try_from(row.class).ok().and_then(ClickClass::from_u8) {
            link.by_class.push((class, row.clicks));
        }
    }
    for (key, capped) in capped {
        if let Some(id) = by_key.get(&key) {
            counts.entry(*id).or_default().capped = capped;
        }
    }
    for (id, count) in conversions {
        counts.entry(id).or_default().conversions = count;
    }
    Ok(counts)
}
