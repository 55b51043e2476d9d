//! SQL of matching: candidates, suggestions, what was charged, and what is to be matched again.

use super::model::{Candidate, Match, Stems, Suggestion, SuggestionStatus};
use crate::error::Result;
use crate::features::programs::model::{ApprovalMode, Commission, CommissionType};
use crate::money::Micros;
use crate::page::{Page, Paged, REACH_MAX};
use chrono::{DateTime, Utc};
use shared::id::{AgentId, ProgramId, SuggestionId};
use sqlx::PgConnection;
use uuid::Uuid;

/// Rows with one word that are looked at: a word that more of them have tells them apart no better.
pub(super) const WORD_ROWS_MAX: i64 = 200;

/// The stems of words, as the index has them.
pub(crate) async fn stems_of(conn: &mut PgConnection, words: &[String]) -> Result<Stems> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT word, stem
           FROM unnest($1) WITH ORDINALITY AS given (word, nth)
          CROSS JOIN LATERAL unnest(tsvector_to_array(to_tsvector('english', word))) AS stem
          ORDER BY nth, stem",
    )
    .bind(words)
    .fetch_all(conn)
    .await?;
    Ok(Stems(rows))
}

#[derive(sqlx::FromRow)]
struct CandidateRow {
    id: ProgramId,
    niche: Option<String>,
    audience_type: Option<String>,
    commission_type: CommissionType,
    commission_rate_bp: Option<i32>,
    commission_fixed_micros: Option<i64>,
    approval_mode: ApprovalMode,
    epc_micros: Option<i64>,
    approval_bp: Option<i32>,
    days_to_pay_tenths: Option<i32>,
    funded: bool,
    created_at: DateTime<Utc>,
    shared: Vec<String>,
}

impl From<CandidateRow> for Candidate {
    fn from(row: CandidateRow) -> Self {
        let commission = Commission::from_columns(
            row.commission_type,
            row.commission_rate_bp,
            row.commission_fixed_micros,
        );
        Self {
            id: row.id,
            niche: row.niche,
            audience_type: row.audience_type,
            commission: commission.value(),
            percentage: commission.kind() == CommissionType::Percentage,
            epc: row.epc_micros.map(Micros),
            approval_bp: row.approval_bp,
            days_to_pay_tenths: row.days_to_pay_tenths,
            funded: row.funded,
            open: row.approval_mode == ApprovalMode::Auto,
            created_at: row.created_at,
            shared: row.shared,
        }
    }
}

/// Which programs may be candidates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// For whom: its own, joined and declined ones are left out.
    pub(crate) agent: AgentId,
    /// The agent's field.
    pub(crate) niche: Option<&'a str>,
    /// Only of this field.
    pub(crate) only_niche: Option<&'a str>,
    /// Only those that pay like this.
    pub(crate) commission_type: Option<CommissionType>,
}

/// What every part of the pool asks of a program: `$1` to `$3`.
macro_rules! may_be_shown {
    () => {
        "programs.status = 'active' AND programs.advertiser_id <> $1
         AND ($2 IS NULL OR lower(programs.niche) = lower($2))
         AND ($3 IS NULL OR programs.commission_type = $3)
         AND programs.id NOT IN (SELECT program_id FROM settled)"
    };
}

