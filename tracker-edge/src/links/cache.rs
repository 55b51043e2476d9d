//! The links this edge knows, in memory.
//!
//! About 75 bytes a link with a 70-byte destination: a slot, a few varints, and what the destination has
//! beyond its origin; what links of a program share is kept once. Look-ups take no lock. Bounded by a
//! budget of bytes: beyond it, links nobody clicked since the last time make room, and are fetched again
//! when someone does.
//!
//! The higher version of a record wins, whatever the order they come in.

use super::profile::{Profile, Profiles, split_origin};
use super::shard::{self, SHARDS, Scratch, Shard};
use super::stored;
use shared::{ClassSet, Clock, LinkKey, LinkRecord, LinkStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use super::shard::Put;

/// A record this much older than its last check is checked again, in minutes.
pub(crate) const CHECK_AFTER_MINUTES: u16 = 5;

/// A link as a click needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) status: LinkStatus,
    pub(crate) advertiser: u32,
    pub(crate) affiliate: u32,
    pub(crate) pay_classes: ClassSet,
    pub(crate) dedup_seconds: u16,
    pub(crate) click_id_param: &'a str,
    pub(crate) has_macros: bool,
    /// Scheme, host and port of the destination.
    pub(crate) origin: &'a str,
    /// The destination from its path on.
    pub(crate) rest: &'a [u8],
    /// The record has not been compared with Redis for a while, and this reader is the one to ask for it.
    pub(crate) check_due: bool,
}

impl<'a> From<LinkRecord<'a>> for Found<'a> {
    fn from(record: LinkRecord<'a>) -> Self {
        let (origin, rest) = split_origin(record.destination);
        Self {
            status: record.status,
            advertiser: record.advertiser,
            affiliate: record.affiliate,
            pay_classes: record.pay_classes,
            dedup_seconds: record.dedup_seconds,
            click_id_param: record.click_id_param,
            has_macros: record.has_macros,
            origin,
            rest: rest.as_bytes(),
            check_due: false,
        }
    }
}

/// The map.
pub(crate) struct Cache {
    shards: Box<[Shard]>,
    profiles: Profiles,
    budget_per_shard: usize,
    clock: Arc<dyn Clock>,
    evicted: AtomicU64,
}

impl Cache {
    pub(crate) fn new(budget_bytes: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::new()).collect(),
            profiles: Profiles::new(),
            budget_per_shard: budget_bytes / SHARDS,
            clock,
            evicted: AtomicU64::new(0),
        }
    }

    /// Minutes, modulo 2^16: enough to tell how long ago a check was.
    fn minute(&self) -> u16 {
        minute_of(self.clock.now_ms())
    }

    /// The link, if it is known. `now_ms` is passed in because the caller has just asked for it.
    #[inline]
    pub(crate) fn get<'a>(
        &'a self,
        link: LinkKey,
        now_ms: i64,
        scratch: &'a mut Scratch,
    ) -> Option<Found<'a>> {
        let hash = shard::hash(link);
        let copied = self.shards[shard::shard_of(hash)].get(
            hash,
            link,
            minute_of(now_ms),
            CHECK_AFTER_MINUTES,
            scratch,
        )?;
        let stored = stored::decode(scratch.get(..copied.len)?)?;
        let profile = self.profiles.get(stored.profile)?;
        Some(Found {
            status: stored.status,
            advertiser: profile.advertiser,
            affiliate: stored.affiliate,
            pay_classes: profile.pay_classes(),
            dedup_seconds: profile.dedup_seconds,
            click_id_param: &profile.click_id_param,
            has_macros: stored.has_macros,
            origin: &profile.origin,
            rest: stored.rest,
            check_due: copied.check_due,
        })
    }

    /// Offers a record; it is kept if it is newer than what is here.
    pub(crate) fn put(&self, record: &LinkRecord<'_>) -> Put {
        let (origin, rest) = split_origin(record.destination);
        let Some(profile) = self.profiles.intern(record, origin) else { return Put::Refused };
        let mut bytes = Vec::with_capacity(rest.len() + 24);
        stored::encode(record, profile, rest, &mut bytes);
        let hash = shard::hash(record.link);
        let shard = &self.shards[shard::shard_of(hash)];
        let (put, evicted) =
            shard.put(hash, record.link, record.version, &bytes, self.minute(), self.budget_per_shard);
        if evicted > 0 {
            self.evicted.fetch_add(evicted as u64, Ordering::Relaxed);
        }
        put
    }

    /// Notes that a link was compared with Redis just now.
    pub(crate) fn checked(&self, link: LinkKey) {
        let hash = shard::hash(link);
        self.shards[shard::shard_of(hash)].checked(hash, link, self.minute());
    }

    /// The links of one shard that were not compared with Redis for so many minutes; 0 for all.
    pub(crate) fn unchecked_in(&self, shard: usize, minutes: u16) -> Vec<LinkKey> {
        self.shards.get(shard).map_or_else(Vec::new, |shard| shard.keys_unchecked_for(minutes, self.minute()))
    }

    /// Calls `each` with every link of one shard, as a record.
    pub(crate) fn for_each_in(&self, shard: usize, mut each: impl FnMut(&LinkRecord<'_>)) {
        let Some(shard) = self.shards.get(shard) else { return };
        let mut destination = String::new();
        shard.for_each(|link, _, bytes| {
            let Some(stored) = stored::decode(bytes) else { return };
            let Some(profile) = self.profiles.get(stored.profile) else { return };
            let Ok(rest) = std::str::from_utf8(stored.rest) else { return };
            destination.clear();
            destination.push_str(&profile.origin);
            destination.push_str(rest);
            each(&record_of(link, &stored, profile, &destination));
        });
    }

    /// Links, bytes and profiles held.
    pub(crate) fn size(&self) -> Size {
        let (links, bytes) =
            self.shards.iter().map(Shard::size).fold((0, 0), |(links, bytes), (more_links, more_bytes)| {
                (links + more_links, bytes + more_bytes)
            });
        Size { links, bytes, profiles: self.profiles.len(), evicted: self.evicted.load(Ordering::Relaxed) }
    }
}

/// What the map holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) links: usize,
    pub(crate) bytes: usize,
    pub(crate) profiles: usize,
    /// Links that had to make room, ever.
    pub(crate) evicted: u64,
}

const fn minute_of(now_ms: i64) -> u16 {
    (now_ms / 60_000) as u16
}

fn record_of<'a>(
    link: LinkKey,
    stored: &stored::Stored<'_>,
    profile: &'a Profile,
    destination: &'a str,
) -> LinkRecord<'a> {
    LinkRecord {
        link,
        version: stored.version,
        status: stored.status,
        advertiser: profile.advertiser,
        program: profile.program,
        affiliate: stored.affiliate,
        pay_classes: profile.pay_classes(),
        dedup_seconds: profile.dedup_seconds,
        click_id_param: &profile.click_id_param,
        has_macros: stored.has_macros,
        destination,
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
