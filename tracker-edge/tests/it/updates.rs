//! Every change arrives, also when its message was lost.

use crate::harness::{Publisher, TestEdge, eventually, link, path};
use crate::ship_redis::shared_url;
use redis::Commands;
use shared::{LinkRecord, LinkStatus, TestClock};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Publishes a record and waits until clicks follow it.
#[track_caller]
fn follows(edge: &TestEdge, record: &LinkRecord<'_>) {
    edge.publisher.publish(record);
    let published = Instant::now();
    eventually("followed", || edge.get(&path(record.link.0)).location() == record.destination);
    assert!(published.elapsed() < Duration::from_secs(1), "{:?}", published.elapsed());
}

fn location(edge: &TestEdge, key: u64) -> String {
    edge.get(&path(key)).location().to_owned()
}

#[test]
fn f49_a_change_is_followed_within_a_second() {
    let edge = TestEdge::start();
    edge.wait_ready();
    follows(&edge, &link(1, "https://shop.example/1"));
    follows(&edge, &LinkRecord { version: 2, ..link(1, "https://shop.example/2") });
    edge.publisher.publish(&LinkRecord {
        version: 3,
        status: LinkStatus::Gone,
        ..link(1, "https://shop.example/2")
    });
    eventually("gone", || edge.get(&path(1)).status == 410);
}

#[test]
fn an_older_version_that_comes_late_changes_nothing() {
    let edge = TestEdge::start();
    edge.wait_ready();
    follows(&edge, &LinkRecord { version: 5, ..link(1, "https://shop.example/5") });
    edge.publisher.publish(&LinkRecord { version: 4, ..link(1, "https://shop.example/4") });
    follows(&edge, &link(2, "https://shop.example/after"));
    assert_eq!(location(&edge, 1), "https://shop.example/5");
}

#[test]
fn f27_a_missing_number_has_every_link_compared() {
    let edge = TestEdge::start();
    edge.wait_ready();
    for key in 1..=3 {
        follows(&edge, &link(key, "https://shop.example/old"));
    }
    // Two changes whose messages are lost: the numbers were taken, the entries are not there.
    for key in 1..=2 {
        edge.publisher.write(&LinkRecord { version: 2, ..link(key, "https://shop.example/new") });
    }
    let () = edge.publisher.connection().incr(edge.publisher.keys.changes_number(), 2).unwrap();
    edge.publisher.publish(&LinkRecord { version: 2, ..link(3, "https://shop.example/new") });
    for key in 1..=3 {
        eventually("compared", || location(&edge, key) == "https://shop.example/new");
    }
}

#[test]
fn f27_a_lost_last_message_is_noticed_without_another() {
    let edge = TestEdge::start();
    edge.wait_ready();
    follows(&edge, &link(1, "https://shop.example/old"));
    edge.publisher.write(&LinkRecord { version: 2, ..link(1, "https://shop.example/new") });
    let () = edge.publisher.connection().incr(edge.publisher.keys.changes_number(), 1).unwrap();
    eventually("compared", || location(&edge, 1) == "https://shop.example/new");
    assert_eq!(edge.metric("edge_link_comparisons_total"), 1, "noticed once, not for ever");
}

#[test]
fn f17_an_emptied_redis_loses_no_link_and_is_followed_when_it_is_filled_again() {
    let edge = TestEdge::start();
    edge.wait_ready();
    follows(&edge, &link(1, "https://shop.example/1"));
    follows(&edge, &link(2, "https://shop.example/2"));
    edge.publisher.empty();
    assert_eq!(location(&edge, 1), "https://shop.example/1");
    edge.publisher.set_epoch("second");
    edge.publisher.publish(&LinkRecord { version: 2, ..link(1, "https://shop.example/1b") });
    eventually("followed again", || location(&edge, 1) == "https://shop.example/1b");
    assert_eq!(location(&edge, 2), "https://shop.example/2", "what Redis lost is still known");
}

#[test]
fn a_stream_that_lost_the_last_change_seen_has_every_link_compared() {
    let edge = TestEdge::start();
    edge.wait_ready();
    follows(&edge, &link(1, "https://shop.example/old"));
    // A replica that was promoted without the last entries, then went on counting.
    let mut connection = edge.publisher.connection();
    let () = connection.del(edge.publisher.keys.changes()).unwrap();
    let () = connection.set(edge.publisher.keys.changes_number(), 0).unwrap();
    edge.publisher.write(&LinkRecord { version: 2, ..link(1, "https://shop.example/new") });
    eventually("compared", || location(&edge, 1) == "https://shop.example/new");
    follows(&edge, &link(2, "https://shop.example/goes-on"));
}

#[test]
fn an_unreadable_change_does_not_stop_the_stream() {
    let edge = TestEdge::start();
    edge.wait_ready();
    let keys = &edge.publisher.keys;
    let mut connection = edge.publisher.connection();
    let number: u64 = connection.incr(keys.changes_number(), 1).unwrap();
    let number = number.to_string();
    let mut newer = link(1, "https://shop.example/").encode();
    newer[0] = 250;
    let fields = [("n", number.as_bytes()), ("r", &newer)];
    let () = redis::cmd("XADD").arg(keys.changes()).arg("*").arg(&fields).query(&mut connection).unwrap();
    follows(&edge, &link(2, "https://shop.example/after"));
    assert_eq!(edge.metric("edge_link_unreadable_total"), 1);
    assert_eq!(edge.metric("edge_link_comparisons_total"), 0);
}

#[test]
fn a_record_that_was_not_checked_for_minutes_is_checked_when_it_is_clicked() {
    let clock = Arc::new(TestClock::at("2027-05-05T12:00:00Z".parse().unwrap()));
    let publisher = Publisher::new(&shared_url());
    publisher.set_epoch("first");
    let folder = tempfile::tempdir().unwrap();
    let edge = TestEdge::start_at(publisher, &shared_url(), folder, &[], clock.clone());
    edge.wait_ready();
    follows(&edge, &link(1, "https://shop.example/old"));
    edge.publisher.write(&LinkRecord { version: 2, ..link(1, "https://shop.example/new") });
    assert_eq!(location(&edge, 1), "https://shop.example/old");
    clock.advance(chrono::TimeDelta::minutes(6));
    eventually("checked", || location(&edge, 1) == "https://shop.example/new");
}
