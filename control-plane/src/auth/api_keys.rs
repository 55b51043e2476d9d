//! API keys: made, shown once, stored as a digest.
//!
//! A key is its kind's prefix, 43 random base62 characters (256 bits) and 6 more that check them, so
//! that a mistyped key is refused without a look-up. Only its SHA-256 is stored: 256 random bits need
//! no slow hash.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM_LEN: usize = 43;
const CHECK_LEN: usize = 6;

/// What a key opens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Everything under `/api`.
    Agent,
    /// Tracking, commissions and payouts under `/v1`.
    Publisher,
    /// Verification under `/v1`.
    Merchant,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Agent, Self::Publisher, Self::Merchant];

    /// What keys of this kind start with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Agent => "aos_live_",
            Self::Publisher => "aff_agent_",
            Self::Merchant => "merch_key_",
        }
    }

    /// The column value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Publisher => "publisher",
            Self::Merchant => "merchant",
        }
    }
}

/// A new key, to be shown once.
pub struct NewKey(SecretString);

/// SHA-256 of a key.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

impl NewKey {
    /// A fresh key from the operating system's randomness.
    pub fn generate(kind: Kind) -> Self {
        let mut random = String::with_capacity(RANDOM_LEN);
        let mut bytes = [0u8; 64];
        while random.len() < RANDOM_LEN {
            getrandom::fill(&mut bytes).expect("the operating system has randomness");
            // 248 is the largest multiple of 62 in a byte: beyond it digits would not be equally likely.
            let fair =
                bytes.iter().filter(|byte| **byte < 248).map(|byte| DIGITS[(byte % 62) as usize] as char);
            random.extend(fair.take(RANDOM_LEN - random.len()));
        }
        let check = check_of(kind, &random);
        Self(format!("{}{random}{check}", kind.prefix()).into())
    }

    /// The key's text. Its only readers are the reply that shows it and its digest.
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }

    /// What is stored.
    pub fn digest(&self) -> Digest {
        Digest::of(self.reveal())
    }

    /// The last four characters, to tell keys apart.
    pub fn last_four(&self) -> String {
        let text = self.reveal();
        text.chars().skip(text.len().saturating_sub(4)).collect()
    }
}

/// Whether a text is a well-formed key, and of which kind. Says nothing about whether it was ever given out.
pub fn kind_of(text: &str) -> Option<Kind> {
    let kind = Kind::ALL.into_iter().find(|kind| text.starts_with(kind.prefix()))?;
    let body = text.strip_prefix(kind.prefix())?;
    if body.len() != RANDOM_LEN + CHECK_LEN || !body.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let (random, check) = body.split_at_checked(RANDOM_LEN)?;
    (check_of(kind, random) == check).then_some(kind)
}

fn check_of(kind: Kind, random: &str) -> String {
    let mut sum = xxhash_rust::xxh3::xxh3_64(format!("{}{random}", kind.prefix()).as_bytes());
    let mut check = String::with_capacity(CHECK_LEN);
    for _ in 0..CHECK_LEN {
        check.push(DIGITS[(sum % 62) as usize] as char);
        sum /= 62;
    }
    check
}

impl Digest {
    /// The digest of a key's text.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// The stored bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Compares with stored bytes in constant time.
    pub fn matches(&self, stored: &[u8]) -> bool {
        self.0.ct_eq(stored).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_recognised_and_typos_are_not() {
        for kind in Kind::ALL {
            let key = NewKey::generate(kind);
            assert_eq!(kind_of(key.reveal()), Some(kind));
            let typo = key.reveal().replacen(|last: char| last.is_ascii_digit(), "z", 1);
            assert!(typo == key.reveal() || kind_of(&typo).is_none());
            assert_eq!(kind_of(&format!("{}x", key.reveal())), None);
        }
        for bad in ["", "aos_live_", "aos_live_abc123", "aos_xxx", "merch_key_ü"] {
            assert_eq!(kind_of(bad), None, "{bad}");
        }
    }
}
