//! A link that is not in memory costs one question, an unknown one next to nothing.

use crate::harness::{TestEdge, eventually, link, path};
use std::time::{Duration, Instant};

const QUESTIONS: &str = "edge_link_questions_total";

#[test]
fn a_link_that_is_only_in_redis_is_asked_for_once_and_then_known() {
    let edge = TestEdge::start();
    edge.publisher.write(&link(1, "https://shop.example/"));
    for _ in 0..3 {
        let reply = edge.get(&path(1));
        assert_eq!((reply.status, reply.location()), (302, "https://shop.example/"));
    }
    assert_eq!(edge.metric(QUESTIONS), 1);
    assert_eq!(edge.shipped(3).len(), 3, "the first click is recorded as well");
}

#[test]
fn f50_many_first_clicks_at_once_are_one_question() {
    let edge = TestEdge::start();
    edge.publisher.write(&link(1, "https://shop.example/"));
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| assert_eq!(edge.get(&path(1)).status, 302));
        }
    });
    assert_eq!(edge.metric(QUESTIONS), 1);
    assert_eq!(edge.shipped(100).len(), 100);
}

#[test]
fn f51_made_up_tokens_are_refused_without_a_question() {
    let edge = TestEdge::start();
    for number in 0..500u64 {
        let token: String = path(number + 1).chars().rev().collect();
        let token = token.split('/').next().unwrap().to_owned();
        assert_eq!(edge.get(&format!("/api/track/{token}")).status, 404, "{token}");
    }
    assert_eq!(edge.metric(QUESTIONS), 0);
}

#[test]
fn an_unknown_link_is_asked_for_rarely_and_found_once_it_is_there() {
    let edge = TestEdge::start();
    edge.wait_ready();
    let started = Instant::now();
    for _ in 0..20 {
        let reply = edge.get(&path(1));
        assert_eq!(reply.status, 404);
    }
    let questions = edge.metric(QUESTIONS);
    let allowed = 1 + started.elapsed().as_secs() / 2;
    assert!((1..=allowed).contains(&questions), "{questions} questions");
    // Written without a message: found when the memory of "unknown" is over.
    let written = Instant::now();
    edge.publisher.write(&link(1, "https://shop.example/"));
    eventually("found", || edge.get(&path(1)).status == 302);
    assert!(written.elapsed() < Duration::from_secs(4), "{:?}", written.elapsed());
}

#[test]
fn a_published_link_works_at_once_although_it_was_unknown() {
    let edge = TestEdge::start();
    edge.wait_ready();
    assert_eq!(edge.get(&path(1)).status, 404);
    let published = Instant::now();
    edge.publisher.publish(&link(1, "https://shop.example/"));
    eventually("works", || edge.get(&path(1)).status == 302);
    assert!(published.elapsed() < Duration::from_secs(1), "{:?}", published.elapsed());
}

#[test]
fn a_redis_no_publisher_has_filled_is_no_reason_to_call_a_link_unknown() {
    let edge = TestEdge::start();
    edge.wait_ready();
    edge.publisher.empty();
    let reply = edge.get_with(&path(1), &["Accept: application/json"]);
    assert_eq!((reply.status, reply.headers("retry-after")), (503, vec!["1"]));
    assert!(reply.body.contains("unavailable"));
}

#[test]
fn what_redis_holds_for_another_link_or_another_build_is_not_served() {
    let edge = TestEdge::start();
    edge.wait_ready();
    let mut newer = link(1, "https://shop.example/").encode();
    newer[0] = 250;
    let keys = &edge.publisher.keys;
    let mut connection = edge.publisher.connection();
    let () = redis::Commands::set(&mut connection, keys.link(shared::LinkKey(1)), newer).unwrap();
    let other = link(3, "https://shop.example/").encode();
    let () = redis::Commands::set(&mut connection, keys.link(shared::LinkKey(2)), other).unwrap();
    assert_eq!(edge.get(&path(1)).status, 503);
    assert_eq!(edge.get(&path(2)).status, 503);
}
