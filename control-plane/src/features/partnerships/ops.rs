//! Steps on partnerships. The caller owns the transaction.

use super::model::{Filter, Partnership, Side, Status};
use super::queries::{self, NewPartnership};
use crate::error::{Code, Error, Result};
use crate::features::link_outbox::{Subject, announce};
use crate::features::programs::model::{ApprovalMode, Program, Status as ProgramStatus};
use crate::features::webhooks::{self, event::Event};
use crate::page::{Page, Paged};
use shared::Clock;
use shared::id::{AgentId, PartnershipId, ProgramId};
use sqlx::PgConnection;

/// Lets an agent into a program, which the caller has locked. Approved at once when the program says so.
pub async fn join(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    program: &Program,
    affiliate: AgentId,
    message: Option<&str>,
) -> Result<Partnership> {
    let status = match program.settings.approval_mode {
        ApprovalMode::Auto => Status::Approved,
        ApprovalMode::Manual => Status::Pending,
    };
    if let Some(live) = queries::find_live(conn, program.id, affiliate).await? {
        return Err(already_affiliated(&live));
    }
    if program.status != ProgramStatus::Active {
        return Err(Error::new(
            Code::InvalidState,
            format!("The program is {} and takes no new affiliates.", program.status),
            "Find an active program with GET /api/network/discover.",
        )
        .with("status", program.status.as_str()));
    }
    let new =
        NewPartnership { program: program.id, affiliate, advertiser: program.advertiser_id, status, message };
    // The program's lock keeps a second join out; the constraint would catch one that has no lock.
    match queries::insert_partnership(conn, &new, clock.now()).await? {
        Some(id) => {
            let joined = load(conn, id).await?;
            webhooks::ops::emit(conn, clock, &Event::AffiliateJoined(joined.as_event())).await?;
            tell_approved(conn, clock, &joined).await?;
            Ok(joined)
        }
        None => match queries::find_live(conn, program.id, affiliate).await? {
            Some(live) => Err(already_affiliated(&live)),
            None => Err(Error::unavailable(anyhow::anyhow!("a partnership was cancelled during the join"))),
        },
    }
}

/// Tells both sides when a partnership has just become approved.
async fn tell_approved(conn: &mut PgConnection, clock: &dyn Clock, partnership: &Partnership) -> Result<()> {
    if partnership.status != Status::Approved {
        return Ok(());
    }
    webhooks::ops::emit(conn, clock, &Event::AffiliateApproved(partnership.as_event())).await
}

fn already_affiliated(live: &Partnership) -> Error {
    let fix = match live.status {
        Status::Rejected => "The advertiser declined. To ask again, first PATCH /api/partnerships/:id with {\"status\":\"cancelled\"}.".to_owned(),
        Status::Approved => format!("Make a tracking link with POST /api/partnerships/{}/links.", live.id),
        _ => format!("Look at it with GET /api/partnerships/{}.", live.id),
    };
    Error::new(
        Code::AlreadyAffiliated,
        format!("You have joined this program; the partnership is {}.", live.status),
        fix,
    )
    .with("partnership_id", live.id.to_string())
    .with("partnership_status", live.status.as_str())
}

/// The partnership, or `not_found`.
pub async fn load(conn: &mut PgConnection, id: PartnershipId) -> Result<Partnership> {
    queries::find_partnership(conn, id).await?.ok_or_else(missing)
}

/// The partnership and the caller's side of it; strangers hear that there is none.
pub async fn load_for(
    conn: &mut PgConnection,
    caller: AgentId,
    id: PartnershipId,
) -> Result<(Partnership, Side)> {
    with_side(caller, queries::find_partnership(conn, id).await?)
}

/// The same, with program and partnership locked until the transaction ends.
pub async fn lock_for(
    conn: &mut PgConnection,
    caller: AgentId,
    id: PartnershipId,
) -> Result<(Partnership, Side)> {
    with_side(caller, queries::lock_partnership(conn, id).await?)
}

fn with_side(caller: AgentId, found: Option<Partnership>) -> Result<(Partnership, Side)> {
    let partnership = found.ok_or_else(missing)?;
    let side = partnership.side_of(caller).ok_or_else(missing)?;
    Ok((partnership, side))
}

/// The live partnership of an affiliate in a program.
pub async fn find_live(
    conn: &mut PgConnection,
    program: ProgramId,
    affiliate: AgentId,
) -> Result<Option<Partnership>> {
    queries::find_live(conn, program, affiliate).await
}

/// The live partnerships of an affiliate in these programs.
pub async fn list_live_in(
    conn: &mut PgConnection,
    affiliate: AgentId,
    programs: &[ProgramId],
) -> Result<Vec<(ProgramId, PartnershipId, Status)>> {
    queries::list_live_in(conn, affiliate, programs).await
}

/// Takes one step with a partnership that [`lock_for`] gave.
pub async fn set_status(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    partnership: &Partnership,
    to: Status,
) -> Result<Partnership> {
    let next = partnership.step(to)?;
    move_to(conn, clock, partnership.id, next).await?;
    let partnership = load(conn, partnership.id).await?;
    tell_approved(conn, clock, &partnership).await?;
    Ok(partnership)
}

/// Writes the new status, and tells edges.
async fn move_to(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    id: PartnershipId,
    status: Status,
) -> Result<()> {
    let now = clock.now();
    queries::update_status(conn, id, status, now).await?;
    announce(conn, Subject::Partnership(id), now).await
}

/// Cancels every partnership of an agent, on either side of it, as cancelling each would.
pub async fn cancel_all_of(conn: &mut PgConnection, clock: &dyn Clock, agent: AgentId) -> Result<()> {
    for id in queries::list_live_ids(conn, agent).await? {
        let Some(partnership) = queries::lock_partnership(conn, id).await? else { continue };
        if partnership.status != Status::Cancelled {
            move_to(conn, clock, id, Status::Cancelled).await?;
        }
    }
    Ok(())
}

/// A page of an affiliate's partnerships.
pub async fn list_of_affiliate(
    conn: &mut PgConnection,
    affiliate: AgentId,
    filter: Filter,
    page: Page,
) -> Result<Paged<Partnership>> {
    queries::list_of_affiliate(conn, affiliate, filter, page).await
}

/// A page of a program's partnerships.
pub async fn list_of_program(
    conn: &mut PgConnection,
    program: ProgramId,
    filter: Filter,
    page: Page,
) -> Result<Paged<Partnership>> {
    queries::list_of_program(conn, program, filter, page).await
}

fn missing() -> Error {
    Error::not_found(
        "partnership",
        "List yours with GET /api/agents/:id/partnerships, or those of your program with GET /api/programs/:id/affiliates.",
    )
}
