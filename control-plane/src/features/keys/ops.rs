//! Steps on keys. The caller owns the transaction.

use crate::auth::Agent;
use crate::auth::api_keys::{Kind, NewKey};
use crate::auth::queries::{self, KeySummary};
use crate::error::{Code, Error, Result};
use shared::Clock;
use shared::id::{AgentId, ApiKeyId};
use sqlx::PgConnection;

/// Live publisher and merchant keys an agent may have.
pub const KEYS_MAX: usize = 50;

/// Replaces the caller's agent key: it is dead when the transaction commits. Of two that replace one key at
/// once, one is refused: else the first would be handed a key that the second killed.
pub async fn rotate(conn: &mut PgConnection, clock: &dyn Clock, caller: Agent) -> Result<NewKey> {
    let now = clock.now();
    if !queries::revoke_key(conn, caller.key_id, now).await? {
        return Err(Error::new(
            Code::ApiKeyInvalid,
            "The key was replaced by another request just now.",
            "Use the `api_key` that the other request was given.",
        ));
    }
    let key = NewKey::generate(Kind::Agent);
    queries::insert_key(conn, caller.id, Kind::Agent, &key, now).await?;
    Ok(key)
}

/// Makes a publisher or merchant key.
pub async fn create(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    agent: AgentId,
    kind: Kind,
) -> Result<(ApiKeyId, NewKey)> {
    queries::lock_keys(conn, agent).await?;
    let live = queries::list_live_keys(conn, agent).await?;
    if live.iter().filter(|key| key.kind != Kind::Agent.as_str()).count() >= KEYS_MAX {
        return Err(Error::new(
            Code::InvalidState,
            format!("The agent has {KEYS_MAX} publisher and merchant keys."),
            format!(
                "Revoke one that is not used: GET /api/agents/{agent}/keys, then DELETE /api/agents/{agent}/keys/KEY_ID."
            ),
        ));
    }
    let key = NewKey::generate(kind);
    let id = queries::insert_key(conn, agent, kind, &key, clock.now()).await?;
    Ok((id, key))
}

/// The live keys, the newest first.
pub async fn list(conn: &mut PgConnection, agent: AgentId) -> Result<Vec<KeySummary>> {
    queries::list_live_keys(conn, agent).await
}

/// Revokes a publisher or merchant key of this agent.
pub async fn revoke(conn: &mut PgConnection, clock: &dyn Clock, agent: AgentId, id: ApiKeyId) -> Result<()> {
    queries::lock_keys(conn, agent).await?;
    let keys = queries::list_live_keys(conn, agent).await?;
    let Some(key) = keys.iter().find(|key| key.id == id) else {
        return Err(Error::not_found(
            "key",
            format!("List the keys that are not revoked with GET /api/agents/{agent}/keys."),
        ));
    };
    if key.kind == Kind::Agent.as_str() {
        return Err(Error::new(
            Code::InvalidState,
            "The agent key is replaced, not revoked: without it nobody could sign in.",
            format!("Replace it with POST /api/agents/{agent}/rotate-key."),
        ));
    }
    queries::revoke_key(conn, id, clock.now()).await?;
    Ok(())
}
