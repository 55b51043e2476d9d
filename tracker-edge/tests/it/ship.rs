//! Shipping against a real Redis that is harmed in every way it can be: nothing is lost, nothing doubled.

use crate::ship_drainer::Drainer;
use crate::ship_proxy::Proxy;
use crate::ship_redis::{PATIENCE, PrivateRedis, eventually, keys, shared_url};
use shared::keys::Keys;
use shared::shutdown::Shutdown;
use shared::token::LinkKey;
use shared::{Click, ClickClass, SystemClock};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tracker_edge::clicks::ship::{EvictionError, Flushed, Redis, Shipping, check_eviction};
use tracker_edge::clicks::spool::{Appended, SpoolConfig, SpoolSet, Writer};

pub(crate) const SHARDS: u16 = 4;

/// An edge's spool and shipping, without the edge.
pub(crate) struct Edge {
    pub(crate) set: Arc<SpoolSet>,
    stop: Shutdown,
    running: JoinHandle<Flushed>,
}

impl Edge {
    pub(crate) fn start(dir: &TempDir, url: &str, keys: &Keys) -> Self {
        Self::start_with(SpoolConfig { segment_bytes: 1 << 20, ..SpoolConfig::new(dir.path()) }, url, keys)
    }

    fn start_with(config: SpoolConfig, url: &str, keys: &Keys) -> Self {
        let set = SpoolSet::open(config).unwrap();
        let stop = Shutdown::new();
        let shipping = Shipping {
            set: Arc::clone(&set),
            redis: Redis::open(url).unwrap(),
            keys: keys.clone(),
            shards: SHARDS,
            clock: Arc::new(SystemClock),
        };
        let running = tokio::spawn(shipping.run(stop.clone(), Duration::from_secs(10)));
        Self { set, stop, running }
    }

    pub(crate) async fn stop(self) -> Flushed {
        self.stop.stop();
        let flushed = self.running.await.unwrap();
        self.set.close();
        flushed
    }

    /// Ends as a crash does: nothing is flushed.
    async fn crash(self, writers: Vec<Writer>) {
        writers.into_iter().for_each(std::mem::forget);
        self.running.abort();
        assert!(self.running.await.unwrap_err().is_cancelled());
        self.set.close();
    }
}

/// Appends clicks with these numbers, a few at a time, so that segments can be made ready between.
pub(crate) async fn click(writer: &mut Writer, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let click = Click {
            at_ms: 1_795_000_000_000 + n as i64,
            link: LinkKey(n + 1),
            advertiser: 1,
            visitor: n,
            class: ClickClass::Human,
            flags: 1,
            country: *b"DE",
            notes: &[],
        };
        assert_eq!(writer.append(&click), Appended::Stored);
        if n % 500 == 0 {
            tokio::task::yield_now().await;
        }
    }
}

async fn drained(drainer: &mut Drainer, numbers: std::ops::Range<u64>) {
    let expected: Vec<u64> = numbers.collect();
    eventually("every click is committed", async || {
        drainer.step().await;
        let count = drainer.numbers().len();
        assert!(count <= expected.len(), "{count} clicks of {} are committed", expected.len());
        count == expected.len()
    })
    .await;
    assert_eq!(drainer.numbers(), expected);
    assert_eq!(drainer.lost(), 0);
}

#[tokio::test]
async fn clicks_reach_the_streams_and_their_segments_are_freed() {
    let (dir, keys, url) = (TempDir::new().unwrap(), keys(), shared_url());
    let mut drainer = Drainer::new(&url, &keys, SHARDS);
    let config =
        SpoolConfig { segment_bytes: 256 << 10, retain_for: Duration::ZERO, ..SpoolConfig::new(dir.path()) };
    let edge = Edge::start_with(config, &url, &keys);
    let mut writers = [edge.set.writer(), edge.set.writer(), edge.set.writer()];
    for (at, writer) in writers.iter_mut().enumerate() {
        let from = at as u64 * 3000;
        click(writer, from..from + 3000).await;
    }
    drained(&mut drainer, 0..9000).await;
    assert_eq!((drainer.known, drainer.gaps), (0, 0), "nothing was sent twice on a good day");
    drop(writers);
    let set = Arc::clone(&edge.set);
    eventually("everything is committed, told and freed", async || {
        drainer.step().await;
        set.report().is_empty() && drainer.rows.values().all(|row| row.last)
    })
    .await;
    assert_eq!(edge.stop().await, Flushed { unshipped: 0, uncommitted: 0 });
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "only the edge id stays");
}

