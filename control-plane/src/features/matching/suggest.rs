//! Making suggestions: from the same ranking that recommendations show, in the caller's transaction.
//!
//! Must stay true: who is told of a suggestion finds it stored; a pair is told once.

use super::model::Match;
use super::outreach;
use super::queries::{self, Subject};
use super::rank::{self, Narrowed};
use crate::app::App;
use crate::error::Result;
use crate::features::webhooks::event::Suggested;
use crate::features::{agents, programs, webhooks};
use crate::workers::jobs::Turn;
use shared::Clock;
use shared::id::{AgentId, ProgramId};
use sqlx::PgConnection;

/// Programs suggested to an agent at once: more would not be read.
const AT_ONCE: usize = 5;
/// Suggestions of an agent that wait at most; the best stay.
pub const PENDING_MAX: i64 = 20;
/// Agents that a new program is held up to.
const AGENTS_ASKED: i64 = 20;
/// A new program is suggested to an agent in whose ranking it is among the first so many.
const PLACE_MAX: usize = 10;

/// Suggests programs to an agent, and tells both sides of those that are new.
pub async fn to_agent(conn: &mut PgConnection, clock: &dyn Clock, id: AgentId) -> Result<()> {
    queries::forget_subject(conn, "agent", id.uuid()).await?;
    let Some(agent) = agents::ops::find_live(conn, id).await? else { return Ok(()) };
    let found = rank::for_agent(conn, clock.now(), &agent, &Narrowed::default()).await?;
    let pairs: Vec<_> = found.into_iter().take(AT_ONCE).map(|one| (id, one)).collect();
    store(conn, clock, &pairs).await
}

/// Suggests a program to the agents that it suits best.
pub async fn to_agents_of(conn: &mut PgConnection, clock: &dyn Clock, id: ProgramId) -> Result<()> {
    let Some(program) = programs::ops::list_in(conn, &[id]).await?.pop() else { return Ok(()) };
    let profile = outreach::profile_of(&program);
    let stems = queries::stems_of(conn, &profile.words).await?.all();
    let mut pairs: Vec<(AgentId, Match)> = Vec::new();
    for agent in queries::list_likely_agents(conn, id, &stems, AGENTS_ASKED).await? {
        let Some(agent) = agents::ops::find_live(conn, agent).await? else { continue };
        let found = rank::for_agent(conn, clock.now(), &agent, &Narrowed::default()).await?;
        pairs.extend(found.into_iter().take(PLACE_MAX).find(|one| one.id == id).map(|one| (agent.id, one)));
    }
    store(conn, clock, &pairs).await
}

async fn store(conn: &mut PgConnection, clock: &dyn Clock, pairs: &[(AgentId, Match)]) -> Result<()> {
    let fresh = queries::save_suggestions(conn, pairs, clock.now()).await?;
    let mut asked: Vec<AgentId> = pairs.iter().map(|(agent, _)| *agent).collect();
    asked.sort_unstable_by_key(|agent| agent.uuid());
    asked.dedup();
    for agent in asked {
        queries::trim_pending(conn, agent, PENDING_MAX).await?;
    }
    if fresh.is_empty() {
        return Ok(());
    }
    let told: Vec<Suggested> = queries::list_to_tell(conn, &fresh)
        .await?
        .into_iter()
        .map(|row| Suggested {
            id: row.id,
            program_id: row.program_id,
            program_name: row.program_name,
            advertiser_id: row.advertiser_id,
            affiliate_id: row.affiliate_id,
            score: f64::from(row.score_millionths) / 1e6,
            reasons: row.reasons,
            created_at: row.created_at.into(),
        })
        .collect();
    webhooks::ops::emit_suggestions(conn, clock, &told).await
}

/// The job: matches one agent or program that is new or has changed, again at once while more wait.
pub async fn job(app: App) -> Result<Turn> {
    let mut tx = app.db_worker().begin().await?;
    let Some(subject) = queries::take_subject(&mut tx).await? else { return Ok(Turn::Idle) };
    match subject {
        Subject::Agent(id) => to_agent(&mut tx, app.clock(), id).await?,
        Subject::Program(id) => to_agents_of(&mut tx, app.clock(), id).await?,
    }
    tx.commit().await?;
    Ok(Turn::Again)
}
