//! How alike two sides are by what they say of themselves.

use super::{Profile, Stems, words_of};
use std::collections::HashMap;

/// Words named in a reason.
const WORDS_NAMED_MAX: usize = 5;
/// As many shared words as a very good match has: a long profile must not make every match look poor.
const WORDS_FULL: usize = 6;

/// What each word tells, by how few have it: words everybody uses tell nothing.
pub(super) struct Rarity {
    worth: HashMap<String, f64>,
    full: f64,
}

impl Rarity {
    /// Of the words that each of a pool shares.
    pub(super) fn of<'a>(shared: impl Iterator<Item = &'a [String]>) -> Self {
        let mut having: HashMap<&str, usize> = HashMap::new();
        let mut all = 0_usize;
        for stems in shared {
            all += 1;
            for stem in stems {
                *having.entry(stem).or_default() += 1;
            }
        }
        let worth = |count: usize| ((all as f64 + 1.0) / (count as f64 + 0.5)).ln().max(0.0);
        let worth: HashMap<String, f64> =
            having.into_iter().map(|(stem, count)| (stem.to_owned(), worth(count))).collect();
        let mut most: Vec<f64> = worth.values().copied().collect();
        most.sort_by(|a, b| b.total_cmp(a));
        let full = most.iter().take(WORDS_FULL).sum();
        Self { worth, full }
    }

    fn worth(&self, stem: &str) -> f64 {
        self.worth.get(stem).copied().unwrap_or_default()
    }

    /// 0 to 1: how much of what could be shared is.
    fn words(&self, shared: &[String]) -> f64 {
        if self.full <= 0.0 {
            return 0.0;
        }
        (shared.iter().map(|stem| self.worth(stem)).sum::<f64>() / self.full).min(1.0)
    }
}

/// The other side.
#[derive(Clone, Copy)]
pub(super) struct Other<'a> {
    pub(super) niche: Option<&'a str>,
    pub(super) audience_type: Option<&'a str>,
    /// The stems it has of the profile's.
    pub(super) shared: &'a [String],
}

/// Each 0 to 1.
#[derive(Clone, Copy)]
pub(super) struct Likeness {
    pub(super) niche: f64,
    pub(super) words: f64,
    pub(super) audience: f64,
}

impl Likeness {
    /// The likeness, with its reasons. They repeat only words that both sides have used.
    pub(super) fn of(
        profile: &Profile,
        stems: &Stems,
        other: Other<'_>,
        rarity: &Rarity,
        reasons: &mut Vec<String>,
    ) -> Self {
        let mut said: Vec<String> = Vec::new();
        let niche = both(profile.niche.as_deref(), other.niche);
        if let Some(niche) = niche {
            reasons.push(format!("Both are about {niche}"));
            said = words_of(std::iter::once(niche));
        }
        let audience = both(profile.audience_type.as_deref(), other.audience_type);
        reasons.extend(audience.map(|audience| format!("Both reach {audience}")));
        let mut shared: Vec<&String> = other.shared.iter().collect();
        shared.sort_by(|a, b| rarity.worth(b).total_cmp(&rarity.worth(a)).then(a.cmp(b)));
        let named = shared.iter().map(|stem| stems.word(stem));
        let named: Vec<&str> =
            named.filter(|word| !said.iter().any(|one| one == word)).take(WORDS_NAMED_MAX).collect();
        if !named.is_empty() {
            reasons.push(format!("Shared words: {}", named.join(", ")));
        }
        let whole = |found: Option<&str>| if found.is_some() { 1.0 } else { 0.0 };
        Self { niche: whole(niche), words: rarity.words(other.shared), audience: whole(audience) }
    }
}

/// The word, when both say the same, in any case of letters.
fn both<'a>(one: Option<&'a str>, other: Option<&str>) -> Option<&'a str> {
    let folded = |text: &str| text.trim().to_lowercase();
    one.filter(|one| other.is_some_and(|other| folded(one) == folded(other)))
}
