//! What breaks HTTP or takes too much is refused, and nothing else suffers.

use crate::harness::{
    Process, Publisher, Reply, TestEdge, connect, eventually, link, metric_in, path, raw, read_reply,
};
use crate::ship_redis::shared_url;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

fn edge() -> TestEdge {
    let edge = TestEdge::start();
    edge.publisher.publish(&link(1, "https://shop.example/"));
    edge.wait_ready();
    edge
}

/// Sends bytes followed by a sound request, which must not be answered: `corpus` has many more.
#[track_caller]
fn refused(edge: &TestEdge, bytes: &[u8]) -> Reply {
    let sound = format!("GET {} HTTP/1.1\r\nHost: t.example\r\n\r\n", path(1));
    let mut stream = connect(edge.edge.addr());
    // The other side may close before everything is sent.
    drop(stream.write_all(&[bytes, sound.as_bytes()].concat()));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        !answer.contains("302 Found"),
        "{:?} let a request through: {answer}",
        String::from_utf8_lossy(bytes)
    );
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Reply { status, head: answer, body: String::new() }
}

#[test]
fn a_body_is_not_read_and_ends_the_connection() {
    let edge = edge();
    for request in [
        format!("GET {} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", path(1)),
        format!("POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", path(1)),
    ] {
        let reply = raw(edge.edge.addr(), request.as_bytes());
        assert!([302, 405].contains(&reply.status));
        assert_eq!(reply.headers("connection"), ["close"]);
    }
}

#[test]
fn f54_heads_have_a_size() {
    let edge = edge();
    let get = format!("GET {} HTTP/1.1\r\nHost: a\r\n", path(1));
    let large = format!("{get}X-Large: {}\r\n\r\n", "x".repeat(17 * 1024));
    assert_eq!(refused(&edge, large.as_bytes()).status, 431);
    let many = format!("{get}{}\r\n", "X: y\r\n".repeat(100));
    assert_eq!(refused(&edge, many.as_bytes()).status, 431);
    let long = format!("GET {}?sub1={} HTTP/1.1\r\nHost: a\r\n\r\n", path(1), "x".repeat(3 * 1024));
    assert_eq!(refused(&edge, long.as_bytes()).status, 414);
    let fits =
        format!("GET {}?sub1={} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", path(1), "x".repeat(1900));
    assert_eq!(raw(edge.edge.addr(), fits.as_bytes()).status, 302);
}

#[test]
fn f53_a_request_that_comes_drop_by_drop_is_given_up_within_five_seconds() {
    let edge = edge();
    let started = Instant::now();
    let mut silent = connect(edge.edge.addr());
    let mut slow = connect(edge.edge.addr());
    slow.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    eventually("the slow one is given up", || {
        let sent = slow.write_all(b"X: y\r\n");
        sent.is_err() || matches!(slow.read(&mut [0]), Ok(0))
    });
    assert!(started.elapsed() < Duration::from_millis(5_500), "{:?}", started.elapsed());
    assert_eq!(silent.read(&mut [0]).unwrap(), 0, "one that says nothing too");
    assert!(started.elapsed() < Duration::from_millis(5_500), "{:?}", started.elapsed());
    assert_eq!(edge.metric("edge_connections_timed_out_total"), 2);
}

#[test]
fn f61_pipelined_requests_are_answered_in_order_and_counted_once_each() {
    let edge = edge();
    edge.publisher.publish(&link(2, "https://shop.example/2"));
    eventually("known", || edge.metric("edge_links") == 2);
    let mut requests = String::new();
    for number in 0..64 {
        requests += &format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", path(number % 2 + 1));
    }
    let mut stream = connect(edge.edge.addr());
    stream.write_all(requests.as_bytes()).unwrap();
    for number in 0..64 {
        let expected = ["https://shop.example/", "https://shop.example/2"][number % 2];
        assert_eq!(read_reply(&mut stream).location(), expected);
    }
    assert_eq!(edge.shipped(64).len(), 64);
}

#[test]
fn at_the_connection_limit_newcomers_wait_until_someone_leaves() {
    let edge = TestEdge::start_with(&["--threads", "1", "--connections", "2"]);
    edge.publisher.publish(&link(1, "https://shop.example/"));
    edge.wait_ready();
    let get = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", path(1));
    let mut first = connect(edge.edge.addr());
    let mut second = connect(edge.edge.addr());
    for stream in [&mut first, &mut second] {
        stream.write_all(get.as_bytes()).unwrap();
        assert_eq!(read_reply(stream).status, 302);
    }
    let mut third = connect(edge.edge.addr());
    third.write_all(get.as_bytes()).unwrap();
    assert_eq!(edge.metric("edge_connections_accepted_total"), 2);
    drop(first);
    assert_eq!(read_reply(&mut third).status, 302);
}

#[test]
fn f11_without_file_descriptors_the_accept_loop_pauses_and_recovers() {
    let publisher = Publisher::new(&shared_url());
    publisher.set_epoch("first");
    publisher.publish(&link(1, "https://shop.example/"));
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start_limited(64, &publisher, folder.path(), &[]);
    let get = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", path(1));
    let mut kept = connect(process.addr);
    kept.write_all(get.as_bytes()).unwrap();
    assert_eq!(read_reply(&mut kept).status, 302);
    // Opened before there are none left.
    let mut admin = connect(process.admin);
    let mut errors = || {
        admin.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        metric_in(&read_reply(&mut admin).body, "edge_accept_errors_total")
    };
    // An answer says that it was accepted, too.
    assert_eq!(errors(), 0);
    let crowd: Vec<_> = (0..100).map(|_| connect(process.addr)).collect();
    eventually("accepts fail", || errors() > 0);
    let (before, since) = (errors(), Instant::now());
    eventually("accepts fail again and again", || errors() >= before + 10);
    let rate = 10.0 / since.elapsed().as_secs_f64();
    assert!(rate < 60.0, "{rate} failed accepts a second by two workers: that is spinning");
    kept.write_all(get.as_bytes()).unwrap();
    assert_eq!(read_reply(&mut kept).status, 302, "who is connected is served");
    drop(crowd);
    let freed = Instant::now();
    let mut newcomer = connect(process.addr);
    newcomer.write_all(get.as_bytes()).unwrap();
    assert_eq!(read_reply(&mut newcomer).status, 302);
    assert!(freed.elapsed() < Duration::from_secs(1), "{:?}", freed.elapsed());
}
