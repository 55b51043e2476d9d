//! Steps on the network. The caller owns the transaction.

use super::queries;
use super::wire::{DiscoveredProgram, Niche, StatsResponse};
use crate::error::{Code, Error, Result};
use crate::features::partnerships::model::Partnership;
use crate::features::programs::model::{Filter, Program};
use crate::features::{partnerships, programs};
use crate::page::{Page, Paged};
use crate::text;
use shared::Clock;
use shared::id::{AgentId, ProgramId};
use sqlx::PgConnection;
use std::collections::HashMap;

/// The program, locked, that an agent wants to join: not its own.
pub async fn lock_to_join(conn: &mut PgConnection, caller: AgentId, id: ProgramId) -> Result<Program> {
    let program = programs::ops::lock_program(conn, id).await?;
    if program.advertiser_id == caller {
        return Err(Error::new(
            Code::OwnProgram,
            "This program is your own.",
            "Join another agent's program: GET /api/network/discover.",
        ));
    }
    Ok(program)
}

/// Lets an agent into a program that [`lock_to_join`] gave.
pub async fn join(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    caller: AgentId,
    program: &Program,
    message: Option<&str>,
) -> Result<Partnership> {
    let message = message.map(|message| text::paragraph("message", message, 1000)).transpose()?;
    let message = message.as_deref().filter(|message| !message.is_empty());
    partnerships::ops::join(conn, clock, program, caller, message).await
}

/// A page of active programs; for a caller with what it has to do with each.
pub async fn discover(
    conn: &mut PgConnection,
    caller: Option<AgentId>,
    filter: &Filter,
    page: Page,
) -> Result<Paged<DiscoveredProgram>> {
    let programs = programs::ops::list_programs(conn, filter, page).await?;
    let ids: Vec<ProgramId> = programs.data.iter().map(|program| program.id).collect();
    let joined: HashMap<ProgramId, _> = match caller {
        Some(caller) => partnerships::ops::list_live_in(conn, caller, &ids)
            .await?
            .into_iter()
            .map(|(program, partnership, status)| (program, (partnership, status)))
            .collect(),
        None => HashMap::new(),
    };
    Ok(programs.map(|program| {
        let partnership = joined.get(&program.id);
        DiscoveredProgram {
            joined: caller.map(|_| partnership.is_some()),
            partnership_status: caller.map(|_| partnership.map(|(_, status)| *status)),
            partnership_id: caller.map(|_| partnership.map(|(id, _)| id.uuid())),
            program: program.into(),
        }
    }))
}

/// The fields of active programs.
pub async fn list_niches(conn: &mut PgConnection) -> Result<Vec<Niche>> {
    queries::list_niches(conn).await
}

/// The network in numbers.
pub async fn stats(conn: &mut PgConnection, clock: &dyn Clock) -> Result<StatsResponse> {
    let now = clock.now();
    let census = queries::census(conn).await?;
    let trade = match queries::find_trade(conn).await? {
        Some(trade) => trade,
        // The job that takes the figures has not run yet: little is there to count.
        None => queries::measure_trade(conn, now).await?,
    };
    Ok(StatsResponse {
        agents: census.agents,
        active_programs: census.active_programs,
        advertisers: census.advertisers,
        partnerships: census.partnerships,
        niches: census.niches,
        clicks: trade.clicks,
        conversions: trade.conversions,
        commissions: trade.commissions,
        currency: "usd",
        as_of: trade.as_of.into(),
    })
}

/// Takes the published figures: what every program's clicks earn, how many of its conversions it approves, how
/// soon it pays, whether it can; and the network's trade.
/// A job runs it; running it twice changes nothing.
pub async fn refresh(conn: &mut PgConnection, clock: &dyn Clock) -> Result<()> {
    let now = clock.now();
    queries::refresh_epc(conn, now).await?;
    queries::refresh_reliability(conn, now).await?;
    let trade = queries::measure_trade(conn, now).await?;
    queries::store_trade(conn, &trade).await
}
