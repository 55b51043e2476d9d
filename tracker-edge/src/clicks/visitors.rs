//! Who clicked, without knowing who: a keyed hash of address and user agent.
//!
//! The key is random, lasts one UTC day and is shared by all edges through Redis, so that a visitor is
//! the same everywhere for a day and nobody afterwards. While Redis has none, an edge makes its own and
//! offers it; the first one offered is everybody's.

use super::ship::Redis;
use crate::redis::query_all;
use shared::Clock;
use shared::keys::Keys;
use shared::shutdown::Shutdown;
use siphasher::sip::SipHasher13;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const DAY_MS: i64 = 86_400_000;
/// Redis keeps a day's key this long: clocks differ, days overlap.
const KEPT_FOR_S: u64 = 48 * 3600;
/// Pause between looks for keys that are not shared yet.
const RETRY: Duration = Duration::from_secs(2);
/// The next day's key is fetched this long ahead.
const AHEAD_MS: i64 = 3_600_000;

/// A day's key.
#[derive(Clone, Copy)]
struct DayKey {
    day: i64,
    key: [u8; 32],
    shared: bool,
}

impl DayKey {
    fn random(day: i64) -> Self {
        let mut key = [0; 32];
        getrandom::fill(&mut key).expect("the operating system has randomness");
        Self { day, key, shared: false }
    }
}

/// The keys in use, shared by all threads.
pub(crate) struct Visitors {
    /// Today's and tomorrow's, or fewer.
    keys: Mutex<Vec<DayKey>>,
    /// Moves when a key was replaced, so that workers take the new one.
    generation: AtomicU64,
    clock: Arc<dyn Clock>,
}

/// A worker's copy of the day's key, ready to hash with.
pub(crate) struct Hasher {
    day: i64,
    generation: u64,
    seed: u64,
    sip: SipHasher13,
}

impl Visitors {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { keys: Mutex::default(), generation: AtomicU64::new(1), clock }
    }

    /// The key of a day; made up on the spot when there is none.
    fn key_of(&self, day: i64) -> DayKey {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.iter().find(|key| key.day == day) {
            return *key;
        }
        let key = DayKey::random(day);
        // Yesterday's key goes: nobody can tell yesterday's visitors any more.
        let today = self.clock.now_ms().div_euclid(DAY_MS);
        keys.retain(|key| (today..=today + 1).contains(&key.day));
        keys.push(key);
        key
    }

    fn adopt(&self, day: i64, key: [u8; 32]) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|known| known.day != day);
        keys.push(DayKey { day, key, shared: true });
        drop(keys);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Days whose key is not known to be everybody's.
    fn unshared(&self) -> Vec<DayKey> {
        let now_ms = self.clock.now_ms();
        let today = now_ms.div_euclid(DAY_MS);
        let mut keys = vec![self.key_of(today)];
        if (now_ms + AHEAD_MS).div_euclid(DAY_MS) > today {
            keys.push(self.key_of(today + 1));
        }
        keys.retain(|key| !key.shared);
        keys
    }

    /// Sees to it that today's key, and before midnight tomorrow's, is everybody's. Until stopped.
    pub(crate) async fn share(self: Arc<Self>, redis: Redis, keys: Keys, stop: Shutdown) {
        loop {
            for key in self.unshared() {
                match offer(&redis, &keys.visitor_key(&day_name(key.day)), &key.key).await {
                    Ok(Some(agreed)) => self.adopt(key.day, agreed),
                    Ok(None) => {
                        tracing::error!("the visitor key in Redis is not a key; this edge keeps its own");
                    }
                    Err(error) => tracing::debug!(%error, "cannot share the visitor key now"),
                }
            }
            tokio::select! {
                () = stop.stopping() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }
}

/// Offers a key; gives the one everybody uses.
async fn offer(redis: &Redis, name: &str, key: &[u8; 32]) -> redis::RedisResult<Option<[u8; 32]>> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("SET").arg(name).arg(hex::encode(key)).arg("NX").arg("EX").arg(KEPT_FOR_S);
    pipeline.cmd("GET").arg(name);
    let (_, agreed): (Option<String>, String) = query_all(redis, &pipeline).await?;
    let mut bytes = [0; 32];
    Ok(hex::decode_to_slice(agreed.trim(), &mut bytes).is_ok().then_some(bytes))
}

