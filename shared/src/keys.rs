//! Every Redis key, as a function, so that both programs mean the same one.
//!
//! Braces are Redis Cluster hash tags: keys that one command or script touches together share one.

use crate::token::LinkKey;
use uuid::Uuid;

/// Key names under a prefix (empty in production; random in tests).
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// Names under this prefix.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    /// A link's record ([`crate::link_record`]), a string.
    pub fn link(&self, link: LinkKey) -> String {
        format!("{}l:{:016x}", self.prefix, link.0)
    }

    /// The stream of link changes: entries `n` (contiguous number, text), `r` (a link record).
    pub fn changes(&self) -> String {
        format!("{}{{changes}}", self.prefix)
    }

    /// Number of the last entry of [`Self::changes`]; only the publisher's script moves it.
    pub fn changes_number(&self) -> String {
        format!("{}{{changes}}:n", self.prefix)
    }

    /// Random text made when a publisher finds Redis empty: another value means that what Redis
    /// once said may be gone, so edges resync and the publisher publishes everything again.
    pub fn changes_epoch(&self) -> String {
        format!("{}{{changes}}:epoch", self.prefix)
    }

    /// Held by the publisher that writes every record again, before it sets the epoch.
    pub fn changes_refill(&self) -> String {
        format!("{}{{changes}}:refill", self.prefix)
    }

    /// A stream of click frames: entries with the field `f`, a [`crate::frame`].
    pub fn clicks(&self, shard: u16) -> String {
        format!("{}{{clicks:{shard}}}", self.prefix)
    }

    /// What Postgres has of a spool, `"<epoch>:<next sequence>"`; see [`Watermark`].
    pub fn watermark(&self, shard: u16, spool: Uuid) -> String {
        format!("{}{{clicks:{shard}}}:w:{}", self.prefix, spool.simple())
    }

    /// What edges say of their spools: a hash, by spool (32 hex digits), of a [`SpoolReport`].
    pub fn reports(&self, shard: u16) -> String {
        format!("{}{{clicks:{shard}}}:reports", self.prefix)
    }

    /// The random visitor key of a UTC day (`YYYYMMDD`), 32 bytes of hex, kept for 48 h.
    pub fn visitor_key(&self, day: &str) -> String {
        format!("{}visitor:{day}", self.prefix)
    }

    /// Public keys of AI agents that sign their requests: a directory ([`crate::agent_keys`]), a string.
    pub fn agent_keys(&self) -> String {
        format!("{}agent_keys", self.prefix)
    }

    /// Custom domains: a hash, by host, of a [`crate::domain_record`].
    pub fn domains(&self) -> String {
        format!("{}{{domains}}", self.prefix)
    }

    /// The stream of changed custom domains: entries with the field `h`, a host.
    pub fn domains_changes(&self) -> String {
        format!("{}{{domains}}:changes", self.prefix)
    }

    /// Random text set together with the whole of [`Self::domains`]: another value means that what Redis once
    /// said may be gone.
    pub fn domains_epoch(&self) -> String {
        format!("{}{{domains}}:epoch", self.prefix)
    }

    /// What an ACME server is answered under `/.well-known/acme-challenge/{token}` (RFC 8555, 8.3): a string,
    /// kept for an hour. Whoever takes a token from a request checks it with [`is_acme_token`] first.
    pub fn acme_challenge(&self, token: &str) -> String {
        format!("{}acme:{token}", self.prefix)
    }

    /// Any other key of one program, under the same prefix.
    pub fn named(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// Streams a deployment spreads its spools over, unless configured otherwise.
pub const CLICK_SHARDS_DEFAULT: u16 = 16;

/// The stream a spool sticks to.
pub fn shard_of(spool: Uuid, shards: u16) -> u16 {
    (xxhash_rust::xxh3::xxh3_64(spool.as_bytes()) % u64::from(shards.max(1))) as u16
}

/// Whether this may be a token of an ACME challenge: 1 to 128 letters of base64url.
pub fn is_acme_token(token: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=128).contains(&token.len()) && token.bytes().all(letter)
}

