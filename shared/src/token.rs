//! The token in a tracking URL.
//!
//! A token is the link's key, 64 random bits, followed by 31 bits of a keyed check, written as 16
//! base62 characters (`0-9A-Za-z`). The check lets an edge refuse a made-up token without a look-up:
//! one random token in 2^31 passes. Every key has exactly one token, and every other text is refused.

use siphasher::sip::SipHasher24;
use std::fmt;

/// Characters of a token.
pub const TOKEN_LEN: usize = 16;
const CHECK_BITS: u32 = 31;
const CHECK_MASK: u64 = (1 << CHECK_BITS) - 1;
const HALF: u64 = 62u64.pow(8);
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const VALUES: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut i = 0;
    while i < 62 {
        table[DIGITS[i] as usize] = i as u8;
        i += 1;
    }
    table
};

/// A link's key: the 64 random bits that name it everywhere. Never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkKey(pub u64);

impl LinkKey {
    /// A fresh random key from the operating system.
    pub fn generate() -> Self {
        loop {
            let key = getrandom::u64().expect("the operating system has randomness");
            if key != 0 {
                return Self(key);
            }
        }
    }

    /// The key as it stands in a `BIGINT` column.
    pub const fn to_i64(self) -> i64 {
        self.0 as i64
    }

    /// The key from a `BIGINT` column.
    pub const fn from_i64(column: i64) -> Self {
        Self(column as u64)
    }
}

/// A token's text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token([u8; TOKEN_LEN]);

impl Token {
    /// The 16 characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base62 is ASCII")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Makes and checks tokens.
#[derive(Clone)]
pub struct TokenKey(SipHasher24);

impl TokenKey {
    /// The key of this deployment.
    pub fn new(secret: &crate::Secret) -> Self {
        Self(SipHasher24::new_with_key(&secret.derive_sip("token check v1")))
    }

    fn check(&self, link: LinkKey) -> u64 {
        self.0.hash(&link.0.to_le_bytes()) & CHECK_MASK
    }

    /// The one token of a link.
    pub fn mint(&self, link: LinkKey) -> Token {
        let value = (u128::from(link.0) << CHECK_BITS) | u128::from(self.check(link));
        let mut high = (value / u128::from(HALF)) as u64;
        let mut low = (value % u128::from(HALF)) as u64;
        let mut text = [0; TOKEN_LEN];
        for i in (0..8).rev() {
            text[i] = DIGITS[(high % 62) as usize];
            text[i + 8] = DIGITS[(low % 62) as usize];
            high /= 62;
            low /= 62;
        }
        Token(text)
    }

    /// The link a token names, or `None` for anything this deployment did not mint.
    /// Constant work, no allocation: this runs on every request.
    #[inline]
    pub fn parse(&self, text: &[u8]) -> Option<LinkKey> {
        let text: &[u8; TOKEN_LEN] = text.try_into().ok()?;
        let (mut high, mut low, mut seen) = (0u64, 0u64, 0u8);
        for i in 0..8 {
            let (h, l) = (VALUES[text[i] as usize], VALUES[text[i + 8] as usize]);
            seen |= h | l;
            high = high * 62 + u64::from(h & 63);
            low = low * 62 + u64::from(l & 63);
        }
        if seen & 0x80 != 0 {
            return None;
        }
        let value = u128::from(high) * u128::from(HALF) + u128::from(low);
        let link = value >> CHECK_BITS;
        let link = LinkKey(u64::try_from(link).ok()?);
        (link.0 != 0 && self.check(link) == value as u64 & CHECK_MASK).then_some(link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> TokenKey {
        TokenKey::new(&crate::Secret::from_bytes([7; 32]))
    }

    #[test]
    fn the_format_is_frozen() {
        assert_eq!(key().mint(LinkKey(0x0123_4567_89ab_cdef)).as_str(), GOLDEN);
        assert_eq!(key().parse(GOLDEN.as_bytes()), Some(LinkKey(0x0123_4567_89ab_cdef)));
    }
    const GOLDEN: &str = "0ECBc2xYuhVeaNv0";

    #[test]
    fn other_lengths_and_letters_are_refused() {
        for bad in ["", "0", "0ECBc2xYuhVeaNv", "0ECBc2xYuhVeaNv00", "0ECBc2xYuhVeaNv_", "zzzzzzzzzzzzzzzz"] {
            assert_eq!(key().parse(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_key_comes_back(link in 1u64..) {
            let token = key().mint(LinkKey(link));
            prop_assert_eq!(key().parse(token.as_str().as_bytes()), Some(LinkKey(link)));
        }

        #[test]
        fn a_changed_letter_is_refused(link in 1u64.., at in 0usize..16, to in 0usize..62) {
            let mut text = key().mint(LinkKey(link)).0;
            prop_assume!(text[at] != DIGITS[to]);
            text[at] = DIGITS[to];
            prop_assert_eq!(key().parse(&text), None);
        }

        #[test]
        fn another_secret_refuses(link in 1u64..) {
            let other = TokenKey::new(&crate::Secret::from_bytes([8; 32]));
            prop_assert_eq!(other.parse(key().mint(LinkKey(link)).as_str().as_bytes()), None);
        }
    }
}
