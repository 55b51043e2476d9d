//! JSON shapes of keys.

use crate::auth::api_keys::Kind;
use crate::auth::queries::KeySummary;
use crate::time::At;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// What a further key opens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// Tracking, commissions and payouts under `/v1`.
    Publisher,
    /// Verification under `/v1`.
    Merchant,
}

impl From<KeyKind> for Kind {
    fn from(kind: KeyKind) -> Self {
        match kind {
            KeyKind::Publisher => Self::Publisher,
            KeyKind::Merchant => Self::Merchant,
        }
    }
}

/// A key to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"kind": "publisher"}))]
pub struct CreateKeyRequest {
    /// `publisher` or `merchant`; the agent key is replaced by POST /api/agents/:id/rotate-key.
    pub kind: KeyKind,
}

/// A new key. The only reply that shows it.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedKeyResponse {
    /// Its id, to revoke it by.
    pub id: Uuid,
    /// `publisher` or `merchant`.
    pub kind: &'static str,
    /// The key. Shown once: keep it.
    pub key: String,
    /// When it was made.
    pub created_at: At,
}

/// A key without its text.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyResponse {
    /// Its id.
    pub id: Uuid,
    /// `agent`, `publisher` or `merchant`.
    pub kind: String,
    /// Its last four characters.
    pub last_four: String,
    /// When it was made.
    pub created_at: At,
    /// When it was last used, to the minute.
    pub last_used_at: Option<At>,
}

impl From<KeySummary> for KeyResponse {
    fn from(key: KeySummary) -> Self {
        Self {
            id: key.id.uuid(),
            kind: key.kind,
            last_four: key.last_four,
            created_at: key.created_at.into(),
            last_used_at: key.last_used_at.map(At),
        }
    }
}

/// A key that works no more.
#[derive(Debug, Serialize, ToSchema)]
pub struct RevokedKeyResponse {
    /// Its id.
    pub id: Uuid,
    /// Always true.
    pub deleted: bool,
}

/// The new agent key. The only reply that shows it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RotatedKeyResponse {
    /// The agent's id.
    pub id: Uuid,
    /// The new key. Shown once: keep it. The old one is dead.
    pub api_key: String,
    /// When it was made.
    pub rotated_at: At,
}
