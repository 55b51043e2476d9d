//! What operators see.

use crate::harness::{Publisher, TestEdge, eventually, link, path};
use crate::ship_redis::shared_url;

#[test]
fn ready_once_the_stream_was_read_and_live_from_the_start() {
    let publisher = Publisher::new(&shared_url());
    let edge = TestEdge::start_on(publisher, &shared_url(), tempfile::tempdir().unwrap(), &[]);
    assert_eq!(edge.admin("/live").status, 200);
    let unready = edge.admin("/ready");
    assert_eq!(unready.status, 503, "no publisher has filled this Redis");
    assert!(unready.body.starts_with("not ready: "), "{}", unready.body);
    edge.publisher.set_epoch("first");
    eventually("ready", || edge.admin("/ready").status == 200);
    assert_eq!(edge.metric("edge_ready"), 1);
}

#[test]
fn metrics_say_what_happened_and_name_no_link() {
    let edge = TestEdge::start();
    edge.publisher.publish(&link(1, "https://shop.example/very-secret-path"));
    edge.get(&path(1));
    edge.get("/nowhere");
    edge.send("POST", &path(1), &[]);
    edge.shipped(1);
    assert_eq!(edge.metric("edge_responses_total{answer=\"redirect\"}"), 1);
    assert_eq!(edge.metric("edge_responses_total{answer=\"not_found\"}"), 1);
    assert_eq!(edge.metric("edge_responses_total{answer=\"method_not_allowed\"}"), 1);
    assert_eq!(edge.metric("edge_clicks_total{class=\"human\"}"), 1);
    assert_eq!(edge.metric("edge_links"), 1);
    eventually("spooled", || edge.metric("edge_spool_accepted_total") == 1);
    let metrics = edge.admin("/metrics");
    assert_eq!(metrics.headers("content-type"), ["text/plain; version=0.0.4; charset=utf-8"]);
    let token = path(1).rsplit('/').next().unwrap().to_owned();
    for secret in ["shop.example", "very-secret-path", token.as_str(), "127.0.0.1"] {
        assert!(!metrics.body.contains(secret), "{secret} is in the metrics");
    }
    for line in metrics.body.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let family = line.split(['{', ' ']).next().unwrap();
        assert!(metrics.body.contains(&format!("# HELP {family} ")), "{family} has no help text");
    }
}

#[test]
fn other_paths_and_methods_are_refused() {
    let edge = TestEdge::start();
    assert_eq!(edge.admin("/").status, 404);
    let addr = edge.edge.admin_addr();
    let reply = crate::harness::raw(addr, b"POST /ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(reply.status, 405);
}
