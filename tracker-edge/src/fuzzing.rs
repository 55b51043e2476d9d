//! What the fuzz targets in `fuzz/` reach into: readers of bytes that somebody else wrote. Not part of the
//! program; compiled with the feature `fuzzing` alone.

use crate::addresses::Addresses;
use crate::clicks::signatures::{self, Origin};
use crate::clicks::spool::{SpoolConfig, SpoolSet};
use crate::head::Head;
use crate::links::cache::Cache;
use crate::links::snapshot;
use crate::route::{Route, route};
use http::request::Parts;
use shared::{LinkRecord, SystemClock};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

/// What the edge makes of a request's head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Judged {
    /// Refused.
    Unsound,
    /// A tracking link's token, to be looked up.
    Token(String),
    /// Anything else that is answered.
    Other,
}

/// Reads a head as a request's way to its answer does.
pub fn judge(parts: &Parts) -> Judged {
    let head = Head::read(&parts.headers);
    if !head.is_sound(parts) {
        return Judged::Unsound;
    }
    match route(&parts.method, parts.uri.path()) {
        Route::Click(token) | Route::Look(token) => Judged::Token(token.to_owned()),
        Route::WrongMethod | Route::Nowhere => Judged::Other,
    }
}

/// The client's address behind a trusted proxy on loopback.
pub fn client_of(forwarded: &[&str]) -> IpAddr {
    let addresses = Addresses::new(None, vec![IpAddr::from(Ipv4Addr::LOCALHOST).into()], Vec::new());
    addresses.client_of(Ipv4Addr::LOCALHOST.into(), forwarded.iter().copied())
}

/// The bytes a signature would have to sign, for a site at this origin; `None` when there is nothing to verify.
pub fn signature_base(parts: &Parts, origin: &str) -> Option<String> {
    signatures::base(parts, &[Origin::parse(origin)?])
}

/// Writes a snapshot of these links.
pub fn save_snapshot(path: &Path, links: &[LinkRecord<'_>]) -> std::io::Result<u64> {
    let cache = Cache::new(1 << 24, Arc::new(SystemClock));
    for link in links {
        cache.put(link);
    }
    snapshot::save(path, &cache, None)
}

/// Reads a snapshot; gives how many links it had, and how many there are in the map then.
pub fn load_snapshot(path: &Path) -> Option<(u64, u64)> {
    let cache = Cache::new(1 << 24, Arc::new(SystemClock));
    let (links, _) = snapshot::load(path, &cache).ok()?;
    Some((links, cache.size().links as u64))
}

/// Recovers a spool folder and gives how many spools it had. Nothing is written to it afterwards.
pub fn recover(folder: &Path) -> Option<usize> {
    let config = SpoolConfig { segment_bytes: 64 << 10, ..SpoolConfig::new(folder) };
    SpoolSet::open_still(config).ok().map(|set| set.report().len())
}
