//! Known links keep working without Redis, also after a restart.

use crate::harness::{Publisher, TestEdge, eventually, link, path};
use crate::ship_redis::PrivateRedis;
use shared::LinkRecord;
use std::time::{Duration, Instant};

/// An edge on a Redis of its own, with one link known.
fn edge_on(redis: &PrivateRedis, extra: &[&str]) -> TestEdge {
    let publisher = Publisher::new(&redis.url());
    publisher.set_epoch("first");
    publisher.publish(&LinkRecord { dedup_seconds: 0, ..link(1, "https://shop.example/1") });
    let edge = TestEdge::start_on(publisher, &redis.url(), tempfile::tempdir().unwrap(), extra);
    edge.wait_ready();
    edge
}

/// Clicks the known link; panics when one takes long or fails.
#[track_caller]
fn clicks_work(edge: &TestEdge, count: usize) {
    for _ in 0..count {
        let started = Instant::now();
        let reply = edge.get(&path(1));
        assert_eq!((reply.status, reply.location()), (302, "https://shop.example/1"));
        assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    }
}

#[test]
fn f14_known_links_redirect_while_redis_is_down_and_their_clicks_arrive_later() {
    let mut redis = PrivateRedis::start(&[]);
    let edge = edge_on(&redis, &[]);
    clicks_work(&edge, 1);
    redis.kill();
    clicks_work(&edge, 50);
    let never_seen = edge.get_with(&path(2), &["Accept: application/json"]);
    assert_eq!((never_seen.status, never_seen.headers("retry-after")), (503, vec!["1"]));
    assert_eq!(edge.admin("/ready").status, 200, "an edge that can serve wants traffic");
    redis.start_again();
    edge.publisher.set_epoch("second");
    assert_eq!(edge.shipped(51).len(), 51);
    edge.publisher.publish(&link(2, "https://shop.example/2"));
    eventually("changes are followed again", || edge.get(&path(2)).status == 302);
}

#[test]
fn f15_a_redis_that_hangs_delays_no_known_link_and_unknown_ones_by_a_second() {
    let redis = PrivateRedis::start(&[]);
    let edge = edge_on(&redis, &[]);
    redis.signal("STOP");
    clicks_work(&edge, 50);
    let started = Instant::now();
    assert_eq!(edge.get(&path(2)).status, 503);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    redis.signal("CONT");
    edge.publisher.publish(&link(2, "https://shop.example/2"));
    eventually("followed again", || edge.get(&path(2)).status == 302);
    eventually("shipped", || edge.publisher.shipped().len() >= 51);
}

#[test]
fn f13_an_edge_that_starts_without_redis_serves_its_snapshot() {
    let mut redis = PrivateRedis::start(&[]);
    let edge = edge_on(&redis, &[]);
    let (publisher, folder) = edge.stop();
    redis.kill();
    let started = Instant::now();
    let edge = TestEdge::start_on(publisher, &redis.url(), folder, &[]);
    assert_eq!(edge.admin("/ready").status, 200);
    clicks_work(&edge, 1);
    assert!(started.elapsed() < Duration::from_secs(2) * if cfg!(debug_assertions) { 3 } else { 1 });
    let never_seen = edge.get(&path(2));
    assert_eq!((never_seen.status, never_seen.headers("retry-after")), (503, vec!["1"]));
    redis.start_again();
    edge.publisher.set_epoch("second");
    edge.publisher.publish(&LinkRecord { version: 2, ..link(1, "https://shop.example/1b") });
    eventually("followed", || edge.get(&path(1)).location() == "https://shop.example/1b");
}

#[test]
fn a_restart_goes_on_in_the_stream_where_the_snapshot_stood() {
    let redis = PrivateRedis::start(&[]);
    let edge = edge_on(&redis, &[]);
    let (publisher, folder) = edge.stop();
    publisher.publish(&LinkRecord { version: 2, ..link(1, "https://shop.example/1b") });
    let edge = TestEdge::start_on(publisher, &redis.url(), folder, &[]);
    eventually("the change made meanwhile", || edge.get(&path(1)).location() == "https://shop.example/1b");
    assert_eq!(edge.metric("edge_link_changes_total"), 1, "only what came after the snapshot was read");
    assert_eq!(edge.metric("edge_link_comparisons_total"), 0);
}

#[test]
fn f20_an_edge_does_not_start_on_a_redis_that_evicts_unless_told_so() {
    let redis = PrivateRedis::start(&["--maxmemory-policy", "allkeys-lru"]);
    let publisher = Publisher::new(&redis.url());
    let folder = tempfile::tempdir().unwrap();
    let config = crate::harness::config(&publisher, &redis.url(), &folder, &[]);
    let clock = std::sync::Arc::new(shared::SystemClock);
    let refused = tracker_edge::Edge::start(config, clock).err().unwrap();
    assert!(refused.to_string().contains("allkeys-lru"), "{refused}");
    TestEdge::start_on(publisher, &redis.url(), folder, &["--allow-eviction", "true"]);
}

#[test]
fn f20_an_evicting_redis_that_was_away_at_the_start_is_found_out() {
    let mut redis = PrivateRedis::start(&["--maxmemory-policy", "allkeys-lru"]);
    redis.kill();
    let publisher = Publisher::new(&redis.url());
    let edge = TestEdge::start_on(publisher, &redis.url(), tempfile::tempdir().unwrap(), &[]);
    assert_eq!(edge.metric("edge_redis_evicts"), 0);
    redis.start_again();
    edge.publisher.set_epoch("first");
    edge.publisher.publish(&LinkRecord { dedup_seconds: 0, ..link(1, "https://shop.example/1") });
    eventually("the alarm is on", || edge.metric("edge_redis_evicts") == 1);
    edge.wait_ready();
    clicks_work(&edge, 1);
}
