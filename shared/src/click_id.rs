//! The click id: self-describing and authenticated.
//!
//! 24 bytes of payload (`at_ms` 6, spool tag 4, sequence 6, link 8, all big-endian) and 8 bytes of
//! SipHash-2-4 over them, written as 43 characters of unpadded URL-safe base64. It tells when, where
//! and on which link the click happened before the click has reached the database, and a made-up one
//! is refused without a look-up.

use crate::token::LinkKey;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use siphasher::sip::SipHasher24;

/// Characters of a click id.
pub const CLICK_ID_LEN: usize = 43;

/// What a click id says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClickId {
    /// Edge's wall clock, milliseconds since the Unix epoch; 48 bits.
    pub at_ms: i64,
    /// The first four bytes of the spool's id, big-endian.
    pub spool_tag: u32,
    /// Sequence in the spool; 48 bits.
    pub seq: u64,
    /// The link clicked.
    pub link: LinkKey,
}

/// Makes and checks click ids.
#[derive(Clone)]
pub struct ClickIdKey(SipHasher24);

impl ClickIdKey {
    /// The key of this deployment.
    pub fn new(secret: &crate::Secret) -> Self {
        Self(SipHasher24::new_with_key(&secret.derive_sip("click id v1")))
    }

    /// The text of an id.
    pub fn mint(&self, id: &ClickId) -> [u8; CLICK_ID_LEN] {
        let mut raw = [0; 32];
        raw[..6].copy_from_slice(&id.at_ms.to_be_bytes()[2..]);
        raw[6..10].copy_from_slice(&id.spool_tag.to_be_bytes());
        raw[10..16].copy_from_slice(&id.seq.to_be_bytes()[2..]);
        raw[16..24].copy_from_slice(&id.link.0.to_be_bytes());
        let tag = self.0.hash(&raw[..24]);
        raw[24..].copy_from_slice(&tag.to_be_bytes());
        let mut text = [0; CLICK_ID_LEN];
        URL_SAFE_NO_PAD.encode_slice(raw, &mut text).expect("32 bytes are 43 characters");
        text
    }

    /// The id behind a text, or `None` for anything this deployment did not mint.
    pub fn parse(&self, text: &str) -> Option<ClickId> {
        let mut raw = [0; 33];
        if text.len() != CLICK_ID_LEN || URL_SAFE_NO_PAD.decode_slice(text, &mut raw).ok()? != 32 {
            return None;
        }
        let tag = u64::from_be_bytes(raw[24..32].try_into().ok()?);
        // One 64-bit comparison: there is no byte-by-byte timing to learn from.
        if self.0.hash(&raw[..24]) != tag {
            return None;
        }
        let wide = |bytes: &[u8]| bytes.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        Some(ClickId {
            at_ms: wide(&raw[..6]) as i64,
            spool_tag: wide(&raw[6..10]) as u32,
            seq: wide(&raw[10..16]),
            link: LinkKey(wide(&raw[16..24])),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> ClickIdKey {
        ClickIdKey::new(&crate::Secret::from_bytes([7; 32]))
    }

    proptest! {
        #[test]
        fn every_id_comes_back(at_ms in 0i64..1 << 48, spool_tag: u32, seq in 0u64..1 << 48, link in 1u64..) {
            let id = ClickId { at_ms, spool_tag, seq, link: LinkKey(link) };
            let text = key().mint(&id);
            prop_assert_eq!(key().parse(std::str::from_utf8(&text).unwrap()), Some(id));
        }

        #[test]
        fn a_changed_letter_is_refused(seq in 0u64..1 << 48, at in 0usize..CLICK_ID_LEN, to in "[A-Za-z0-9_-]") {
            let id = ClickId { at_ms: 1_700_000_000_000, spool_tag: 9, seq, link: LinkKey(5) };
            let mut text = key().mint(&id);
            prop_assume!(text[at] != to.as_bytes()[0]);
            text[at] = to.as_bytes()[0];
            prop_assert_eq!(key().parse(std::str::from_utf8(&text).unwrap()), None);
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            prop_assert_eq!(key().parse(&text), None);
        }
    }
}
