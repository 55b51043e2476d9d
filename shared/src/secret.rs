//! The deployment's secret and the keys derived from it.
//!
//! One 32-byte secret is given to every edge and every control plane (`AOS_SECRET`, 64 hex digits).
//! Each use takes its own key, `HMAC-SHA256(secret, label)`, so that no two uses share one.
//! Changing the secret invalidates every token and click id handed out so far.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The deployment's secret. Its `Debug` shows nothing.
#[derive(Clone)]
pub struct Secret([u8; 32]);

/// Why a text is not a secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a secret is 64 hexadecimal digits (32 bytes); make one with `openssl rand -hex 32`")]
pub struct SecretError;

impl Secret {
    /// Takes the bytes as they are.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads 64 hex digits.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| SecretError)?;
        Ok(Self(bytes))
    }

    /// The 32-byte key for one use; labels are constants of the module that uses the key.
    pub fn derive(&self, label: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(label.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// The 16-byte key for one keyed hash (SipHash-2-4).
    pub fn derive_sip(&self, label: &str) -> [u8; 16] {
        let long = self.derive(label);
        let mut short = [0; 16];
        short.copy_from_slice(&long[..16]);
        short
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
