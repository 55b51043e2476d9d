//! SLAT tokens: proof that an agent recommended a merchant, which the merchant can check offline.
//!
//! A token is `slat_v1_` and the unpadded URL-safe base64 of 158 bytes: 94 bytes of payload and 64 of
//! Ed25519 signature (RFC 8032) over the ASCII text `slat_v1_` followed by the payload. One algorithm, no
//! choice of it in the token. All numbers are big-endian:
//!
//! ```text
//!   0  key id              2   names a key of /.well-known/slat-keys.json
//!   2  issued at           8   seconds since the Unix epoch
//!  10  valid for           4   seconds: the attribution window
//!  14  event              16   UUID; `evt_` and its hex under /v1
//!  30  merchant           16   UUID; `merch_` and its hex
//!  46  program            16   UUID
//!  62  publisher          16   UUID; `pub_` and its hex
//!  78  nonce              16   random; spent once
//! ```
//!
//! Keys are numbered generations derived from the deployment's secret, so every node has them without
//! storing any. The current one signs; the one before it is still accepted and published, and the next one
//! is published ahead, so that a merchant who caches the key list sees a rotation coming.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::Serialize;
use shared::Secret;
use shared::id::{AgentId, AttributionEventId, ProgramId};
use utoipa::ToSchema;
use uuid::Uuid;

/// What every token starts with.
pub const PREFIX: &str = "slat_v1_";
/// How long a token is valid unless the program says otherwise, in seconds.
pub const WINDOW_SECONDS_DEFAULT: u32 = 86_400;
/// Clocks of merchants and ours may differ by this much, in seconds.
pub const SKEW_SECONDS: i64 = 60;
const PAYLOAD_LEN: usize = 94;
const SIGNATURE_LEN: usize = 64;

/// What a token says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claims {
    /// Seconds since the Unix epoch.
    pub issued_at: i64,
    /// Seconds.
    pub valid_for: u32,
    /// The tracked event.
    pub event: AttributionEventId,
    /// Who may redeem it.
    pub merchant: AgentId,
    /// The program it counts for.
    pub program: ProgramId,
    /// Who earns.
    pub publisher: AgentId,
    /// Spent once.
    pub nonce: Uuid,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Forged, altered, truncated, or signed by a key that is no longer accepted.
    Invalid,
    /// Genuine, but outside its window.
    Expired {
        /// Its age in seconds.
        age: i64,
        /// The window in seconds.
        max_age: u32,
    },
}

/// Signs and verifies tokens with the generations in force.
pub struct SlatKeys {
    current: u16,
    pairs: Vec<(u16, Ed25519KeyPair)>,
}

impl SlatKeys {
    /// The keys when generation `current` signs.
    pub fn new(secret: &Secret, current: u16) -> Self {
        let generations = [current.checked_sub(1), Some(current), current.checked_add(1)];
        let pairs =
            generations.into_iter().flatten().map(|generation| (generation, pair(secret, generation)));
        Self { current, pairs: pairs.collect() }
    }

    fn pair_of(&self, generation: u16) -> Option<&Ed25519KeyPair> {
        self.pairs.iter().find(|(number, _)| *number == generation).map(|(_, pair)| pair)
    }