#[tokio::test]
async fn f1_a_crashed_edge_ships_the_rest_when_it_is_back() {
    let (dir, keys, url) = (TempDir::new().unwrap(), keys(), shared_url());
    let mut drainer = Drainer::new(&url, &keys, SHARDS);
    for round in 0..4u64 {
        let edge = Edge::start(&dir, &url, &keys);
        let mut writer = edge.set.writer();
        click(&mut writer, round * 2000..round * 2000 + 1500).await;
        // Once with everything sent, once in the middle, once before anything.
        if round % 2 == 0 {
            drained_at_least(&mut drainer, round * 1000).await;
        }
        click(&mut writer, round * 2000 + 1500..(round + 1) * 2000).await;
        edge.crash(vec![writer]).await;
    }
    let edge = Edge::start(&dir, &url, &keys);
    drained(&mut drainer, 0..8000).await;
    eventually("every spool's end is told", async || {
        drainer.step().await;
        drainer.rows.values().all(|row| row.last)
    })
    .await;
    assert_eq!(edge.stop().await, Flushed { unshipped: 0, uncommitted: 0 });
}

async fn drained_at_least(drainer: &mut Drainer, count: u64) {
    eventually("some clicks are committed", async || {
        drainer.step().await;
        drainer.numbers().len() as u64 >= count
    })
    .await;
}

#[tokio::test]
async fn f17_f18_a_redis_that_loses_everything_loses_nothing() {
    let (dir, keys) = (TempDir::new().unwrap(), keys());
    let mut redis = PrivateRedis::start(&[]);
    let mut drainer = Drainer::new(&redis.url(), &keys, SHARDS);
    let edge = Edge::start(&dir, &redis.url(), &keys);
    let mut writer = edge.set.writer();
    for round in 0..6u64 {
        click(&mut writer, round * 1000..(round + 1) * 1000).await;
        let sent = edge.set.report()[0].shipped_seq;
        eventually("something more is sent", async || edge.set.report()[0].shipped_seq > sent).await;
        if round % 2 == 0 {
            redis.command(&["FLUSHALL"]).await;
        } else {
            redis.kill();
            click(&mut writer, 10_000 + round * 100..10_000 + (round + 1) * 100).await;
            redis.start_again();
        }
        drainer.step().await;
    }
    eventually("every click is committed", async || {
        drainer.step().await;
        drainer.numbers().len() == 6300
    })
    .await;
    let mut numbers = drainer.numbers();
    numbers.dedup();
    assert_eq!((numbers.len(), drainer.lost()), (6300, 0));
    drop(writer);
    edge.stop().await;
}

#[tokio::test]
async fn f15_a_stopped_redis_stops_nobody() {
    let (dir, keys) = (TempDir::new().unwrap(), keys());
    let redis = PrivateRedis::start(&[]);
    let mut drainer = Drainer::new(&redis.url(), &keys, SHARDS);
    let edge = Edge::start(&dir, &redis.url(), &keys);
    let mut writer = edge.set.writer();
    click(&mut writer, 0..100).await;
    drained(&mut drainer, 0..100).await;
    redis.signal("STOP");
    click(&mut writer, 100..2000).await;
    // It still accepts connections, so that only the time-outs tell: connecting, asking, asking otherwise.
    let stopped = Redis::open(&redis.url()).unwrap();
    let asked = std::time::Instant::now();
    assert!(check_eviction(&stopped).await.is_err());
    assert!(asked.elapsed() < Duration::from_millis(3500), "a question hung for {:?}", asked.elapsed());
    redis.signal("CONT");
    drained(&mut drainer, 0..2000).await;
    drop(writer);
    assert_eq!(edge.running_flush(&mut drainer).await, Flushed { unshipped: 0, uncommitted: 0 });
}

impl Edge {
    /// Stops while the drainer works.
    async fn running_flush(self, drainer: &mut Drainer) -> Flushed {
        self.stop.stop();
        let running = self.running;
        eventually("flushed", async || {
            drainer.step().await;
            running.is_finished()
        })
        .await;
        self.set.close();
        running.await.unwrap()
    }
}

#[tokio::test]
async fn f20_f22_a_redis_that_refuses_is_waited_for() {
    let (dir, keys) = (TempDir::new().unwrap(), keys());
    let redis = PrivateRedis::start(&["--maxmemory-policy", "noeviction"]);
    let mut drainer = Drainer::new(&redis.url(), &keys, SHARDS);
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let edge = Edge::start(&dir, &redis.url(), &keys);
    let mut writer = edge.set.writer();
    click(&mut writer, 0..5000).await;
    eventually("it has refused more than once", async || redis.stat("errorstat_OOM:count=").await > 1).await;
    assert_eq!(edge.set.report()[0].shipped_seq, 0);
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    drained(&mut drainer, 0..5000).await;
    drop(writer);
    edge.running_flush(&mut drainer).await;
}

