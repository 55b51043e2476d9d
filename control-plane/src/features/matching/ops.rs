//! Steps of matching. The caller owns the transaction.

use super::model::{Decision, Suggestion, SuggestionStatus};
use super::queries;
use super::suggest::PENDING_MAX;
use crate::app::App;
use crate::error::{Error, Result};
use crate::features::partnerships::model::Partnership;
use crate::features::programs::model::Program;
use crate::features::{network, partnerships, programs, usage};
use crate::money::Micros;
use crate::page::{Page, Paged};
use crate::workers::jobs::Turn;
use chrono::TimeDelta;
use shared::Clock;
use shared::id::{AgentId, EventId, ProgramId, SuggestionId};
use sqlx::PgConnection;
use std::collections::HashMap;

/// A query asked again within this is free.
const CHARGED_FOR: TimeDelta = TimeDelta::minutes(10);
/// Old charges forgotten in one turn.
const FORGET_MAX: i64 = 1000;

/// A suggestion and the program it names.
#[derive(Clone, Debug)]
pub struct Told {
    /// The suggestion.
    pub suggestion: Suggestion,
    /// The program as it is now.
    pub program: Program,
}

/// What waits for an agent's answer and can still be accepted, the best first, at most [`PENDING_MAX`].
pub async fn pending(conn: &mut PgConnection, agent: AgentId) -> Result<Vec<Told>> {
    let suggestions = queries::list_pending(conn, agent, PENDING_MAX).await?;
    with_programs(conn, suggestions).await
}

/// A page of everything that was ever suggested to an agent.
pub async fn list_of_agent(
    conn: &mut PgConnection,
    agent: AgentId,
    status: Option<SuggestionStatus>,
    page: Page,
) -> Result<Paged<Told>> {
    let Paged { data, pagination, query, untrusted } =
        queries::list_of_agent(conn, agent, status, page).await?;
    Ok(Paged { data: with_programs(conn, data).await?, pagination, query, untrusted })
}

async fn with_programs(conn: &mut PgConnection, suggestions: Vec<Suggestion>) -> Result<Vec<Told>> {
    let ids: Vec<ProgramId> = suggestions.iter().map(|one| one.program_id).collect();
    let programs = programs_by_id(conn, &ids).await?;
    let told = suggestions.into_iter().filter_map(|suggestion| {
        let program = programs.get(&suggestion.program_id)?.clone();
        Some(Told { suggestion, program })
    });
    Ok(told.collect())
}

/// Those of these programs that exist.
pub(super) async fn programs_by_id(
    conn: &mut PgConnection,
    ids: &[ProgramId],
) -> Result<HashMap<ProgramId, Program>> {
    let programs = programs::ops::list_in(conn, ids).await?;
    Ok(programs.into_iter().map(|program| (program.id, program)).collect())
}

/// An agent's suggestion and its program, both locked; to everybody else there is none.
pub async fn lock_for(conn: &mut PgConnection, caller: AgentId, id: SuggestionId) -> Result<Told> {
    let found = queries::find_suggestion(conn, id).await?.filter(|found| found.agent_id == caller);
    let Some(found) = found else { return Err(missing()) };
    // The program first, as everywhere.
    let program = programs::ops::lock_program(conn, found.program_id).await?;
    let suggestion = queries::lock_suggestion(conn, id).await?.ok_or_else(missing)?;
    Ok(Told { suggestion, program })
}

fn missing() -> Error {
    Error::not_found("suggestion", "List those that wait for your answer with GET /api/match-suggestions.")
}

/// Answers a suggestion that [`lock_for`] gave; accepting joins its program. The same answer again changes
/// nothing.
pub async fn respond(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    told: &mut Told,
    decision: Decision,
    message: Option<&str>,
) -> Result<Option<Partnership>> {
    let Told { suggestion, program } = told;
    if !suggestion.takes(decision)? {
        if suggestion.status == SuggestionStatus::Accepted {
            return partnerships::ops::find_live(conn, program.id, suggestion.agent_id).await;
        }
        return Ok(None);
    }
    let partnership = match decision {
        Decision::Accept => {
            Some(network::ops::join(conn, clock, suggestion.agent_id, program, message).await?)
        }
        Decision::Decline => None,
    };
    let now = clock.now();
    suggestion.status = match decision {
        Decision::Accept => SuggestionStatus::Accepted,
        Decision::Decline => SuggestionStatus::Declined,
    };
    suggestion.responded_at = Some(now);
    queries::set_response(conn, suggestion.id, suggestion.status, now).await?;
    // It has one affiliate more, perhaps.
    *program = programs::ops::load_program(conn, program.id).await?;
    Ok(partnership)
}

/// What a request was charged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Charge {
    /// What the wallet paid; nothing within the allowance.
    pub amount: Micros,
    /// Whether it counts among this month's requests: not when it repeats one of the last ten minutes.
    pub counted: bool,
}

/// Charges an agent for a query that has found something, unless it was charged for it in the last ten
/// minutes; or refuses with 402. Two at once are charged once: the second waits here for the first.
pub async fn charge(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    agent: AgentId,
    number: i32,
    query: &str,
) -> Result<Charge> {
    let now = clock.now();
    if !queries::claim_charge(conn, agent, query, now - CHARGED_FOR, now).await? {
        return Ok(Charge { amount: Micros::ZERO, counted: false });
    }
    let request = EventId::generate().to_string();
    let amount = usage::ops::charge_matching_request(conn, number, &request, now).await?;
    Ok(Charge { amount, counted: true })
}

/// The job: forgets charges that make nothing free any more.
pub async fn forget_job(app: App) -> Result<Turn> {
    let mut conn = app.db_worker().acquire().await?;
    let before = app.clock().now() - CHARGED_FOR;
    let forgotten = queries::forget_charges(&mut conn, before, FORGET_MAX).await?;
    Ok(if forgotten == FORGET_MAX.unsigned_abs() { Turn::Again } else { Turn::Idle })
}
