//! What many links have in common, kept once.
//!
//! Links of one program share advertiser, terms and the origin of their destination; a link holds a
//! number instead. Profiles are never changed and never freed: there are about as many as programs.
//! Readers take no lock; writers share one.

use shared::{ClassSet, LinkRecord};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Profiles in a chunk: 4,096 of about 80 bytes are allocated at a time.
const CHUNK: usize = 4096;
/// Chunks at most: 67 million profiles, more than there is memory for.
const CHUNKS: usize = 16_384;

/// The shared part of a link.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Profile {
    /// Account number of who pays.
    pub(crate) advertiser: u32,
    /// Program number.
    pub(crate) program: u32,
    /// Classes that are metered.
    pub(crate) pay_classes: u16,
    /// Duplicate window.
    pub(crate) dedup_seconds: u16,
    /// Query parameter for the click id, or empty.
    pub(crate) click_id_param: Box<str>,
    /// Scheme, host and port of the destination; what follows is the link's own.
    pub(crate) origin: Box<str>,
}

impl Profile {
    fn is_of(&self, record: &LinkRecord<'_>, origin: &str) -> bool {
        self.advertiser == record.advertiser
            && self.program == record.program
            && self.pay_classes == record.pay_classes.0
            && self.dedup_seconds == record.dedup_seconds
            && *self.click_id_param == *record.click_id_param
            && *self.origin == *origin
    }

    /// Metered classes as a set.
    pub(crate) const fn pay_classes(&self) -> ClassSet {
        ClassSet(self.pay_classes)
    }
}

type Chunk = Box<[OnceLock<Profile>]>;

/// All profiles, by number.
pub(crate) struct Profiles {
    chunks: Box<[OnceLock<Chunk>]>,
    hasher: RandomState,
    known: Mutex<Known>,
}

/// Writers' view: numbers by hash. Hashes that clash are chained in a list.
#[derive(Default)]
struct Known {
    by_hash: HashMap<u64, Vec<u32>>,
    len: u32,
}

impl Profiles {
    pub(crate) fn new() -> Self {
        Self {
            chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect(),
            hasher: RandomState::new(),
            known: Mutex::default(),
        }
    }

    /// The profile of a number that [`Self::intern`] gave out.
    #[inline]
    pub(crate) fn get(&self, number: u32) -> Option<&Profile> {
        self.chunks.get(number as usize / CHUNK)?.get()?.get(number as usize % CHUNK)?.get()
    }

    /// The number of a record's shared part; `None` when there is no room for another.
    pub(crate) fn intern(&self, record: &LinkRecord<'_>, origin: &str) -> Option<u32> {
        let hash = self.hasher.hash_one((
            record.advertiser,
            record.program,
            record.pay_classes.0,
            record.dedup_seconds,
            record.click_id_param,
            origin,
        ));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |number: &&u32| self.get(**number).is_some_and(|profile| profile.is_of(record, origin));
        if let Some(number) = known.by_hash.get(&hash).and_then(|numbers| numbers.iter().find(same)) {
            return Some(*number);
        }
        let number = known.len;
        let chunk = self.chunks.get(number as usize / CHUNK)?;
        let cell =
            &chunk.get_or_init(|| (0..CHUNK).map(|_| OnceLock::new()).collect())[number as usize % CHUNK];
        let profile = Profile {
            advertiser: record.advertiser,
            program: record.program,
            pay_classes: record.pay_classes.0,
            dedup_seconds: record.dedup_seconds,
            click_id_param: record.click_id_param.into(),
            origin: origin.into(),
        };
        // The number is new and the lock is held: nobody else can have set it.
        cell.set(profile).ok()?;
        known.len += 1;
        known.by_hash.entry(hash).or_default().push(number);
        Some(number)
    }

    /// Profiles known.
    pub(crate) fn len(&self) -> usize {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).len as usize
    }
}

/// Splits a destination behind its authority: `https://host:1` and `/path?query#fragment`.
pub(crate) fn split_origin(destination: &str) -> (&str, &str) {
    let authority = destination.find("://").map_or(0, |at| at + 3);
    let (_, behind) = destination.split_at_checked(authority).unwrap_or((destination, ""));
    let end = behind.find(['/', '?', '#']).unwrap_or(behind.len());
    destination.split_at_checked(authority + end).unwrap_or((destination, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_end_where_the_path_query_or_fragment_starts() {
        for (destination, origin, rest) in [
            ("https://shop.example/a/b?c=d#e", "https://shop.example", "/a/b?c=d#e"),
            ("http://shop.example:8080?x={sub1}", "http://shop.example:8080", "?x={sub1}"),
            ("https://shop.example#frag", "https://shop.example", "#frag"),
            ("https://shop.example", "https://shop.example", ""),
            ("https://[::1]:7/", "https://[::1]:7", "/"),
            ("nonsense", "nonsense", ""),
        ] {
            assert_eq!(split_origin(destination), (origin, rest));
        }
    }
}