#[tokio::test]
async fn f21_a_replica_is_left_for_a_primary() {
    let (dir, keys) = (TempDir::new().unwrap(), keys());
    let redis = PrivateRedis::start(&[]);
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let mut drainer = Drainer::new(&redis.url(), &keys, SHARDS);
    let edge = Edge::start(&dir, &redis.url(), &keys);
    let mut writer = edge.set.writer();
    click(&mut writer, 0..1000).await;
    let started = std::time::Instant::now();
    eventually("it has refused often", async || redis.stat("errorstat_READONLY:count=").await > 3).await;
    assert_eq!(edge.set.report()[0].shipped_seq, 0);
    let attempts = redis.stat("errorstat_READONLY:count=").await;
    // The edge's reports are refused as well; a hot loop would make thousands.
    let most = 10 + 5 * started.elapsed().as_secs();
    assert!(attempts <= most, "{attempts} attempts in {:?} is a hot loop", started.elapsed());
    redis.command(&["REPLICAOF", "NO", "ONE"]).await;
    drained(&mut drainer, 0..1000).await;
    drop(writer);
    edge.running_flush(&mut drainer).await;
}

#[tokio::test]
async fn a_restored_database_gets_what_it_lost() {
    let (dir, keys, url) = (TempDir::new().unwrap(), keys(), shared_url());
    let mut drainer = Drainer::new(&url, &keys, SHARDS);
    let edge = Edge::start(&dir, &url, &keys);
    let mut writer = edge.set.writer();
    click(&mut writer, 0..1000).await;
    drained(&mut drainer, 0..1000).await;
    let backup = drainer.rows.clone();
    click(&mut writer, 1000..6000).await;
    drained(&mut drainer, 0..6000).await;
    // Restored to the backup; the watermark left in Redis is higher, until the drainer says otherwise.
    let mut drainer = Drainer::new(&url, &keys, SHARDS);
    (drainer.rows, drainer.epoch) = (backup, 2);
    drained(&mut drainer, 0..6000).await;
    // And once more, to nothing: the whole spool is still kept.
    let mut drainer = Drainer::new(&url, &keys, SHARDS);
    drainer.epoch = 3;
    click(&mut writer, 6000..6001).await;
    drained(&mut drainer, 0..6001).await;
    drop(writer);
    edge.running_flush(&mut drainer).await;
}

#[tokio::test]
async fn while_postgres_is_away_redis_is_not_filled() {
    let (dir, keys) = (TempDir::new().unwrap(), keys());
    let redis = PrivateRedis::start(&[]);
    // One segment takes all of it, as fast as the test writes.
    let config = SpoolConfig { segment_bytes: 16 << 20, ..SpoolConfig::new(dir.path()) };
    let edge = Edge::start_with(config, &redis.url(), &keys);
    let mut writer = edge.set.writer();
    for n in 0..100 {
        click(&mut writer, n * 1000..(n + 1) * 1000).await;
        if n % 10 == 9 {
            let shipped = edge.set.report()[0].shipped_seq;
            eventually("shipping goes on, or is full", async || {
                let now = edge.set.report()[0].shipped_seq;
                now > shipped || now >= 64 * 100
            })
            .await;
        }
    }
    // The window fills, and stays what it is past the first looks into the stall.
    let full = async || {
        let mut entries = 0;
        for shard in 0..SHARDS {
            let redis::Value::Int(len) = redis.command(&["XLEN", &keys.clicks(shard)]).await else {
                panic!("no number")
            };
            entries += len;
        }
        entries
    };
    eventually("the window is full", async || full().await >= 64).await;
    eventually("the stall was looked into twice", async || redis.stat("cmdstat_xrange:calls=").await > 1)
        .await;
    assert_eq!(full().await, 64);
    let mut drainer = Drainer::new(&redis.url(), &keys, SHARDS);
    drained(&mut drainer, 0..100_000).await;
    assert_eq!((drainer.known, drainer.gaps), (0, 0), "nothing had to be sent twice");
    drop(writer);
    edge.running_flush(&mut drainer).await;
}

#[tokio::test]
async fn a_stop_flushes_until_its_deadline() {
    let (dir, keys) = (TempDir::new().unwrap(), keys());
    let mut redis = PrivateRedis::start(&[]);
    redis.kill();
    let set =
        SpoolSet::open(SpoolConfig { segment_bytes: 256 << 10, ..SpoolConfig::new(dir.path()) }).unwrap();
    let stop = Shutdown::new();
    let shipping = Shipping {
        set: Arc::clone(&set),
        redis: Redis::open(&redis.url()).unwrap(),
        keys: keys.clone(),
        shards: SHARDS,
        clock: Arc::new(SystemClock),
    };
    let running = tokio::spawn(shipping.run(stop.clone(), Duration::from_millis(300)));
    let mut writer = set.writer();
    click(&mut writer, 0..700).await;
    drop(writer);
    stop.stop();
    let flushed = tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap();
    assert_eq!(flushed, Flushed { unshipped: 700, uncommitted: 700 });
    set.close();
    drop(set);
    // The next start ships them.
    redis.start_again();
    let mut drainer = Drainer::new(&redis.url(), &keys, SHARDS);
    let edge = Edge::start(&dir, &redis.url(), &keys);
    drained(&mut drainer, 0..700).await;
    assert_eq!(edge.running_flush(&mut drainer).await, Flushed { unshipped: 0, uncommitted: 0 });
}

