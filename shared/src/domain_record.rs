//! What the control plane publishes about a custom domain, and the edge answers it with.
//!
//! Version 1, 32 bytes, two texts and a sealed part. The record's own version is big-endian and stands where
//! link records have theirs, so that a Redis script can compare two records without decoding them.
//!
//! ```text
//!   0  format = 1        1
//!   1  flags             1   bit 0: removed, bit 1: has a certificate; little-endian, as all but the version
//!   2  host length       1
//!   3  zero              1
//!   4  owner             4   account number
//!   8  version           8   BIG-endian; higher replaces lower
//!  16  not after         8   s since the Unix epoch; 0 without a certificate
//!  24  chain length      4
//!  28  sealed length     4
//!  32  host, chain (PEM), nonce (12), sealed private key (PEM) and tag (16)
//! ```
//!
//! The private key is sealed by AES-256-GCM under a key of this use alone, and everything before the nonce is
//! authenticated with it, also when there is no certificate: who can write to Redis but does not know the
//! deployment's secret can neither read a private key nor give a host to another owner.

use crate::secret::Secret;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;
use std::fmt;
use zeroize::Zeroizing;

/// A custom domain as the edge knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DomainRecord {
    /// Lower-case ASCII (punycode), no port, no trailing dot, at most 253 bytes.
    pub host: String,
    /// Account number: only links it promotes or pays for are served on the host.
    pub owner: u32,
    /// Grows with every change of what the record says; the higher one is right.
    pub version: u64,
    /// Nothing is served on the host any more.
    pub removed: bool,
    /// What TLS is answered with; none yet while the first one is being issued.
    pub certificate: Option<Certificate>,
}

/// A certificate and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate, then those up to a root: PEM, at most [`CHAIN_LEN_MAX`] bytes.
    pub chain_pem: String,
    /// PKCS #8 in PEM, at most [`KEY_LEN_MAX`] bytes. Wiped when dropped.
    pub key_pem: Zeroizing<String>,
    /// When the first certificate of the chain expires, s since the Unix epoch.
    pub not_after_unix: i64,
}

impl fmt::Debug for Certificate {
    /// Shows no key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("not_after_unix", &self.not_after_unix).finish_non_exhaustive()
    }
}

const FORMAT: u8 = 1;
const HEADER_LEN: usize = 32;
const FLAG_REMOVED: u8 = 1;
const FLAG_CERTIFICATE: u8 = 2;
const TAG_LEN: usize = 16;

/// Longest name there is (RFC 1035).
pub const HOST_LEN_MAX: usize = 253;
/// Chains of real authorities have 3 to 8 KiB.
pub const CHAIN_LEN_MAX: usize = 64 * 1024;
/// An RSA key of 8,192 bits has 6.4 KiB.
pub const KEY_LEN_MAX: usize = 16 * 1024;

/// Why bytes are not a domain record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DomainRecordError {
    /// A format this build does not know.
    #[error("domain record format {0} is unknown to this build")]
    UnknownFormat(u8),
    /// Damaged.
    #[error("domain record is malformed")]
    Malformed,
    /// Sealed with another secret, or changed since.
    #[error("domain record was sealed with another secret or changed since")]
    NotSealedByUs,
}

/// What domain records are sealed with.
#[derive(Clone)]
pub struct DomainKey(LessSafeKey);

impl DomainKey {
    /// The key of this deployment.
    pub fn new(secret: &Secret) -> Self {
        let master = secret.derive("domain records v1");
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"affiliateos").extract(&master);
        let okm = prk.expand(&[b"AES-256-GCM"], &AES_256_GCM).expect("a key is shorter than HKDF's limit");
        Self(LessSafeKey::new(UnboundKey::from(okm)))
    }
}

impl fmt::Debug for DomainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DomainKey(…)")
    }
}

