//! Typed ids: one type per thing that has one, so that two kinds are never mixed up.
//!
//! Inside: UUIDv7. In Postgres: `uuid`. Under `/api`: the plain UUID. Under `/v1`: the prefixed form,
//! `prefix_` and the UUID's 32 hex digits. There is no `From<Uuid>`: conversion is spelled out.

use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        #[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(transparent))]
        pub struct $name(Uuid);

        impl $name {
            /// The prefix under `/v1`, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id; ids made later sort later.
            #[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id of a stored UUID.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID.
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// The `/v1` form.
            pub fn prefixed(self) -> String {
                format!(concat!($prefix, "_{}"), self.0.simple())
            }

            /// Reads the `/v1` form; the prefix must match.
            pub fn parse_prefixed(text: &str) -> Option<Self> {
                let hex = text.strip_prefix(concat!($prefix, "_"))?;
                (hex.len() == 32).then(|| Uuid::try_parse(hex).ok()).flatten().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::try_parse(text).map(Self)
            }
        }
    )*};
}

ids! {
    /// An account: advertiser, affiliate or both.
    AgentId = "agt";
    /// An API key of any kind.
    ApiKeyId = "key";
    /// An affiliate program.
    ProgramId = "prg";
    /// An affiliate in a program.
    PartnershipId = "prt";
    /// A tracking link.
    LinkId = "lnk";
    /// A lead, sale or server-side click reported to us.
    ConversionId = "cnv";
    /// What a conversion earns the affiliate.
    CommissionId = "com";
    /// A refund of a sale.
    RefundId = "ref";
    /// Money on its way to an affiliate.
    PayoutId = "pay";
    /// A movement between two ledger accounts.
    TransferId = "trf";
    /// A ledger account.
    AccountId = "acc";
    /// A payment into a wallet.
    TopupId = "top";
    /// A webhook endpoint.
    WebhookId = "whk";
    /// One event, as delivered and pulled.
    EventId = "evn";
    /// One event on its way to one endpoint.
    DeliveryId = "dlv";
    /// A suggested program or affiliate.
    SuggestionId = "sug";
    /// Somebody outside who could promote programs.
    ProspectId = "psp";
    /// A subscription to Pro.
    SubscriptionId = "sub";
    /// An attribution event under `/v1`.
    AttributionEventId = "evt";
    /// A verification under `/v1`.
    VerificationId = "ver";
    /// A custom domain.
    DomainId = "dom";
}

/// The merchant's name of an agent under `/v1`.
pub fn merchant_name(agent: AgentId) -> String {
    format!("merch_{}", agent.uuid().simple())
}

/// The publisher's name of an agent under `/v1`.
pub fn publisher_name(agent: AgentId) -> String {
    format!("pub_{}", agent.uuid().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefixed_form_comes_back_and_others_do_not() {
        let id = CommissionId::generate();
        assert_eq!(CommissionId::parse_prefixed(&id.prefixed()), Some(id));
        assert_eq!(PayoutId::parse_prefixed(&id.prefixed()), None);
        assert_eq!(CommissionId::parse_prefixed(&id.to_string()), None);
        assert_eq!(CommissionId::parse_prefixed("com_"), None);
    }

    #[test]
    fn later_ids_sort_later() {
        let ids: Vec<_> = (0..100).map(|_| AgentId::generate()).collect();
        assert!(ids.is_sorted());
    }
}
