//! SQL of the publisher.

use sqlx::{PgConnection, Result};
use uuid::Uuid;

/// Key of the advisory lock that keeps publishers one at a time.
const LOCK: i64 = 0x0a05_1143;

/// Takes the publisher's lock until the transaction ends; `false` when another has it.
pub(super) async fn try_lock(conn: &mut PgConnection) -> Result<bool> {
    sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)").bind(LOCK).fetch_one(conn).await
}

/// A change that has not been published.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct OutboxRow {
    pub(super) id: i64,
    pub(super) subject: String,
    pub(super) subject_id: Uuid,
    pub(super) created_at: chrono::DateTime<chrono::Utc>,
    pub(super) trace_context: Option<String>,
}

pub(super) async fn list_outbox(conn: &mut PgConnection, limit: i64) -> Result<Vec<OutboxRow>> {
    sqlx::query_as(
        "SELECT id, subject, subject_id, created_at, trace_context FROM link_outbox ORDER BY id LIMIT $1",
    )
    .bind(limit)
    .fetch_all(conn)
    .await
}

pub(super) async fn delete_outbox(conn: &mut PgConnection, ids: &[i64]) -> Result<()> {
    sqlx::query("DELETE FROM link_outbox WHERE id = ANY ($1)").bind(ids).execute(conn).await.map(drop)
}

/// Whether Redis has had every link before.
pub(super) async fn was_filled(conn: &mut PgConnection) -> Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM links_published)").fetch_one(conn).await
}

/// Notes that Redis has every link.
pub(super) async fn remember_filled(
    conn: &mut PgConnection,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<()> {
    sqlx::query("INSERT INTO links_published (since) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(now)
        .execute(conn)
        .await
        .map(drop)
}

/// A link with everything its record is made of, and the record's version.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct LinkRow {
    pub(super) key: i64,
    pub(super) version: i64,
    pub(super) destination_url: String,
    /// Deleted, or its destination is no longer one of the program's hosts.
    pub(super) deleted: bool,
    pub(super) advertiser: i32,
    pub(super) affiliate: i32,
    pub(super) program: Option<i32>,
    pub(super) program_status: Option<String>,
    pub(super) partnership_status: Option<String>,
    pub(super) pay_classes: Option<i16>,
    pub(super) dedup_seconds: Option<i32>,
    pub(super) click_id_param: Option<String>,
}

/// Keys of these links.
pub(super) async fn find_keys(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<i64>> {
    sqlx::query_scalar("SELECT key FROM links WHERE id = ANY ($1)").bind(ids).fetch_all(conn).await
}

/// Keys of the links of a partnership or a program, a page in the order of the keys: `None` for all links.
pub(super) async fn list_keys(
    conn: &mut PgConnection,
    of: Option<(&str, Uuid)>,
    after: Option<i64>,
    limit: i64,
) -> Result<Vec<i64>> {
    let after = after.unwrap_or(i64::MIN);
    match of {
        None => {
            sqlx::query_scalar("SELECT key FROM links WHERE key > $1 ORDER BY key LIMIT $2")
                .bind(after)
                .bind(limit)
                .fetch_all(conn)
                .await
        }
        Some(("partnership", id)) => {
            sqlx::query_scalar(
                "SELECT key FROM links WHERE partnership_id = $1 AND key > $2 ORDER BY key LIMIT $3",
            )
            .bind(id)
            .bind(after)
            .bind(limit)
            .fetch_all(conn)
            .await
        }
        Some((_, id)) => {
            sqlx::query_scalar(
                "SELECT key FROM links WHERE program_id = $1 AND key > $2 ORDER BY key LIMIT $3",
            )
            .bind(id)
            .bind(after)
            .bind(limit)
            .fetch_all(conn)
            .await
        }
    }
}

/// The links as they are now. Each version is drawn under the publisher's lock, so a record with a higher
/// one was read later.
pub(super) async fn load_links(conn: &mut PgConnection, keys: &[i64]) -> Result<Vec<LinkRow>> {
    sqlx::query_as(
        "SELECT links.key, nextval('link_record_version') AS version, links.destination_url,
                links.deleted_at IS NOT NULL OR links.blocked_at IS NOT NULL AS deleted,
                advertisers.number AS advertiser, affiliates.number AS affiliate,
                programs.number AS program, programs.status AS program_status,
                partnerships.status AS partnership_status,
                programs.pay_classes, programs.dedup_seconds, programs.click_id_param
           FROM links
           JOIN agents AS advertisers ON advertisers.id = links.advertiser_id
           JOIN agents AS affiliates ON affiliates.id = links.affiliate_id
           LEFT JOIN programs ON programs.id = links.program_id
           LEFT JOIN partnerships ON partnerships.id = links.partnership_id
          WHERE links.key = ANY ($1)",
    )
    .bind(keys)
    .fetch_all(conn)
    .await
}