/// `YYYYMMDD` of a day counted from the Unix epoch (Howard Hinnant's `civil_from_days`).
fn day_name(day: i64) -> String {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}{month:02}{day_of_month:02}")
}

impl Hasher {
    pub(crate) fn new() -> Self {
        Self { day: i64::MIN, generation: 0, seed: 0, sip: SipHasher13::new() }
    }

    /// Takes the key of the moment, if this is not it.
    #[inline]
    pub(crate) fn refresh(&mut self, visitors: &Visitors, now_ms: i64) {
        let (day, generation) = (now_ms.div_euclid(DAY_MS), visitors.generation.load(Ordering::Acquire));
        if day != self.day || generation != self.generation {
            let key = visitors.key_of(day).key;
            let (sip, seed) = (key.first_chunk::<16>(), key.last_chunk::<8>());
            let (sip, seed) = sip.zip(seed).expect("a key has 32 bytes");
            *self = Self {
                day,
                generation,
                seed: u64::from_le_bytes(*seed),
                sip: SipHasher13::new_with_key(sip),
            };
        }
    }

    /// Keyed hash of a user agent. Also names it in the memory of classes.
    #[inline]
    pub(crate) fn user_agent(&self, user_agent: &[u8]) -> u64 {
        xxh3_64_with_seed(user_agent, self.seed)
    }

    /// The visitor's name for today; never 0, which means unknown.
    #[inline]
    pub(crate) fn visitor(&self, address: IpAddr, user_agent_hash: u64) -> u64 {
        let mut bytes = [0; 24];
        let octets = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            // The last 64 bits of an IPv6 address change by the hour on one device.
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(mapped) => mapped.to_ipv6_mapped().octets(),
                None => (u128::from(address) & !0xffff_ffff_ffff_ffff).to_be_bytes(),
            },
        };
        bytes[..16].copy_from_slice(&octets);
        bytes[16..].copy_from_slice(&user_agent_hash.to_le_bytes());
        self.sip.hash(&bytes).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::TestClock;

    fn at(text: &str) -> Arc<TestClock> {
        Arc::new(TestClock::at(text.parse().unwrap()))
    }

    #[test]
    fn days_have_their_calendar_names() {
        let mut day = chrono::NaiveDate::from_ymd_opt(1999, 12, 1).unwrap();
        for _ in 0..12_000 {
            let number = day.signed_duration_since(chrono::NaiveDate::default()).num_days();
            assert_eq!(day_name(number), day.format("%Y%m%d").to_string());
            day = day.succ_opt().unwrap();
        }
    }

    #[test]
    fn a_visitor_is_the_same_all_day_and_another_the_next() {
        let clock = at("2027-03-01T12:00:00Z");
        let visitors = Visitors::new(clock.clone());
        let mut hasher = Hasher::new();
        let mut name = |address: &str, user_agent: &[u8]| {
            hasher.refresh(&visitors, clock.now_ms());
            let hash = hasher.user_agent(user_agent);
            hasher.visitor(address.parse().unwrap(), hash)
        };
        let first = name("192.0.2.1", b"x");
        assert_eq!(name("192.0.2.1", b"x"), first);
        assert_eq!(name("::ffff:192.0.2.1", b"x"), first, "the same address, written for IPv6");
        assert_ne!(name("192.0.2.2", b"x"), first);
        assert_ne!(name("192.0.2.1", b"y"), first);
        assert_eq!(name("2001:db8::1", b"x"), name("2001:db8::2", b"x"), "one network, one visitor");
        clock.advance(chrono::TimeDelta::hours(13));
        assert_ne!(name("192.0.2.1", b"x"), first);
    }

    #[test]
    fn an_agreed_key_replaces_the_one_made_up() {
        let clock = at("2027-03-01T23:30:00Z");
        let visitors = Visitors::new(clock.clone());
        let days: Vec<_> = visitors.unshared().iter().map(|key| day_name(key.day)).collect();
        assert_eq!(days, ["20270301", "20270302"]);
        let mut hasher = Hasher::new();
        hasher.refresh(&visitors, clock.now_ms());
        let before = hasher.visitor([192, 0, 2, 1].into(), 1);
        let today = clock.now_ms().div_euclid(DAY_MS);
        visitors.adopt(today, [9; 32]);
        hasher.refresh(&visitors, clock.now_ms());
        assert_ne!(hasher.visitor([192, 0, 2, 1].into(), 1), before);
        assert_eq!(visitors.unshared().len(), 1, "only tomorrow's is left");
    }
}
