//! Steps of closing an account. The caller owns the transaction.

use crate::error::Result;
use crate::features::{agents, partnerships, programs};
use shared::Clock;
use shared::id::AgentId;
use sqlx::PgConnection;

/// Ends the agent's programs and partnerships, revokes its keys and forgets its profile.
pub async fn close(conn: &mut PgConnection, clock: &dyn Clock, id: AgentId) -> Result<()> {
    programs::ops::delete_programs_of(conn, clock, id).await?;
    partnerships::ops::cancel_all_of(conn, clock, id).await?;
    crate::auth::queries::revoke_keys(conn, id, clock.now()).await?;
    agents::ops::delete_agent(conn, clock, id).await
}
