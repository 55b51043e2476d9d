//! Asking the database for candidates and the model for their order.

use super::model::{self, Match, Profile};
use super::queries::{self, Wanted};
use crate::error::Result;
use crate::features::agents::model::Agent;
use crate::features::programs::model::CommissionType;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// What narrows a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Narrowed {
    /// Only programs of this field.
    pub niche: Option<String>,
    /// Only programs that pay like this.
    pub commission_type: Option<CommissionType>,
}

/// What an agent says of itself.
pub fn profile_of(agent: &Agent) -> Profile {
    Profile::new(
        agent.niche.as_deref(),
        agent.audience_type.as_deref(),
        &[agent.description.as_deref(), Some(&agent.name)],
    )
}

/// The programs that suit an agent, the best first; never its own, nor one it has joined or declined.
pub async fn for_agent(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    agent: &Agent,
    narrowed: &Narrowed,
) -> Result<Vec<Match>> {
    let profile = profile_of(agent);
    let stems = queries::stems_of(conn, &profile.words).await?;
    let wanted = Wanted {
        agent: agent.id,
        niche: agent.niche.as_deref(),
        only_niche: narrowed.niche.as_deref(),
        commission_type: narrowed.commission_type,
    };
    let candidates = queries::list_candidates(conn, wanted, &stems.all()).await?;
    Ok(model::rank(&profile, &stems, &candidates, now))
}
