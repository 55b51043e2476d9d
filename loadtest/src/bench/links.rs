//! The links of a bench: how many there are, where they lead, and in which order they are clicked.
//!
//! Destinations are 79 bytes, as tracking links have them, on 200 hosts. The order follows Zipf's law with
//! exponent 1: the most popular link gets about 7 % of a million links' clicks. Everything is a function of
//! the link's number, so that no expectation is stored and every reply can be compared byte for byte.

use shared::{LinkKey, Secret, Token, TokenKey};
use std::io::Write;

/// Clicks after which the order repeats: a power of two.
const ORDER_LEN: usize = 1 << 20;
const HOSTS: u32 = 200;
/// User agents, by Zipf's law too: browsers name themselves by their major version nowadays, so that a busy edge
/// sees a few hundred in a minute.
const BROWSERS: u32 = 1000;

/// Links, by number.
pub(crate) struct Links {
    tokens: Vec<Token>,
    keys: Vec<LinkKey>,
    order: Vec<u32>,
}

impl Links {
    /// So many links with tokens of this secret.
    pub(crate) fn new(count: u32, secret: &Secret) -> Self {
        let minter = TokenKey::new(secret);
        // Not random: a run can be repeated.
        let keys: Vec<_> = (1..=u64::from(count)).map(|n| LinkKey(mix(n))).collect();
        let tokens = keys.iter().map(|key| minter.mint(*key)).collect();
        let order = (0..ORDER_LEN as u64).map(|nth| popular(mix(nth ^ 0x5eed), count)).collect();
        Self { tokens, keys, order }
    }

    /// How many.
    pub(crate) fn count(&self) -> u32 {
        self.tokens.len() as u32
    }

    /// A link's key.
    pub(crate) fn key(&self, link: u32) -> LinkKey {
        self.keys[link as usize]
    }

    /// A link's token.
    pub(crate) fn token(&self, link: u32) -> &str {
        self.tokens[link as usize].as_str()
    }

    /// The link of the n-th click.
    pub(crate) fn nth_click(&self, nth: u64) -> u32 {
        self.order[nth as usize & (ORDER_LEN - 1)]
    }
}

/// The browser of the n-th click, which is all that tells visitors apart.
pub(crate) fn nth_browser(nth: u64) -> u32 {
    popular(mix(nth), BROWSERS)
}

/// Writes where a link leads.
pub(crate) fn destination(link: u32, out: &mut Vec<u8>) {
    out.clear();
    // A vector takes everything.
    write!(
        out,
        "https://shop{:03}.example/products/{link:07}?utm_source=partner&utm_medium=referral",
        link % HOSTS
    )
    .expect("a vector takes everything");
}

/// A link by Zipf's law: the logarithm of its rank is spread evenly.
fn popular(random: u64, count: u32) -> u32 {
    let even = (random >> 11) as f64 / (1u64 << 53) as f64;
    let rank = (f64::from(count) + 1.0).powf(even);
    (rank as u32).clamp(1, count) - 1
}

/// SplitMix64's output function: spreads numbers evenly over 64 bits, each to another one.
pub(crate) const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_links_have_most_of_the_clicks() {
        let count = 1_000_000;
        let clicks: Vec<u32> = (0..100_000).map(|nth| popular(mix(nth), count)).collect();
        let among = |first: u32| clicks.iter().filter(|link| **link < first).count();
        // ln 2 / ln 1,000,001 = 5.0 %, ln 1,001 / ln 1,000,001 = 50 %.
        assert!((4_500..5_600).contains(&among(1)), "{}", among(1));
        assert!((49_000..51_000).contains(&among(1_000)), "{}", among(1_000));
        assert_eq!(among(count), clicks.len());
    }

    #[test]
    fn destinations_are_as_long_as_real_ones() {
        let mut out = Vec::new();
        destination(999_999, &mut out);
        assert_eq!(out.len(), 79);
        assert!(out.starts_with(b"https://shop199.example/products/0999999?"));
    }
}