    /// A token that says this.
    pub fn sign(&self, claims: &Claims) -> String {
        let mut message = Vec::with_capacity(PREFIX.len() + PAYLOAD_LEN);
        message.extend_from_slice(PREFIX.as_bytes());
        message.extend_from_slice(&self.current.to_be_bytes());
        message.extend_from_slice(&claims.issued_at.to_be_bytes());
        message.extend_from_slice(&claims.valid_for.to_be_bytes());
        for id in
            [claims.event.uuid(), claims.merchant.uuid(), claims.program.uuid(), claims.publisher.uuid()]
        {
            message.extend_from_slice(id.as_bytes());
        }
        message.extend_from_slice(claims.nonce.as_bytes());
        let pair = self.pair_of(self.current).expect("the current generation is always among the pairs");
        let signature = pair.sign(&message);
        let mut raw = message.split_off(PREFIX.len());
        raw.extend_from_slice(signature.as_ref());
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(raw))
    }

    /// What a genuine token says, whatever its age.
    pub fn open(&self, token: &str) -> Result<Claims, Refusal> {
        self.decode(token).ok_or(Refusal::Invalid)
    }

    /// What a genuine token says, if it is in its window at `now` (seconds since the Unix epoch).
    pub fn verify(&self, token: &str, now: i64) -> Result<Claims, Refusal> {
        let claims = self.open(token)?;
        let age = now.saturating_sub(claims.issued_at);
        if age < -SKEW_SECONDS {
            return Err(Refusal::Invalid);
        }
        if age > i64::from(claims.valid_for) {
            return Err(Refusal::Expired { age, max_age: claims.valid_for });
        }
        Ok(claims)
    }

    fn decode(&self, token: &str) -> Option<Claims> {
        let body = token.strip_prefix(PREFIX)?;
        let mut raw = [0; PAYLOAD_LEN + SIGNATURE_LEN + 2];
        // Strict base64: no padding, no bits left over, so one token has one spelling.
        if body.len() != 211
            || URL_SAFE_NO_PAD.decode_slice(body, &mut raw).ok()? != PAYLOAD_LEN + SIGNATURE_LEN
        {
            return None;
        }
        let (payload, rest) = raw.split_at_checked(PAYLOAD_LEN)?;
        let signature = rest.get(..SIGNATURE_LEN)?;
        let generation = u16::from_be_bytes(payload.first_chunk().copied()?);
        if generation > self.current {
            return None;
        }
        let pair = self.pair_of(generation)?;
        let mut message = Vec::with_capacity(PREFIX.len() + PAYLOAD_LEN);
        message.extend_from_slice(PREFIX.as_bytes());
        message.extend_from_slice(payload);
        UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref()).verify(&message, signature).ok()?;
        let id = |at: usize| payload.get(at..at + 16).and_then(|bytes| Uuid::from_slice(bytes).ok());
        Some(Claims {
            issued_at: i64::from_be_bytes(payload.get(2..10)?.try_into().ok()?),
            valid_for: u32::from_be_bytes(payload.get(10..14)?.try_into().ok()?),
            event: AttributionEventId::from_uuid(id(14)?),
            merchant: AgentId::from_uuid(id(30)?),
            program: ProgramId::from_uuid(id(46)?),
            publisher: AgentId::from_uuid(id(62)?),
            nonce: id(78)?,
        })
    }

    /// `/.well-known/slat-keys.json`: a JSON Web Key Set (RFC 7517, RFC 8037) of the generations in force.
    pub fn published(&self) -> SlatKeysResponse {
        let keys = self.pairs.iter().map(|(generation, pair)| PublicSlatKey {
            kty: "OKP",
            crv: "Ed25519",
            alg: "EdDSA",
            r#use: "sig",
            kid: generation.to_string(),
            x: URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()),
            state: match generation.cmp(&self.current) {
                std::cmp::Ordering::Less => "retiring",
                std::cmp::Ordering::Equal => "current",
                std::cmp::Ordering::Greater => "next",
            },
        });
        SlatKeysResponse { keys: keys.collect() }
    }
}

/// A JSON Web Key Set.
#[derive(Debug, Serialize, ToSchema)]
pub struct SlatKeysResponse {
    keys: Vec<PublicSlatKey>,
}

/// An Ed25519 public key as RFC 8037 writes it.
#[derive(Debug, Serialize, ToSchema)]
struct PublicSlatKey {
    /// `OKP`.
    kty: &'static str,
    /// `Ed25519`.
    crv: &'static str,
    /// `EdDSA`.
    alg: &'static str,
    /// `sig`.
    r#use: &'static str,
    /// The generation that a token names.
    kid: String,
    /// The key, base64url.
    x: String,
    /// `retiring`, `current` or `next`: all three verify, `current` signs.
    state: &'static str,
}

fn pair(secret: &Secret, generation: u16) -> Ed25519KeyPair {
    let seed = secret.derive(&format!("slat signing key v1 generation {generation}"));
    Ed25519KeyPair::from_seed_unchecked(&seed).expect("any 32 bytes are an Ed25519 seed")
}

#[cfg(test)]
#[path = "slat/tests.rs"]
mod tests;