#[tokio::test]
async fn f20_an_evicting_redis_is_found_out() {
    let redis = PrivateRedis::start(&[]);
    let open = Redis::open(&redis.url()).unwrap();
    check_eviction(&open).await.unwrap();
    redis.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    let error = check_eviction(&open).await.unwrap_err();
    assert!(matches!(&error, EvictionError::Policy(policy) if policy == "allkeys-lru"), "{error}");
    // Where INFO is forbidden, the setting is asked for; where both are, that is said.
    redis.command(&["ACL", "SETUSER", "default", "-info"]).await;
    let error = check_eviction(&open).await.unwrap_err();
    assert!(matches!(&error, EvictionError::Policy(_)), "{error}");
    redis.command(&["ACL", "SETUSER", "default", "-config"]).await;
    let error = check_eviction(&open).await.unwrap_err();
    assert!(matches!(&error, EvictionError::Unknown(_)), "{error}");
    assert_ne!(redis.port(), 0);
}

#[tokio::test]
async fn f23_answers_that_are_lost_make_duplicates_in_the_stream_only() {
    let (dir, keys) = (TempDir::new().unwrap(), keys());
    let redis = PrivateRedis::start(&[]);
    let proxy = Proxy::start(redis.port()).await;
    let mut drainer = Drainer::new(&redis.url(), &keys, SHARDS);
    let edge = Edge::start(&dir, &proxy.url(), &keys);
    let mut writer = edge.set.writer();
    for round in 0..3u64 {
        click(&mut writer, round * 1000..round * 1000 + 700).await;
        let cuts = proxy.harm.cuts.load(Ordering::SeqCst);
        proxy.harm.cut_after_xadd.store(true, Ordering::SeqCst);
        click(&mut writer, round * 1000 + 700..(round + 1) * 1000).await;
        eventually("the same was added twice", async || proxy.harm.cuts.load(Ordering::SeqCst) > cuts + 1)
            .await;
        proxy.harm.cut_after_xadd.store(false, Ordering::SeqCst);
        drained(&mut drainer, 0..(round + 1) * 1000).await;
    }
    assert!(drainer.known > 0, "something came twice");
    drop(writer);
    edge.running_flush(&mut drainer).await;
}

#[tokio::test]
async fn f25_a_line_that_swallows_everything_is_given_up() {
    let (dir, keys) = (TempDir::new().unwrap(), keys());
    let redis = PrivateRedis::start(&[]);
    let proxy = Proxy::start(redis.port()).await;
    let mut drainer = Drainer::new(&redis.url(), &keys, SHARDS);
    let edge = Edge::start(&dir, &proxy.url(), &keys);
    let mut writer = edge.set.writer();
    click(&mut writer, 0..100).await;
    drained(&mut drainer, 0..100).await;
    let before = redis.stat("total_connections_received:").await;
    proxy.harm.swallow.store(true, Ordering::SeqCst);
    click(&mut writer, 100..1000).await;
    let swallowed = std::time::Instant::now();
    eventually("another connection is tried", async || {
        // Each look is a connection too.
        redis.stat("total_connections_received:").await > before + 20
            || swallowed.elapsed() > Duration::from_secs(3)
    })
    .await;
    proxy.harm.swallow.store(false, Ordering::SeqCst);
    drained(&mut drainer, 0..1000).await;
    drop(writer);
    edge.running_flush(&mut drainer).await;
}

#[tokio::test]
async fn f16_a_slow_and_narrow_line_gets_everything_through() {
    let (dir, keys) = (TempDir::new().unwrap(), keys());
    let redis = PrivateRedis::start(&[]);
    let proxy = Proxy::start(redis.port()).await;
    let mut drainer = Drainer::new(&redis.url(), &keys, SHARDS);
    proxy.harm.delay_ms.store(200, Ordering::SeqCst);
    proxy.harm.bytes_per_second.store(1_000_000 / 8, Ordering::SeqCst);
    // 5,000 clicks are about 280 KB of frames: more than the line takes in a time-out.
    let edge = Edge::start(&dir, &proxy.url(), &keys);
    let mut writer = edge.set.writer();
    click(&mut writer, 0..5000).await;
    drained(&mut drainer, 0..5000).await;
    drop(writer);
    edge.running_flush(&mut drainer).await;
}
