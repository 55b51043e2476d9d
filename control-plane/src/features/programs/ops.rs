//! Steps on programs. The caller owns the transaction.

use super::hosts;
use super::model::{Filter, Program, Settings, Status};
use super::queries;
use super::wire::{CreateProgramRequest, UpdateProgramRequest};
use crate::error::{Error, Result};
use crate::features::link_outbox::{Subject, announce};
use crate::page::{Page, Paged};
use shared::Clock;
use shared::id::{AgentId, ProgramId};
use sqlx::PgConnection;

/// Makes a program.
pub async fn create_program(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    advertiser: AgentId,
    request: CreateProgramRequest,
) -> Result<Program> {
    let settings = Settings::create(request)?;
    let id = ProgramId::generate();
    queries::insert_program(conn, id, advertiser, &settings, clock.now()).await?;
    load_program(conn, id).await
}

/// The program, or `not_found`.
pub async fn load_program(conn: &mut PgConnection, id: ProgramId) -> Result<Program> {
    queries::find_program(conn, id).await?.ok_or_else(missing)
}

/// Those of these programs that exist, in no order.
pub async fn list_in(conn: &mut PgConnection, ids: &[ProgramId]) -> Result<Vec<Program>> {
    queries::list_in(conn, ids).await
}

/// The program, locked against every other change until the transaction ends. Lock it before any of its
/// partnerships.
pub async fn lock_program(conn: &mut PgConnection, id: ProgramId) -> Result<Program> {
    queries::lock_program(conn, id).await?.ok_or_else(missing)
}

/// The caller's program, locked; `not_found`, then `not_owner`.
pub async fn lock_own_program(conn: &mut PgConnection, caller: AgentId, id: ProgramId) -> Result<Program> {
    let program = lock_program(conn, id).await?;
    program.owned_by(caller)?;
    Ok(program)
}

/// A page of the programs a filter finds.
pub async fn list_programs(conn: &mut PgConnection, filter: &Filter, page: Page) -> Result<Paged<Program>> {
    queries::list_programs(conn, filter, page).await
}

/// Changes what the advertiser decided, from now on: commissions that exist keep their terms.
pub async fn update_program(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    program: Program,
    request: UpdateProgramRequest,
) -> Result<Program> {
    let old = program.settings.clone();
    let settings = old.clone().update(request)?;
    program.not_archived()?;
    if settings == old {
        return Ok(program);
    }
    let now = clock.now();
    queries::update_settings(conn, program.id, &settings, now).await?;
    let (rules, old_rules) = (settings.host_rules(), old.host_rules());
    let moved = rules != old_rules && queries::apply_host_rules(conn, program.id, &rules, now).await? > 0;
    if moved || old.differs_at_the_edge(&settings) {
        announce(conn, Subject::Program(program.id), now).await?;
    }
    load_program(conn, program.id).await
}

/// Lets the program's links redirect uncounted.
pub async fn pause_program(conn: &mut PgConnection, clock: &dyn Clock, program: Program) -> Result<Program> {
    let next = program.paused()?;
    set_status(conn, clock, program, next).await
}

/// Opens a paused program again.
pub async fn activate_program(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    program: Program,
) -> Result<Program> {
    let next = program.activated()?;
    set_status(conn, clock, program, next).await
}

async fn set_status(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    program: Program,
    status: Status,
) -> Result<Program> {
    let now = clock.now();
    queries::update_status(conn, program.id, status, now).await?;
    announce(conn, Subject::Program(program.id), now).await?;
    Ok(Program { status, updated_at: now, ..program })
}

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It and what hung on it are gone.
    Deleted,
    /// It has conversions, so it is kept, closed for good.
    Archived,
}

/// Ends the caller's program: without conversions it goes for good, otherwise it is archived. Ending an
/// archived one changes nothing.
pub async fn delete_program(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    caller: AgentId,
    id: ProgramId,
) -> Result<End> {
    // Nothing may refer to the program any more between the look and the end.
    let program = queries::lock_program_whole(conn, id).await?.ok_or_else(missing)?;
    program.owned_by(caller)?;
    end(conn, clock, &program).await
}

/// Ends every program of an advertiser, as deleting each would.
pub async fn delete_programs_of(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    advertiser: AgentId,
) -> Result<()> {
    for id in queries::list_open_ids(conn, advertiser).await? {
        if let Some(program) = queries::lock_program_whole(conn, id).await? {
            end(conn, clock, &program).await?;
        }
    }
    Ok(())
}

async fn end(conn: &mut PgConnection, clock: &dyn Clock, program: &Program) -> Result<End> {
    let now = clock.now();
    if queries::has_conversions(conn, program.id).await? {
        if program.status != Status::Archived {
            queries::update_status(conn, program.id, Status::Archived, now).await?;
            announce(conn, Subject::Program(program.id), now).await?;
        }
        return Ok(End::Archived);
    }
    queries::delete_program(conn, program.id, now).await?;
    announce(conn, Subject::Program(program.id), now).await?;
    Ok(End::Deleted)
}

/// Refuses a destination whose host the program does not allow.
pub fn check_destination_host(program: &Program, host: &str) -> Result<()> {
    let rules = program.settings.host_rules();
    if rules.is_empty() || rules.iter().any(|rule| hosts::allows(rule, host)) {
        return Ok(());
    }
    let shown: String = host.chars().take(60).collect();
    let list = rules.iter().take(10).map(|rule| format!("`{rule}`")).collect::<Vec<_>>().join(", ");
    Err(Error::invalid(
        "destination_url",
        format!("The program's links cannot lead to `{shown}`."),
        format!(
            "Send a `destination_url` on {list} or a host below; the advertiser can add hosts with PATCH /api/programs/:id and `allowed_hosts`."
        ),
    ))
}

fn missing() -> Error {
    Error::not_found(
        "program",
        "List programs with GET /api/programs, or find one to join with GET /api/network/discover.",
    )
}
