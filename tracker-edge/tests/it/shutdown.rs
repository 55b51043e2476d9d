//! A stop loses no answer and no click.

use crate::harness::{Process, Publisher, TestEdge, connect, eventually, link, path, raw, read_reply};
use crate::ship_redis::shared_url;
use shared::LinkRecord;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

fn publisher() -> Publisher {
    let publisher = Publisher::new(&shared_url());
    publisher.set_epoch("first");
    publisher.publish(&LinkRecord { dedup_seconds: 0, ..link(1, "https://shop.example/") });
    publisher
}

#[test]
fn f2_sigterm_under_load_truncates_no_answer_and_loses_no_click() {
    let (publisher, folder) = (publisher(), tempfile::tempdir().unwrap());
    let mut process = Process::start(&publisher, folder.path(), &["--grace-ms", "20000"]);
    let addr = process.addr;
    let answered = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut closes = 0;
                    loop {
                        // Refused: the edge takes no new connections any more.
                        let Ok(mut stream) = std::net::TcpStream::connect(addr) else { return closes };
                        loop {
                            let request = format!("GET {} HTTP/1.1\r\nHost: t.example\r\n\r\n", path(1));
                            if stream.write_all(request.as_bytes()).is_err() {
                                break;
                            }
                            let mut first = [0];
                            // Closed before a byte of the answer: the request was not taken.
                            if !matches!(stream.read(&mut first), Ok(1)) {
                                break;
                            }
                            let reply = read_reply(&mut stream);
                            assert!(reply.head.contains("302 Found"), "{}", reply.head);
                            answered.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                            if reply.headers("connection") == ["close"] {
                                closes += 1;
                                break;
                            }
                        }
                    }
                })
            })
            .collect();
        eventually("load", || answered.load(std::sync::atomic::Ordering::Relaxed) > 500);
        process.terminate();
        let closes: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
        assert!(closes > 0, "answers say that the connection ends");
    });
    // It ends as soon as a drainer has everything, well before its grace is over.
    let stopped = Instant::now();
    eventually("ended", || {
        publisher.commit();
        process.child.try_wait().unwrap().is_some()
    });
    assert_eq!(process.child.wait().unwrap().code(), Some(0));
    assert!(stopped.elapsed() < Duration::from_secs(8), "{:?}", stopped.elapsed());
    let answered = answered.into_inner();
    let shipped = publisher.shipped().len();
    // A click whose answer the client did not read is recorded all the same, never the other way round.
    assert!((answered..=answered + 8).contains(&shipped), "{answered} answered, {shipped} shipped");
}

#[test]
fn a_stop_is_announced_before_connections_are_refused() {
    let (publisher, folder) = (publisher(), tempfile::tempdir().unwrap());
    let mut process =
        Process::start(&publisher, folder.path(), &["--drain-delay-ms", "1500", "--grace-ms", "500"]);
    let get = format!("GET {} HTTP/1.1\r\nHost: t.example\r\n\r\n", path(1));
    let mut kept = connect(process.addr);
    kept.write_all(get.as_bytes()).unwrap();
    assert_eq!(read_reply(&mut kept).headers("connection"), [""; 0]);
    process.terminate();
    let stopped = Instant::now();
    let ready = b"GET /ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    eventually("unready", || raw(process.admin, ready).status == 503);
    // New connections are still served, and told that this answer is their last.
    eventually("announced", || {
        let mut stream = connect(process.addr);
        stream.write_all(get.as_bytes()).unwrap();
        let reply = read_reply(&mut stream);
        assert_eq!(reply.status, 302);
        reply.headers("connection") == ["close"]
    });
    kept.write_all(get.as_bytes()).unwrap();
    assert_eq!(read_reply(&mut kept).headers("connection"), ["close"]);
    assert_eq!(process.child.wait().unwrap().code(), Some(0));
    assert!(stopped.elapsed() < Duration::from_secs(8), "{:?}", stopped.elapsed());
}

#[test]
fn a_request_in_hand_is_finished_and_an_idle_connection_closed() {
    for way in ["--fast-path=false", "--fast-path=true"] {
        let edge = TestEdge::start_with(&["--grace-ms", "4000", way]);
        edge.publisher.publish(&link(1, "https://shop.example/"));
        edge.wait_ready();
        let mut idle = connect(edge.edge.addr());
        write!(idle, "GET {} HTTP/1.1\r\nHost: t.example\r\n\r\n", path(1)).unwrap();
        read_reply(&mut idle);
        let mut half = connect(edge.edge.addr());
        write!(half, "GET {} HTTP/1.1\r\nHost: t.exa", path(1)).unwrap();
        eventually("both connected", || edge.metric("edge_connections_accepted_total") == 2);
        edge.edge.stop();
        assert_eq!(idle.read(&mut [0]).unwrap(), 0, "idle connections are closed at once ({way})");
        write!(half, "mple\r\n\r\n").unwrap();
        let reply = read_reply(&mut half);
        assert_eq!((reply.status, reply.headers("connection")), (302, vec!["close"]), "{way}");
    }
}

#[test]
fn clicks_a_stop_could_not_ship_are_shipped_by_the_next_start() {
    let mut redis = crate::ship_redis::PrivateRedis::start(&[]);
    let publisher = Publisher::new(&redis.url());
    publisher.set_epoch("first");
    publisher.publish(&link(1, "https://shop.example/"));
    let edge = TestEdge::start_on(publisher, &redis.url(), tempfile::tempdir().unwrap(), &[]);
    edge.wait_ready();
    redis.kill();
    assert_eq!(edge.get(&path(1)).status, 302);
    let (publisher, folder) = edge.stop();
    redis.start_again();
    publisher.set_epoch("second");
    let edge = TestEdge::start_on(publisher, &redis.url(), folder, &[]);
    assert_eq!(edge.shipped(1).len(), 1);
}
