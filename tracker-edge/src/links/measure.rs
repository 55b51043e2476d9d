//! The link map by itself, for measurements: `examples/link_map.rs` has no other way in, and everybody else
//! has no use for it.

use super::cache::Cache;
use super::shard::Scratch;
use super::{scratch, snapshot};
use shared::{LinkKey, LinkRecord, SystemClock};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A map of links as the edge has one.
pub struct LinkMap {
    cache: Cache,
}

/// What a reader needs for look-ups.
pub struct LinkReader<'a> {
    cache: &'a Cache,
    scratch: Box<Scratch>,
    now_ms: i64,
}

/// What a map holds.
#[derive(Clone, Copy, Debug)]
pub struct LinkMapSize {
    /// Links.
    pub links: usize,
    /// Bytes of slots and arenas.
    pub bytes: usize,
    /// Links that had to make room so far.
    pub evicted: u64,
}

impl LinkMap {
    /// An empty one within a budget of bytes.
    pub fn new(budget_bytes: usize) -> Self {
        Self { cache: Cache::new(budget_bytes, Arc::new(SystemClock)) }
    }

    /// Offers a record.
    pub fn put(&self, record: &LinkRecord<'_>) {
        self.cache.put(record);
    }

    /// A reader; each thread has its own.
    pub fn reader(&self) -> LinkReader<'_> {
        LinkReader { cache: &self.cache, scratch: scratch(), now_ms: shared::Clock::now_ms(&SystemClock) }
    }

    /// What is in it.
    pub fn size(&self) -> LinkMapSize {
        let size = self.cache.size();
        LinkMapSize { links: size.links, bytes: size.bytes, evicted: size.evicted }
    }

    /// Writes a snapshot; returns the number of links.
    pub fn save(&self, path: &Path) -> io::Result<u64> {
        snapshot::save(path, &self.cache, None)
    }

    /// Reads a snapshot; returns the number of links.
    pub fn load(&self, path: &Path) -> io::Result<u64> {
        snapshot::load(path, &self.cache).map(|(links, _)| links).map_err(io::Error::other)
    }
}

impl LinkReader<'_> {
    /// Looks a link up and copies its destination out, as a click does. The length of the destination.
    #[inline]
    pub fn destination_len(&mut self, link: LinkKey) -> Option<usize> {
        let found = self.cache.get(link, self.now_ms, &mut self.scratch)?;
        Some(found.origin.len() + found.rest.len())
    }
}
