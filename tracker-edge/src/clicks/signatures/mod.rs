//! AI agents that prove who they are: Web Bot Auth, which is RFC 9421 signatures with known keys.
//!
//! What must stay true: a signature can only make a click `agent_verified`; one that fails, is unknown,
//! expired or repeated changes nothing, and nothing is asked of anyone: keys are in memory, from the
//! operator's file and from what the control plane publishes in Redis ([`keys`]). A signed request costs
//! some 60 µs more; beyond [`BUDGET_PER_SECOND`] of them a worker no longer looks, so that nobody can
//! keep it busy with signatures.
//!
//! What is checked: Ed25519 over what [`message`] says, by a key that is valid now; created no later than
//! [`SKEW_S`] from now, not expired, and valid for [`LIFETIME_S_MAX`] at most. A signature with a nonce
//! counts once on this edge (the memory is the one of duplicate clicks, and as bounded); another edge, or
//! this one after a restart, would take it once more while it is valid. One without counts until it
//! expires, as the draft has it. What a repeat can gain is a name for a click that is counted anyway.

pub(crate) mod keys;
mod message;

pub(crate) use message::Origin;

use super::duplicates::Duplicates;
use http::request::Parts;
use keys::{Found, Keyring};
use message::{Signed, Unusable};
use ring::signature::{ED25519, UnparsedPublicKey};
use shared::LinkKey;
use siphasher::sip::SipHasher13;
use std::cell::Cell;
use std::sync::Arc;

/// How far an agent's clock may be ahead of ours.
const SKEW_S: i64 = 60;
/// The draft advises agents to sign for no longer; longer ones could be repeated for longer.
const LIFETIME_S_MAX: i64 = 24 * 3600;
/// Signed requests a worker looks at: at most a tenth of its time.
const BUDGET_PER_SECOND: u32 = 1500;

/// What became of a signature. The order is that of the counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It is the agent's.
    Verified,
    /// Nobody we know signs with that key.
    UnknownKey,
    /// Malformed, forged, for another site, or of a kind we do not take.
    Invalid,
    /// Not valid now.
    Expired,
    /// Its nonce was here before.
    Repeated,
    /// Too many to look at.
    Skipped,
}

impl Verdict {
    /// All, in their order.
    pub(crate) const ALL: [Self; 6] =
        [Self::Verified, Self::UnknownKey, Self::Invalid, Self::Expired, Self::Repeated, Self::Skipped];

    /// Its label in the metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::UnknownKey => "unknown_key",
            Self::Invalid => "invalid",
            Self::Expired => "expired",
            Self::Repeated => "repeated",
            Self::Skipped => "skipped",
        }
    }
}

/// Checks signatures; shared by all workers.
pub(crate) struct Signatures {
    pub(crate) keyring: Arc<Keyring>,
    origins: Vec<Origin>,
    repeats: Arc<Duplicates>,
    nonces: SipHasher13,
}

impl Signatures {
    pub(crate) fn new(keyring: Arc<Keyring>, origins: Vec<Origin>, repeats: Arc<Duplicates>) -> Self {
        let mut key = [0; 16];
        getrandom::fill(&mut key).expect("the operating system has randomness");
        Self { keyring, origins, repeats, nonces: SipHasher13::new_with_key(&key) }
    }

    /// Judges the signature of a request that has one. On a custom domain it must be for that one.
    pub(crate) fn judge(
        &self,
        parts: &Parts,
        domain: Option<&Origin>,
        now_ms: i64,
        budget: &Budget,
    ) -> Verdict {
        if !budget.take(now_ms) {
            return Verdict::Skipped;
        }
        let now_s = now_ms.div_euclid(1000);
        let Ok(signed) = Signed::find(parts) else { return Verdict::Invalid };
        let public = match self.keyring.find(&signed.key_id, now_s) {
            Found::Valid(public) => public,
            Found::Expired => return Verdict::Expired,
            Found::Nobody => return Verdict::UnknownKey,
        };
        let (created, expires) = (signed.created, signed.expires);
        if created > now_s.saturating_add(SKEW_S) || expires <= now_s {
            return Verdict::Expired;
        }
        if expires.saturating_sub(created) > LIFETIME_S_MAX {
            return Verdict::Invalid;
        }
        let nonce = signed
            .nonce
            .as_ref()
            .map(|nonce| self.nonces.hash(format!("{} {nonce}", signed.key_id).as_bytes()));
        let origins = domain.map_or(&self.origins[..], std::slice::from_ref);
        if verify(signed, parts, origins, &public).is_err() {
            return Verdict::Invalid;
        }
        // Only now: a forged request must not use up the nonce of a real one.
        match nonce {
            Some(nonce) if self.repeats.seen(nonce, NONCES, now_ms, NONCE_MS) => Verdict::Repeated,
            _ => Verdict::Verified,
        }
    }
}

/// A nonce is remembered for as long as a signature with it can be valid.
const NONCE_MS: u32 = (LIFETIME_S_MAX + SKEW_S) as u32 * 1000;
/// No link has this key: the token of 0 is never handed out.
const NONCES: LinkKey = LinkKey(0);

/// What a signature of this request would have to be of.
#[cfg(feature = "fuzzing")]
pub(crate) fn base(parts: &Parts, origins: &[Origin]) -> Option<String> {
    Signed::find(parts).ok()?.base(parts, origins).ok()
}

fn verify(signed: Signed, parts: &Parts, origins: &[Origin], public: &[u8; 32]) -> Result<(), Unusable> {
    let signature = signed.signature.clone();
    let base = signed.base(parts, origins)?;
    UnparsedPublicKey::new(&ED25519, public).verify(base.as_bytes(), &signature).map_err(|_| Unusable)
}

/// How many signatures a worker still looks at this second.
#[derive(Default, Debug)]
pub(crate) struct Budget {
    second: Cell<i64>,
    used: Cell<u32>,
}

impl Budget {
    fn take(&self, now_ms: i64) -> bool {
        let second = now_ms.div_euclid(1000);
        if self.second.replace(second) != second {
            self.used.set(0);
        }
        let used = self.used.get();
        self.used.set(used.saturating_add(1));
        used < BUDGET_PER_SECOND
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
