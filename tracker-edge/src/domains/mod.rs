//! Custom domains: which host is whose, and what TLS on it is answered with.
//!
//! What must stay true: a request for one of our own hosts pays one comparison of bytes for all this, and
//! nothing while there are no custom domains. A private key is open only from the first handshake that needs
//! it; what is kept, here and on disk, is the record as the control plane sealed it. One record that cannot
//! be read or used is counted and changes nothing else.
//!
//! Limits: [`DOMAINS_MAX`] domains and [`BYTES_MAX`] bytes of records; what is beyond is counted and left out.

pub(crate) mod follow;
pub(crate) mod snapshot;

use crate::clicks::signatures::Origin;
use crate::tls::certificates;
use arc_swap::ArcSwap;
use rustls::sign::CertifiedKey;
use shared::Secret;
use shared::domain_record::{DomainKey, DomainRecord, DomainRecordError};
use shared::keys::Keys;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Custom domains at most.
const DOMAINS_MAX: usize = 100_000;
/// Bytes of their records at most; one has some 5 KiB.
const BYTES_MAX: usize = 512 << 20;
/// Longest name there is.
const HOST_LEN_MAX: usize = shared::domain_record::HOST_LEN_MAX;

type Map = HashMap<Box<str>, Arc<Domain>>;

/// What a host is to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Site {
    /// No custom domain: every link is served.
    Ours,
    /// A custom domain of this account: only its links are.
    Of(u32),
    /// A custom domain that was given up a moment ago: nothing is.
    Removed,
}

/// One domain.
#[derive(Debug)]
struct Domain {
    owner: u32,
    version: u64,
    removed: bool,
    /// As published, the key sealed.
    record: Box<[u8]>,
    /// Opened by the first handshake; `None` when there is none, or it cannot be used.
    certified: OnceLock<Option<Arc<CertifiedKey>>>,
}

/// All custom domains.
pub(crate) struct Domains {
    key: DomainKey,
    keys: Keys,
    snapshot: PathBuf,
    /// Hosts that are ours, as clients write them.
    own: Vec<Box<[u8]>>,
    map: ArcSwap<Map>,
    any: AtomicBool,
    bytes: AtomicU64,
    changed: AtomicBool,
    connected: AtomicBool,
    applied: AtomicU64,
    unreadable: AtomicU64,
    unusable: AtomicU64,
    left_out: AtomicU64,
}

/// What operators are shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) domains: usize,
    pub(crate) bytes: u64,
    pub(crate) applied: u64,
    pub(crate) unreadable: u64,
    pub(crate) unusable: u64,
    pub(crate) left_out: u64,
    pub(crate) connected: bool,
}

impl std::fmt::Debug for Domains {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Domains").field("domains", &self.map.load().len()).finish_non_exhaustive()
    }
}

impl Domains {
    pub(crate) fn new(secret: &Secret, keys: Keys, snapshot: PathBuf, own: &[Origin]) -> Arc<Self> {
        Arc::new(Self {
            key: DomainKey::new(secret),
            keys,
            snapshot,
            own: own.iter().map(|origin| origin.authority().as_bytes().into()).collect(),
            map: ArcSwap::default(),
            any: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            changed: AtomicBool::new(false),
            connected: AtomicBool::new(false),
            applied: AtomicU64::new(0),
            unreadable: AtomicU64::new(0),
            unusable: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        })
    }

    /// What the value of a `Host` is to us.
    #[inline]
    pub(crate) fn site(&self, host: &[u8]) -> Site {
        if !self.any.load(Ordering::Relaxed) || self.own.iter().any(|own| **own == *host) {
            return Site::Ours;
        }
        self.find(host)
    }

