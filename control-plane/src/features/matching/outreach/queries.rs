//! SQL of outreach: prospects, and everybody to score for a program.

use super::super::model::Party;
use super::super::queries::WORD_ROWS_MAX;
use crate::error::Result;
use chrono::{DateTime, TimeDelta, Utc};
use shared::id::{ProgramId, ProspectId};
use sqlx::PgConnection;
use uuid::Uuid;

/// How far an affiliate's record is looked back on, and sales and leads of it that are counted.
const RECORD_FOR: TimeDelta = TimeDelta::days(90);
const SALES_MAX: i64 = 50;

/// A prospect as a file has it.
#[derive(Clone, Debug)]
pub(crate) struct NewProspect {
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) website_url: Option<String>,
    pub(crate) contact: Option<String>,
    pub(crate) niche: Option<String>,
    pub(crate) audience_type: Option<String>,
    pub(crate) description: Option<String>,
}

/// Stores a prospect in place of the one with the same key; whether there was none.
pub(crate) async fn save_prospect(
    conn: &mut PgConnection,
    new: &NewProspect,
    now: DateTime<Utc>,
) -> Result<bool> {
    let id = ProspectId::generate();
    let stored: ProspectId = sqlx::query_scalar(
        "INSERT INTO prospects (id, key, name, website_url, contact, niche, audience_type, description, imported_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (key) DO UPDATE
            SET name = EXCLUDED.name, website_url = EXCLUDED.website_url, contact = EXCLUDED.contact,
                niche = EXCLUDED.niche, audience_type = EXCLUDED.audience_type,
                description = EXCLUDED.description, imported_at = EXCLUDED.imported_at
         RETURNING id",
    )
    .bind(id)
    .bind(&new.key)
    .bind(&new.name)
    .bind(&new.website_url)
    .bind(&new.contact)
    .bind(&new.niche)
    .bind(&new.audience_type)
    .bind(&new.description)
    .bind(now)
    .fetch_one(conn)
    .await?;
    Ok(stored == id)
}

#[derive(sqlx::FromRow)]
struct PartyRow {
    id: Uuid,
    name: String,
    handle: Option<String>,
    niche: Option<String>,
    audience_type: Option<String>,
    website_url: Option<String>,
    contact: Option<String>,
    sales: i64,
    since: DateTime<Utc>,
    shared: Vec<String>,
}

impl PartyRow {
    fn party(self, external: bool) -> Party {
        Party {
            external,
            id: self.id,
            name: self.name,
            handle: self.handle,
            niche: self.niche,
            audience_type: self.audience_type,
            website_url: self.website_url,
            contact: self.contact,
            sales: self.sales,
            since: self.since,
            shared: self.shared,
        }
    }
}

/// The agents to score for a program: of its field, with its words, and the newest.
pub(crate) async fn list_agents_to_ask(
    conn: &mut PgConnection,
    program: ProgramId,
    stems: &[String],
    now: DateTime<Utc>,
) -> Result<Vec<Party>> {
    let rows: Vec<PartyRow> = sqlx::query_as(
        "WITH wanted AS (SELECT advertiser_id, niche FROM programs WHERE id = $1),
         settled AS MATERIALIZED (
             SELECT advertiser_id AS agent_id FROM wanted
             UNION ALL
             SELECT affiliate_id FROM partnerships WHERE program_id = $1 AND status <> 'cancelled'
             UNION ALL
             SELECT agent_id FROM match_suggestions WHERE program_id = $1 AND status = 'declined'),
         pool AS (
             (SELECT id FROM agents
               WHERE deleted_at IS NULL AND lower(niche) = (SELECT lower(niche) FROM wanted)
                 AND id NOT IN (SELECT agent_id FROM settled)
               ORDER BY created_at DESC, id DESC LIMIT 200)
             UNION
             (SELECT id
                FROM (SELECT hit.id, 1.0 / count(*) OVER (PARTITION BY stem) AS worth
                        FROM unnest($2) AS stem
                       CROSS JOIN LATERAL (
                             SELECT id FROM agents
                              WHERE deleted_at IS NULL AND match_words @@ quote_literal(stem)::tsquery
                                AND id NOT IN (SELECT agent_id FROM settled)
                              LIMIT $3) AS hit) AS hits
               GROUP BY id ORDER BY sum(worth) DESC, id LIMIT 200)
             UNION
             (SELECT id FROM agents
               WHERE deleted_at IS NULL AND id NOT IN (SELECT agent_id FROM settled)
               ORDER BY created_at DESC, id DESC LIMIT 200))
         SELECT id, name, handle, niche, audience_type, website_url, NULL AS contact,
                (SELECT count(*)
                   FROM (SELECT FROM conversions
                          WHERE affiliate_id = agents.id AND created_at >= $4 AND status IN ('approved', 'paid')
                          LIMIT $5) AS few) AS sales,
                created_at AS since,
                ARRAY(SELECT stem FROM unnest(tsvector_to_array(match_words)) AS stem WHERE stem = ANY ($2)) AS shared
           FROM agents
          WHERE id = ANY (ARRAY(SELECT id FROM pool))",
    )
    .bind(program)
    .bind(stems)
    .bind(WORD_ROWS_MAX)
    .bind(now - RECORD_FOR)
    .bind(SALES_MAX)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.party(false)).collect())
}

/// The prospects to score for a program, in the same way.
pub(crate) async fn list_prospects_to_ask(
    conn: &mut PgConnection,
    niche: Option<&str>,
    stems: &[String],
) -> Result<Vec<Party>> {
    let rows: Vec<PartyRow> = sqlx::query_as(
        "WITH pool AS (
             (SELECT id FROM prospects WHERE lower(niche) = lower($1) ORDER BY imported_at DESC, id DESC LIMIT 200)
             UNION
             (SELECT id
                FROM (SELECT hit.id, 1.0 / count(*) OVER (PARTITION BY stem) AS worth
                        FROM unnest($2) AS stem
                       CROSS JOIN LATERAL (
                             SELECT id FROM prospects WHERE match_words @@ quote_literal(stem)::tsquery LIMIT $3) AS hit)
                     AS hits
               GROUP BY id ORDER BY sum(worth) DESC, id LIMIT 200)
             UNION
             (SELECT id FROM prospects ORDER BY imported_at DESC, id DESC LIMIT 200))
         SELECT id, name, NULL AS handle, niche, audience_type, website_url, contact, 0::BIGINT AS sales,
                imported_at AS since,
                ARRAY(SELECT stem FROM unnest(tsvector_to_array(match_words)) AS stem WHERE stem = ANY ($2)) AS shared
           FROM prospects
          WHERE id = ANY (ARRAY(SELECT id FROM pool))",
    )
    .bind(niche)
    .bind(stems)
    .bind(WORD_ROWS_MAX)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.party(true)).collect())
}