/// The programs to score for an agent, at most 550.
pub(crate) async fn list_candidates(
    conn: &mut PgConnection,
    wanted: Wanted<'_>,
    stems: &[String],
) -> Result<Vec<Candidate>> {
    let rows: Vec<CandidateRow> = sqlx::query_as(concat!(
        "WITH settled AS MATERIALIZED (
             SELECT program_id FROM partnerships WHERE affiliate_id = $1 AND status <> 'cancelled'
             UNION ALL
             SELECT program_id FROM match_suggestions WHERE agent_id = $1 AND status = 'declined'),
         pool AS (
             (SELECT id FROM programs WHERE lower(niche) = lower($4) AND ",
        may_be_shown!(),
        "     ORDER BY COALESCE(epc_micros, -1) DESC, id DESC LIMIT 100)
             UNION
             (SELECT id FROM programs WHERE lower(niche) = lower($4) AND ",
        may_be_shown!(),
        "     ORDER BY created_at DESC, id DESC LIMIT 100)
             UNION
             (SELECT id
                FROM (SELECT hit.id, 1.0 / count(*) OVER (PARTITION BY stem) AS worth
                        FROM unnest($5) AS stem
                       CROSS JOIN LATERAL (
                             SELECT id FROM programs WHERE match_words @@ quote_literal(stem)::tsquery AND ",
        may_be_shown!(),
        "                     LIMIT $6) AS hit) AS hits
               GROUP BY id ORDER BY sum(worth) DESC, id LIMIT 200)
             UNION
             (SELECT id FROM programs WHERE ",
        may_be_shown!(),
        "     ORDER BY COALESCE(epc_micros, -1) DESC, id DESC LIMIT 100)
             UNION
             (SELECT id FROM programs WHERE ",
        may_be_shown!(),
        "     ORDER BY created_at DESC, id DESC LIMIT 50))
         SELECT programs.id, programs.niche, programs.audience_type, programs.commission_type,
                programs.commission_rate_bp, programs.commission_fixed_micros, programs.approval_mode,
                programs.epc_micros, programs.approval_bp, programs.days_to_pay_tenths, programs.funded,
                programs.created_at,
                ARRAY(SELECT stem FROM unnest(tsvector_to_array(programs.match_words)) AS stem
                       WHERE stem = ANY ($5)) AS shared
           FROM programs
          WHERE programs.id = ANY (ARRAY(SELECT id FROM pool))"
    ))
    .bind(wanted.agent)
    .bind(wanted.only_niche)
    .bind(wanted.commission_type)
    .bind(wanted.niche)
    .bind(stems)
    .bind(WORD_ROWS_MAX)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Candidate::from).collect())
}

/// Agents that a program could suit, the likeliest first: of its field, or with any of its words. Its owner
/// and who has joined or declined it are left out.
pub(crate) async fn list_likely_agents(
    conn: &mut PgConnection,
    program: ProgramId,
    stems: &[String],
    limit: i64,
) -> Result<Vec<AgentId>> {
    Ok(sqlx::query_scalar(
        "WITH wanted AS (SELECT id, advertiser_id, niche, audience_type FROM programs WHERE id = $1),
         settled AS MATERIALIZED (
             SELECT affiliate_id AS agent_id FROM partnerships WHERE program_id = $1 AND status <> 'cancelled'
             UNION ALL
             SELECT agent_id FROM match_suggestions WHERE program_id = $1 AND status = 'declined'),
         pool AS (
             (SELECT agents.id FROM agents, wanted
               WHERE agents.deleted_at IS NULL AND lower(agents.niche) = lower(wanted.niche)
               ORDER BY agents.created_at DESC, agents.id DESC LIMIT $3 * 10)
             UNION
             (SELECT hit.id
                FROM unnest($2) AS stem
               CROSS JOIN LATERAL (
                     SELECT id FROM agents
                      WHERE deleted_at IS NULL AND match_words @@ quote_literal(stem)::tsquery
                      LIMIT $4) AS hit))
         SELECT agents.id
           FROM agents
          CROSS JOIN wanted
          WHERE agents.id = ANY (ARRAY(SELECT id FROM pool)) AND agents.id <> wanted.advertiser_id AND agents.id NOT IN (SELECT agent_id FROM settled)
          ORDER BY (lower(agents.niche) = lower(wanted.niche)) IS TRUE DESC,
                   (lower(agents.audience_type) = lower(wanted.audience_type)) IS TRUE DESC,
                   (SELECT count(*) FROM unnest(tsvector_to_array(agents.match_words)) AS stem WHERE stem = ANY ($2))
                   DESC, agents.id
          LIMIT $3",
    )
    .bind(program)
    .bind(stems)
    .bind(limit)
    .bind(WORD_ROWS_MAX)
    .fetch_all(conn)
    .await?)
}

/// Takes the right to be charged for a query: `true` when the last charge is older than `since`, and then
/// the next one counts from `now`. Waits for one that is being charged.
pub(crate) async fn claim_charge(
    conn: &mut PgConnection,
    agent: AgentId,
    query: &str,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let claimed = sqlx::query(
        "INSERT INTO match_requests AS known (agent_id, query, charged_at)
         VALUES ($1, $2, $3)
         ON CONFLICT (agent_id, query) DO UPDATE SET charged_at = EXCLUDED.charged_at
          WHERE known.charged_at <= $4",
    )
    .bind(agent)
    .bind(query)
    .bind(now)
    .bind(since)
    .execute(conn)
    .await?;
    Ok(claimed.rows_affected() == 1)
}

/// Forgets charges that nothing is free for any more, a bounded number.
pub(crate) async fn forget_charges(
    conn: &mut PgConnection,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<u64> {
    let forgotten = sqlx::query(
        "DELETE FROM match_requests
          WHERE (agent_id, query) IN (
                SELECT agent_id, query FROM match_requests WHERE charged_at <= $1 ORDER BY charged_at LIMIT $2
                   FOR UPDATE SKIP LOCKED)",
    )
    .bind(before)
    .bind(limit)
    .execute(conn)
    .await?;
    Ok(forgotten.rows_affected())
}

#[derive(sqlx::FromRow)]
struct SuggestionRow {
    id: SuggestionId,
    agent_id: AgentId,
    program_id: ProgramId,
    score_millionths: i32,
    reasons: Vec<String>,
    status: SuggestionStatus,
    created_at: DateTime<Utc>,
    responded_at: Option<DateTime<Utc>>,
}

impl From<SuggestionRow> for Suggestion {
    fn from(row: SuggestionRow) -> Self {
        Self {
            id: row.id,
            agent_id: row.agent_id,
            program_id: row.program_id,
            score: f64::from(row.score_millionths) / 1e6,
            reasons: row.reasons,
            status: row.status,
            created_at: row.created_at,
            responded_at: row.responded_at,
        }
    }
}

macro_rules! select_suggestions {
    ($rest:literal) => {
        concat!(
            "SELECT match_suggestions.id, match_suggestions.agent_id, match_suggestions.program_id,
                    match_suggestions.score_millionths, match_suggestions.reasons, match_suggestions.status,
                    match_suggestions.created_at, match_suggestions.responded_at
               FROM match_suggestions ",
            $rest
        )
    };
}

/// What waits for an agent's answer and can still be accepted, the best first.
pub(crate) async fn list_pending(
    conn: &mut PgConnection,
    agent: AgentId,
    limit: i64,
) -> Result<Vec<Suggestion>> {
    let rows: Vec<SuggestionRow> = sqlx::query_as(select_suggestions!(
        "JOIN programs ON programs.id = match_suggestions.program_id
        WHERE match_suggestions.agent_id = $1 AND match_suggestions.status = 'pending'
          AND programs.status = 'active' AND programs.advertiser_id <> $1
          AND NOT EXISTS (
              SELECT FROM partnerships
               WHERE partnerships.affiliate_id = $1 AND partnerships.program_id = match_suggestions.program_id
                 AND partnerships.status <> 'cancelled')
        ORDER BY match_suggestions.score_millionths DESC, match_suggestions.id
        LIMIT $2"
    ))
    .bind(agent)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Suggestion::from).collect())
}

/// A page of everything that was ever suggested to an agent, newest first.
pub(crate) async fn list_of_agent(
    conn: &mut PgConnection,
    agent: AgentId,
    status: Option<SuggestionStatus>,
    page: Page,
) -> Result<Paged<Suggestion>> {
    let total = match page.total() {
        Some(total) => total,
        None => {
            sqlx::query_scalar(
                "SELECT count(*)
                   FROM (SELECT
                           FROM match_suggestions
                          WHERE agent_id = $1 AND ($2 IS NULL OR status = $2)
                          LIMIT $3) AS counted",
            )
            .bind(agent)
            .bind(status)
            .bind(REACH_MAX)
            .fetch_one(&mut *conn)
            .await?
        }
    };
    let (instant, id) = page.below_instant();
    let rows: Vec<SuggestionRow> = sqlx::query_as(select_suggestions!(
        "WHERE agent_id = $1 AND ($2 IS NULL OR status = $2) AND (created_at, id) < ($3, $4)
         ORDER BY created_at DESC, id DESC
         LIMIT $5 OFFSET $6"
    ))
    .bind(agent)
    .bind(status)
    .bind(instant)
    .bind(id)
    .bind(page.limit_and_one())
    .bind(page.offset())
    .fetch_all(conn)
    .await?;
    let suggestions = rows.into_iter().map(Suggestion::from).collect();
    Ok(page
        .of_rows(suggestions, total, |one: &Suggestion| (one.created_at.timestamp_micros(), one.id.uuid())))
}

pub(crate) async fn find_suggestion(conn: &mut PgConnection, id: SuggestionId) -> Result<Option<Suggestion>> {
    let row: Option<SuggestionRow> =
        sqlx::query_as(select_suggestions!("WHERE id = $1")).bind(id).fetch_optional(conn).await?;
    Ok(row.map(Suggestion::from))
}

/// The same, locked. Lock its program first.
pub(crate) async fn lock_suggestion(conn: &mut PgConnection, id: SuggestionId) -> Result<Option<Suggestion>> {
    let row: Option<SuggestionRow> = sqlx::query_as(select_suggestions!("WHERE id = $1 FOR NO KEY UPDATE"))
        .bind(id)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(Suggestion::from))
}

pub(crate) async fn set_response(
    conn: &mut PgConnection,
    id: SuggestionId,
    status: SuggestionStatus,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query("UPDATE match_suggestions SET status = $2, responded_at = $3, updated_at = $3 WHERE id = $1")
        .bind(id)
        .bind(status)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Stores what was found for one agent; gives the pairs that are new, for which somebody is to be told.
/// A pending one gets its new score; one that was answered stays as it is.
pub(crate) async fn save_suggestions(
    conn: &mut PgConnection,
    pairs: &[(AgentId, Match)],
    now: DateTime<Utc>,
) -> Result<Vec<SuggestionId>> {
    let mut fresh = Vec::new();
    // In the order of programs, as every other transaction locks them.
    let mut pairs: Vec<&(AgentId, Match)> = pairs.iter().collect();
    pairs.sort_by_key(|(agent, found)| (found.id.uuid(), agent.uuid()));
    for (agent, found) in pairs {
        let id = SuggestionId::generate();
        let stored: Option<SuggestionId> = sqlx::query_scalar(
            "INSERT INTO match_suggestions AS known (id, agent_id, program_id, score_millionths, reasons, created_at,
                                                     updated_at)
             SELECT $1, $2, programs.id, $4, $5, $6, $6 FROM programs WHERE programs.id = $3 AND status = 'active'
             ON CONFLICT (agent_id, program_id) DO UPDATE
                SET score_millionths = EXCLUDED.score_millionths, reasons = EXCLUDED.reasons,
                    updated_at = EXCLUDED.updated_at
              WHERE known.status = 'pending'
             RETURNING known.id",
        )
        .bind(id)
        .bind(agent)
        .bind(found.id)
        .bind((found.score.clamp(0.0, 1.0) * 1e6).round() as i32)
        .bind(&found.reasons)
        .bind(now)
        .fetch_optional(&mut *conn)
        .await?;
        fresh.extend(stored.filter(|stored| *stored == id));
    }
    Ok(fresh)
}

/// Takes back what waits for an agent beyond the best `keep`.
pub(crate) async fn trim_pending(conn: &mut PgConnection, agent: AgentId, keep: i64) -> Result<()> {
    sqlx::query(
        "DELETE FROM match_suggestions
          WHERE id IN (
                SELECT id FROM match_suggestions
                 WHERE agent_id = $1 AND status = 'pending'
                 ORDER BY score_millionths DESC, id
                OFFSET $2)",
    )
    .bind(agent)
    .bind(keep)
    .execute(conn)
    .await?;
    Ok(())
}

/// A pair as its events tell it.
#[derive(sqlx::FromRow)]
pub(crate) struct TellRow {
    pub(crate) id: SuggestionId,
    pub(crate) program_id: ProgramId,
    pub(crate) program_name: String,
    pub(crate) advertiser_id: AgentId,
    pub(crate) affiliate_id: AgentId,
    pub(crate) score_millionths: i32,
    pub(crate) reasons: Vec<String>,
    pub(crate) created_at: DateTime<Utc>,
}

pub(crate) async fn list_to_tell(conn: &mut PgConnection, ids: &[SuggestionId]) -> Result<Vec<TellRow>> {
    Ok(sqlx::query_as(
        "SELECT match_suggestions.id, match_suggestions.program_id, programs.name AS program_name,
                programs.advertiser_id, match_suggestions.agent_id AS affiliate_id,
                match_suggestions.score_millionths, match_suggestions.reasons, match_suggestions.created_at
           FROM match_suggestions
           JOIN programs ON programs.id = match_suggestions.program_id
          WHERE match_suggestions.id = ANY ($1)
          ORDER BY match_suggestions.id",
    )
    .bind(ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
    .fetch_all(conn)
    .await?)
}

/// What is to be matched again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    Agent(AgentId),
    Program(ProgramId),
}

/// Takes the oldest of what is to be matched again, with everything else that waits for the same. Another
/// worker's is passed over.
pub(crate) async fn take_subject(conn: &mut PgConnection) -> Result<Option<Subject>> {
    let taken: Option<(String, Uuid)> = sqlx::query_as(
        "DELETE FROM match_outbox
          WHERE id = (SELECT id FROM match_outbox ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
         RETURNING subject, subject_id",
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some((subject, id)) = taken else { return Ok(None) };
    forget_subject(conn, &subject, id).await?;
    Ok(Some(match subject.as_str() {
        "agent" => Subject::Agent(AgentId::from_uuid(id)),
        _ => Subject::Program(ProgramId::from_uuid(id)),
    }))
}

/// Removes what waits for a subject that is being matched now.
pub(crate) async fn forget_subject(conn: &mut PgConnection, subject: &str, id: Uuid) -> Result<()> {
    sqlx::query(
        "DELETE FROM match_outbox
          WHERE id IN (SELECT id FROM match_outbox WHERE subject = $1 AND subject_id = $2 FOR UPDATE SKIP LOCKED)",
    )
    .bind(subject)
    .bind(id)
    .execute(conn)
    .await?;
    Ok(())
}