impl DomainRecord {
    /// The record's bytes, other ones each time. Texts over their limits are a bug of the caller, who checked them.
    pub fn encode(&self, key: &DomainKey) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).expect("the operating system has randomness");
        self.encode_with(key, nonce)
    }

    fn encode_with(&self, key: &DomainKey, nonce: [u8; NONCE_LEN]) -> Vec<u8> {
        let (chain, private, not_after) = self.certificate.as_ref().map_or(("", "", 0), |certificate| {
            (certificate.chain_pem.as_str(), certificate.key_pem.as_str(), certificate.not_after_unix)
        });
        assert!(is_host(self.host.as_bytes()), "checked when stored");
        assert!(chain.len() <= CHAIN_LEN_MAX && private.len() <= KEY_LEN_MAX, "checked when issued");
        let flags =
            u8::from(self.removed) * FLAG_REMOVED + u8::from(self.certificate.is_some()) * FLAG_CERTIFICATE;
        let sealed_len = NONCE_LEN + private.len() + TAG_LEN;
        let mut out = Vec::with_capacity(HEADER_LEN + self.host.len() + chain.len() + sealed_len);
        out.extend_from_slice(&[FORMAT, flags, self.host.len() as u8, 0]);
        out.extend_from_slice(&self.owner.to_le_bytes());
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(&not_after.to_le_bytes());
        out.extend_from_slice(&(chain.len() as u32).to_le_bytes());
        out.extend_from_slice(&(sealed_len as u32).to_le_bytes());
        out.extend_from_slice(self.host.as_bytes());
        out.extend_from_slice(chain.as_bytes());
        let mut sealed = Zeroizing::new(private.as_bytes().to_vec());
        let tag = key
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&out), &mut sealed)
            .expect("a private key is far shorter than the cipher's limit");
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        out.extend_from_slice(tag.as_ref());
        out
    }

    /// Reads a record. Never panics.
    pub fn decode(bytes: &[u8], key: &DomainKey) -> Result<Self, DomainRecordError> {
        use DomainRecordError::{Malformed, NotSealedByUs, UnknownFormat};
        match bytes.first() {
            None => return Err(Malformed),
            Some(&FORMAT) => {}
            Some(&other) => return Err(UnknownFormat(other)),
        }
        let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(Malformed)?;
        let u32_at =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let (flags, chain_len, sealed_len) = (header[1], u32_at(24) as usize, u32_at(28) as usize);
        if flags > FLAG_REMOVED + FLAG_CERTIFICATE || header[3] != 0 {
            return Err(Malformed);
        }
        if chain_len > CHAIN_LEN_MAX || sealed_len > NONCE_LEN + KEY_LEN_MAX + TAG_LEN {
            return Err(Malformed);
        }
        let (host, rest) = rest.split_at_checked(usize::from(header[2])).ok_or(Malformed)?;
        let (chain, sealed) = rest.split_at_checked(chain_len).ok_or(Malformed)?;
        let (nonce, sealed_key) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(Malformed)?;
        if sealed.len() != sealed_len || !is_host(host) {
            return Err(Malformed);
        }
        let mut opened = Zeroizing::new(sealed_key.to_vec());
        let authenticated = &bytes[..bytes.len() - sealed_len];
        let private = key
            .0
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(authenticated), &mut opened)
            .map_err(|_| NotSealedByUs)?;
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed);
        let certificate = if flags & FLAG_CERTIFICATE == 0 {
            None
        } else {
            Some(Certificate {
                chain_pem: text(chain)?,
                key_pem: Zeroizing::new(text(private)?),
                not_after_unix: u64_at(16) as i64,
            })
        };
        Ok(Self {
            host: text(host)?,
            owner: u32_at(4),
            version: u64_at(8).swap_bytes(),
            removed: flags & FLAG_REMOVED != 0,
            certificate,
        })
    }

    /// The version of a record, without opening it: who holds a copy sees what is newer.
    pub fn version_of(bytes: &[u8]) -> Option<u64> {
        let (_, rest) = bytes.split_at_checked(8)?;
        rest.first_chunk().map(|version| u64::from_be_bytes(*version))
    }
}

/// Whether these are the letters of a host in its canonical form. Whether it is a name one can own is the
/// control plane's question.
fn is_host(bytes: &[u8]) -> bool {
    let letter = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    (1..=HOST_LEN_MAX).contains(&bytes.len()) && bytes.iter().all(letter)
}

#[cfg(test)]
mod tests;
