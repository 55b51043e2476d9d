//! What is tracked and verified, and what metadata may be.

use crate::error::{Error, Result};
use crate::money::Micros;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use shared::id::{AgentId, AttributionEventId, CommissionId, ConversionId, ProgramId, VerificationId};

/// Members of `metadata` at most.
const METADATA_MEMBERS_MAX: usize = 20;
/// Characters of a name and of a text value at most.
const METADATA_NAME_MAX: usize = 64;
const METADATA_TEXT_MAX: usize = 500;

/// What the agent did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// It recommended the merchant.
    Recommendation,
    /// Its user followed the recommendation.
    Click,
    /// It showed the recommendation.
    Impression,
}

impl EventKind {
    /// The column value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recommendation => "recommendation",
            Self::Click => "click",
            Self::Impression => "impression",
        }
    }
}

/// A tracked event and where it counts.
#[derive(Clone, Debug)]
pub struct TrackedEvent {
    /// Its id.
    pub id: AttributionEventId,
    /// The merchant.
    pub merchant: AgentId,
    /// The program it counts for.
    pub program: ProgramId,
    /// When.
    pub created_at: DateTime<Utc>,
    /// The token that proves it.
    pub slat_token: String,
}

/// A confirmed order.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Its id.
    pub id: VerificationId,
    /// The conversion it made.
    pub conversion: ConversionId,
    /// What the publisher earns.
    pub commission: Micros,
    /// The terms it was computed with.
    pub terms: crate::features::commissions::rules::Terms,
    /// Who earns.
    pub publisher: AgentId,
}

/// A commission as its publisher sees it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct CommissionLine {
    /// Its id.
    pub id: CommissionId,
    /// What is owed.
    pub amount: Micros,
    /// `usd`.
    pub currency: String,
    /// Where it stands.
    pub status: String,
    /// The merchant's display name.
    pub merchant: String,
    /// The merchant's order.
    pub order_id: Option<String>,
    /// When it was earned.
    pub created_at: DateTime<Utc>,
}

/// What the agents of one runtime did for a program.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct RuntimeLine {
    /// As they named it.
    pub agent_runtime: Option<String>,
    /// Everything they tracked.
    pub events: i64,
    /// Of it, recommendations.
    pub recommendations: i64,
    /// Of it, clicks.
    pub clicks: i64,
    /// Of it, impressions.
    pub impressions: i64,
    /// Publishers behind them.
    pub publishers: i64,
    /// Orders verified with their tokens.
    pub orders: i64,
    /// What those came to.
    pub revenue: Micros,
    /// What they earned.
    pub commission: Micros,
    /// How many lines there are, on all pages.
    pub runtimes: i64,
}

/// An event as its merchant sees it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct TrackedLine {
    /// Its id.
    pub id: AttributionEventId,
    /// What the agent did.
    pub kind: String,
    /// Whose agent.
    pub publisher: AgentId,
    /// The merchant's product.
    pub product_id: Option<String>,
    /// What the agent said about itself.
    pub metadata: Value,
    /// The click it counts as.
    pub click_id: String,
    /// The order its token was redeemed for.
    pub order_id: Option<String>,
    /// The conversion that made.
    pub conversion: Option<ConversionId>,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// Checks `metadata`: a flat object, bounded.
pub fn check_metadata(metadata: &Map<String, Value>) -> Result<()> {
    let refuse = |message: String| {
        Err(Error::invalid(
            "metadata",
            message,
            "Send `metadata` as one flat object: at most 20 members, names of at most 64 characters, values that are texts of at most 500 characters, numbers or booleans.",
        ))
    };
    if metadata.len() > METADATA_MEMBERS_MAX {
        return refuse(format!("`metadata` has {} members.", metadata.len()));
    }
    for (name, value) in metadata {
        if name.chars().count() > METADATA_NAME_MAX {
            return refuse("A name in `metadata` is too long.".to_owned());
        }
        match value {
            Value::String(text) if text.chars().count() > METADATA_TEXT_MAX => {
                return refuse(format!("`metadata.{name}` is longer than {METADATA_TEXT_MAX} characters."));
            }
            // Postgres keeps no NUL in its texts.
            Value::String(text) if text.contains('\0') => {
                return refuse(format!("`metadata.{name}` contains a NUL character."));
            }
            Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
            Value::Array(_) | Value::Object(_) => return refuse(format!("`metadata.{name}` is not flat.")),
        }
        if name.contains('\0') {
            return refuse("A name in `metadata` contains a NUL character.".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metadata_is_flat_and_bounded() {
        let check = |value: Value| check_metadata(value.as_object().expect("an object"));
        assert!(
            check(json!({"agent_runtime": "langchain", "turn": 3, "cached": true, "note": null})).is_ok()
        );
        assert!(check(json!({"nested": {"a": 1}})).is_err());
        assert!(check(json!({"list": [1]})).is_err());
        assert!(check(json!({"long": "x".repeat(501)})).is_err());
        assert!(check(json!({"x".repeat(65): 1})).is_err());
        assert!(check(json!({"nul": "a\u{0}b"})).is_err());
        let many: Map<_, _> = (0..21).map(|n| (n.to_string(), json!(n))).collect();
        assert!(check_metadata(&many).is_err());
    }
}