    fn find(&self, host: &[u8]) -> Site {
        let name = host.split(|byte| *byte == b':').next().unwrap_or_default();
        let name = name.strip_suffix(b".").unwrap_or(name);
        let mut lower = [0; HOST_LEN_MAX];
        let Some(lower) = lower.get_mut(..name.len()) else { return Site::Ours };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let Ok(name) = std::str::from_utf8(lower) else { return Site::Ours };
        match self.map.load().get(name) {
            None => Site::Ours,
            Some(domain) if domain.removed => Site::Removed,
            Some(domain) => Site::Of(domain.owner),
        }
    }

    /// The certificate for a name that a client asks for.
    pub(crate) fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let map = self.map.load();
        let domain = map.get(name.to_ascii_lowercase().as_str()).filter(|domain| !domain.removed)?;
        domain.certified.get_or_init(|| self.open(&domain.record)).clone()
    }

    /// Opens a record's certificate, once.
    fn open(&self, record: &[u8]) -> Option<Arc<CertifiedKey>> {
        let record = DomainRecord::decode(record, &self.key).ok()?;
        let certificate = record.certificate?;
        match certificates::from_pem(certificate.chain_pem.as_bytes(), certificate.key_pem.as_bytes()) {
            Ok(certified) => Some(certified),
            Err(error) => {
                self.unusable.fetch_add(1, Ordering::Relaxed);
                tracing::error!(domain = record.host, error, "cannot use the certificate of a custom domain");
                None
            }
        }
    }

    /// Takes over records, each unless a newer one is known. With `whole` these are all there are.
    fn take(&self, records: Vec<Vec<u8>>, whole: bool) {
        let known = self.map.load_full();
        let mut map = if whole { Map::with_capacity(records.len()) } else { Map::clone(&known) };
        for bytes in records {
            let record = match DomainRecord::decode(&bytes, &self.key) {
                Ok(record) => record,
                Err(error) => {
                    self.say_unreadable(&error);
                    continue;
                }
            };
            let before = known.get(record.host.as_str());
            let domain = match before {
                Some(before) if before.version >= record.version => Arc::clone(before),
                _ => {
                    self.applied.fetch_add(1, Ordering::Relaxed);
                    self.changed.store(true, Ordering::Release);
                    Arc::new(Domain::of(&record, bytes))
                }
            };
            map.insert(record.host.into_boxed_str(), domain);
        }
        if whole && map.len() != known.len() {
            self.changed.store(true, Ordering::Release);
        }
        self.put(map);
    }

    fn put(&self, mut map: Map) {
        let (mut count, mut bytes, mut left_out) = (0, 0, 0);
        map.retain(|host, domain| {
            let size = host.len() + domain.record.len();
            let fits = count < DOMAINS_MAX && bytes + size <= BYTES_MAX;
            if fits {
                (count, bytes) = (count + 1, bytes + size);
            } else {
                left_out += 1;
            }
            fits
        });
        self.left_out.store(left_out, Ordering::Relaxed);
        self.bytes.store(bytes as u64, Ordering::Relaxed);
        self.any.store(!map.is_empty(), Ordering::Relaxed);
        self.map.store(Arc::new(map));
    }

    fn say_unreadable(&self, error: &DomainRecordError) {
        self.unreadable.fetch_add(1, Ordering::Relaxed);
        tracing::error!(%error, "cannot read the record of a custom domain");
    }

    pub(crate) fn shown(&self) -> Shown {
        Shown {
            domains: self.map.load().len(),
            bytes: self.bytes.load(Ordering::Relaxed),
            applied: self.applied.load(Ordering::Relaxed),
            unreadable: self.unreadable.load(Ordering::Relaxed),
            unusable: self.unusable.load(Ordering::Relaxed),
            left_out: self.left_out.load(Ordering::Relaxed),
            connected: self.connected.load(Ordering::Relaxed),
        }
    }
}

impl Domain {
    fn of(record: &DomainRecord, bytes: Vec<u8>) -> Self {
        Self {
            owner: record.owner,
            version: record.version,
            removed: record.removed,
            record: bytes.into_boxed_slice(),
            certified: OnceLock::new(),
        }
    }
}

#[cfg(test)]
mod tests;