/// What Postgres has committed of a spool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watermark {
    /// The database's incarnation: its timeline. A restored or promoted database has a higher one,
    /// and its word counts even when it goes back.
    pub epoch: u64,
    /// Every sequence below this one is committed (stored, parked or declared lost).
    pub next_seq: u64,
}

impl Watermark {
    /// Reads `"<epoch>:<next>"`.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, next) = text.split_once(':')?;
        Some(Self { epoch: epoch.parse().ok()?, next_seq: next.parse().ok()? })
    }
}

impl std::fmt::Display for Watermark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.epoch, self.next_seq)
    }
}

/// What an edge says of a spool, for the conservation sum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SpoolReport {
    /// Sequences given to clicks so far.
    pub accepted: u64,
    /// Those among them that hold no click.
    pub declared_loss: u64,
    /// Whether more may come.
    pub live: bool,
    /// Everything below was taken by Redis, once.
    pub shipped: u64,
    /// Everything below is in Postgres, as the edge last heard.
    pub next_seq: u64,
    /// The lowest sequence still on the edge's disk.
    pub kept_from: u64,
    /// The edge's clock, ms since the Unix epoch. A report is said again every few seconds: an old one comes from
    /// an edge that is gone.
    pub at_ms: i64,
}

impl SpoolReport {
    /// Reads its text form: the fields in their order, with colons between. What a later version appends is
    /// left alone.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let (accepted, declared_loss, live) = (number()?, number()?, number()?);
        let (shipped, next_seq, kept_from) = (number()?, number()?, number()?);
        let at_ms = i64::try_from(number()?).ok()?;
        let live = match live {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(Self { accepted, declared_loss, live, shipped, next_seq, kept_from, at_ms })
    }
}

impl std::fmt::Display for SpoolReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { accepted, declared_loss, live, shipped, next_seq, kept_from, at_ms } = self;
        let live = u8::from(*live);
        write!(f, "{accepted}:{declared_loss}:{live}:{shipped}:{next_seq}:{kept_from}:{at_ms}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_as_they_are_written() {
        let report = SpoolReport {
            accepted: 100,
            declared_loss: 3,
            live: true,
            shipped: 90,
            next_seq: 80,
            kept_from: 70,
            at_ms: 1_795_000_000_000,
        };
        let text = report.to_string();
        assert_eq!(text, "100:3:1:90:80:70:1795000000000");
        assert_eq!(SpoolReport::parse(&text), Some(report));
        assert_eq!(SpoolReport::parse(&format!("{text}:later")), Some(report));
        for broken in ["", "1:2:1", "1:2:2:4:5:6:7", "a:2:1:4:5:6:7", "1:2:1:4:5:6:-7"] {
            assert_eq!(SpoolReport::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn domains_share_a_slot_and_challenges_have_keys_of_their_own() {
        let keys = Keys::new("p:");
        assert_eq!(keys.domains(), "p:{domains}");
        assert_eq!(keys.domains_changes(), "p:{domains}:changes");
        assert_eq!(keys.domains_epoch(), "p:{domains}:epoch");
        assert_eq!(keys.acme_challenge("LoqXcYV8_q5-ONbJ"), "p:acme:LoqXcYV8_q5-ONbJ");
        assert!(is_acme_token("LoqXcYV8_q5-ONbJ") && is_acme_token(&"a".repeat(128)));
        for wrong in ["", "a/b", "a b", "ä", "a.b", &"a".repeat(129)] {
            assert!(!is_acme_token(wrong), "{wrong}");
        }
    }

    #[test]
    fn watermarks_are_read_as_they_are_written() {
        let mark = Watermark { epoch: 2, next_seq: 70 };
        assert_eq!(Watermark::parse(&mark.to_string()), Some(mark));
        assert_eq!(Watermark::parse("2"), None);
    }
}
