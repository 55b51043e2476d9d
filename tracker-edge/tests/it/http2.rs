//! Clicks over HTTP/2: the same answers, many at a time, and an end without a loss.

use crate::domains::{self, Control, DOMAIN, certified, short};
use crate::harness::{Publisher, Reply, SOON, TestEdge, connect, eventually, link, path, raw};
use crate::http2_client::{
    self, DATA, END_HEADERS, END_STREAM, HEADERS, Http2, RST_STREAM, Raw, block, field, frame, reason,
    request, request_to,
};
use crate::proxy::header;
use crate::ship_redis::PrivateRedis;
use crate::tls::{HOST, Tls};
use crate::tls_client::{Authority, Client, Files, get};
use http::{Method, Request};
use redis::Commands;
use shared::{LinkRecord, LinkStatus};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Links of every kind: 1 and 2 redirect, 3 is gone, 4 is not tracked, 5 is in nobody's memory, 6 has macros.
fn filled(more: &[&str]) -> Tls {
    let tls = Tls::start_flags(more);
    let publisher = &tls.edge.publisher;
    let shop = |key| LinkRecord { version: 2, dedup_seconds: 0, ..link(key, "https://shop.example/") };
    publisher.publish(&shop(1));
    publisher.publish(&LinkRecord { destination: "https://shop.example/2", ..shop(2) });
    publisher.publish(&LinkRecord { status: LinkStatus::Gone, destination: "", ..shop(3) });
    publisher.publish(&LinkRecord { status: LinkStatus::Untracked, ..shop(4) });
    publisher.publish(&LinkRecord {
        has_macros: true,
        destination: "https://shop.example/?s={sub1}",
        ..shop(6)
    });
    publisher.write(&shop(5));
    eventually("known", || {
        tls.edge.metric("edge_links") >= 4 && tls.edge.metric("edge_link_changes_total") >= 6
    });
    tls
}

#[test]
fn the_client_says_which_protocol_and_http_2_comes_first() {
    let tls = Tls::start();
    for (alpn, expected) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let alpn = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let stream = Client { alpn, ..tls.client() }.connect(tls.addr(), HOST).unwrap();
        assert_eq!(stream.conn.alpn_protocol(), expected);
    }
    let nothing_known = Client { alpn: vec![b"h3".to_vec()], ..tls.client() };
    assert!(nothing_known.connect(tls.addr(), HOST).is_err());
    eventually("counted", || tls.edge.metric("edge_http2_connections_total") == 2);
}

#[test]
fn without_tls_there_is_no_http_2() {
    let tls = Tls::start();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let reply = raw(tls.edge.edge.addr(), preface);
    assert!(reply.head.is_empty() || reply.head.starts_with("HTTP/1.1 4"), "{reply:?}");
    let upgrade = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"];
    assert_eq!(tls.edge.get_with(&path(1), &upgrade).status, 302, "an upgrade is an offer, and not taken");
    assert_eq!(tls.edge.metric("edge_http2_connections_total"), 0);
}

#[test]
fn a_click_is_answered_and_recorded_and_shown() {
    let tls = filled(&[]);
    let mut client = Http2::connect(&tls);
    for key in [1, 2, 1] {
        let reply = client.get(&path(key));
        let expected = if key == 1 { "https://shop.example/" } else { "https://shop.example/2" };
        assert_eq!((reply.status, reply.location(), reply.body.as_str()), (302, expected, ""));
    }
    let shipped = tls.edge.shipped(3);
    assert_eq!(shipped.len(), 3);
    assert_eq!(shipped.iter().filter(|click| click.link == shared::LinkKey(1)).count(), 2);
    let counted = |name: &str| tls.edge.metric(name);
    assert_eq!((counted("edge_http2_connections_total"), counted("edge_http2_requests_total")), (1, 3));
    assert_eq!(counted("edge_responses_total{answer=\"redirect\"}"), 3);
}

/// What an answer says, and what may differ: how long it is when that is nothing, the connection, the second.
fn said(reply: &Reply) -> (u16, BTreeSet<String>, String) {
    let lines = reply.head.lines().skip(1).map(str::to_lowercase);
    let same = |line: &String| !line.starts_with("connection:") && line != "content-length: 0";
    let dateless = |line: String| if line.starts_with("date: ") { "date".to_owned() } else { line };
    (reply.status, lines.filter(same).map(dateless).collect(), reply.body.clone())
}

#[test]
fn every_answer_is_that_of_http_1() {
    let tls = filled(&[]);
    let () = tls
        .edge
        .publisher
        .connection()
        .set_ex(tls.edge.publisher.keys.acme_challenge("abc"), "abc.thumb", 60)
        .unwrap();
    let mut client = Http2::connect(&tls);
    let (long, challenge) =
        (format!("{}?sub1={}", path(1), "x".repeat(3000)), "/.well-known/acme-challenge/abc");
    let macros = format!("{}?sub1=a%26b&sub2=c", path(6));
    let json = ("accept", "application/json");
    let mut statuses = BTreeSet::new();
    for (method, path, field) in [
        ("GET", path(1).as_str(), None),
        ("GET", &format!("{}?a=b", path(2)), None),
        ("HEAD", &path(1), None),
        ("GET", &macros, None),
        ("GET", &path(3), None),
        ("GET", &path(3), Some(json)),
        ("HEAD", &path(3), None),
        ("GET", &path(4), None),
        ("GET", &path(5), None),
        ("GET", &path(7), None),
        ("GET", "/", None),
        ("HEAD", "/", None),
        ("GET", "/api/track/nonsense", Some(json)),
        ("GET", &path(1), Some(("sec-purpose", "prefetch"))),
        ("POST", &path(1), None),
        ("DELETE", &path(1), Some(json)),
        ("PATCH", "/", None),
        ("OPTIONS", &path(1), None),
        ("GET", &long, None),
        ("GET", challenge, None),
        ("HEAD", challenge, None),
    ] {
        let mut asked = Request::builder().method(method).uri(format!("https://{HOST}{path}"));
        let mut lines = Vec::new();
        if let Some((name, value)) = field {
            asked = asked.header(name, value);
            lines.push(format!("{name}: {value}"));
        }
        let over_2 = client.ask(asked.body(()).unwrap()).unwrap();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let over_1 = tls.edge.send(method, path, &lines);
        assert_eq!(said(&over_2), said(&over_1), "{method} {path}");
        assert_eq!(over_2.headers("connection"), [""; 0]);
        statuses.insert(over_2.status);
    }
    assert_eq!(statuses, BTreeSet::from([200, 302, 404, 405, 410, 414, 503]));
    assert_eq!(client.get(&path(1)).status, 302, "all over one connection");
}

#[test]
fn a_client_that_is_not_ours_is_served_too() {
    let tls = filled(&[]);
    let authority = tls.folder.path().join("authority.pem");
    std::fs::write(&authority, tls.authority.pem()).unwrap();
    let peers = PathBuf::from(std::env::var_os("AOS_TEST_PEERS").expect("run `cargo xtask test`"));
    let asked = Command::new(peers.join(".venv/bin/python"))
        .arg(peers.join("http2/ask.py"))
        .args([&tls.addr().port().to_string(), HOST])
        .arg(authority)
        .args([path(1), path(2), "/".to_owned(), path(5), path(1)])
        .output()
        .unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    let replies: serde_json::Value = serde_json::from_slice(&asked.stdout).unwrap();
    let page = tls.edge.get("/").body.len();
    let (one, two) = ("https://shop.example/", "https://shop.example/2");
    let expected = serde_json::json!([
        ["HTTP/2", 302, one, 0],
        ["HTTP/2", 302, two, 0],
        ["HTTP/2", 404, null, page],
        ["HTTP/2", 302, one, 0],
        ["HTTP/2", 302, one, 0],
    ]);
    assert_eq!(replies, expected);
    assert_eq!(tls.edge.shipped(4).len(), 4);
    assert_eq!(tls.edge.metric("edge_http2_connections_total"), 1);
}

#[test]
fn hosts_that_disagree_or_are_missing_are_refused_and_the_connection_goes_on() {
    let tls = filled(&[]);
    let mut client = Http2::connect(&tls);
    let mut status = |host: &str, field: Option<&str>| {
        let mut request = request_to(Method::GET, host, &path(1));
        if let Some(field) = field {
            request.headers_mut().append("host", field.parse().unwrap());
        }
        client.ask(request).unwrap().status
    };
    assert_eq!(status(HOST, Some(HOST)), 302);
    assert_eq!(status("GO.example", Some(HOST)), 302);
    assert_eq!(status(HOST, Some("other.example")), 400);
    assert_eq!(status("a,b.example", None), 400);
    assert_eq!(status("me@go.example", None), 400);
    // What no client's library sends: fields of HTTP/1.1, no host, two hosts.
    let mut raw = Raw::connect(&tls, &[]);
    let bare = |fields: &[Vec<u8>]| [&[0x82, 0x87], &fields.concat()[..]].concat();
    let (path, host) = (field(":path", &path(1)), |host: &str| field("host", host));
    for (stream, block) in [
        (1, bare(&[path.clone(), host(HOST)])),
        (3, bare(std::slice::from_ref(&path))),
        (5, bare(&[path.clone(), host(HOST), host(HOST)])),
        (7, bare(&[path.clone(), host(HOST), field("x", "y")])),
    ] {
        raw.write(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &block));
        // 400 has an entry of its own in the table everybody knows.
        let is_refused = raw.until(HEADERS, stream).unwrap().payload[0] == 0x8c;
        assert_eq!(is_refused, matches!(stream, 3 | 5), "{stream}");
    }
    for (stream, fields) in [
        (9, [path.clone(), field("connection", "close")]),
        (11, [path.clone(), field("transfer-encoding", "chunked")]),
        (13, [path.clone(), field(":path", "/again")]),
        (15, [field("x", "y"), path]),
    ] {
        let block = bare(&[host(HOST), fields.concat()]);
        raw.write(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &block));
        let reset = raw.until(RST_STREAM, stream).unwrap();
        assert_eq!(reset.payload, 1u32.to_be_bytes(), "{stream}: a malformed request costs its stream");
    }
    raw.write(&crate::http2_client::get(17, &crate::harness::path(1)));
    assert!(raw.until(HEADERS, 17).is_some());
    assert_eq!(tls.edge.shipped(5).len(), 5, "no refused request is a click");
}

#[test]
fn a_body_is_not_read_and_costs_its_stream_alone() {
    let tls = filled(&[]);
    let mut client = Http2::connect(&tls);
    for (method, expected) in [(Method::GET, 302), (Method::POST, 405)] {
        let answer = client.send(request(method, &path(1)), Some("hello")).unwrap();
        assert_eq!(client.answer(answer).unwrap().status, expected);
    }
    // One that never comes: the answer does, and the word that nothing more is wanted.
    let mut raw = Raw::connect(&tls, &[]);
    raw.write(&frame(HEADERS, END_HEADERS, 1, &block("POST", &path(1), &[("content-length", "5")])));
    assert!(raw.until(HEADERS, 1).is_some());
    assert_eq!(raw.until(RST_STREAM, 1).unwrap().payload, 0u32.to_be_bytes());
    raw.write(&frame(DATA, END_STREAM, 1, b"hello"));
    raw.write(&crate::http2_client::get(3, &path(1)));
    assert!(raw.until(HEADERS, 3).is_some(), "what was under way is no offence");
    assert_eq!(client.get(&path(1)).status, 302);
    assert_eq!(tls.edge.shipped(3).len(), 3);
}

#[test]
fn many_requests_at_a_time_are_answered_and_counted_once_each() {
    for strict in ["false", "true"] {
        let tls = filled(&["--spool-strict", strict]);
        let mut clients: Vec<_> = (0..3).map(|_| Http2::connect(&tls)).collect();
        for _ in 0..3 {
            for client in &mut clients {
                // A few pages among them, and one link that has to be asked for.
                let requests = (0..250).map(|number| match number % 10 {
                    9 => request(Method::GET, "/"),
                    8 => request(Method::GET, &path(5)),
                    _ => request(Method::GET, &path(1)),
                });
                let replies = client.all(requests.collect());
                let statuses = replies.into_iter().map(|reply| reply.unwrap().status);
                assert_eq!(statuses.filter(|status| *status == 302).count(), 225);
            }
        }
        assert_eq!(tls.edge.shipped(9 * 225).len(), 9 * 225, "strict: {strict}");
        assert_eq!(tls.edge.metric("edge_http2_requests_total"), 9 * 250);
        assert_eq!(tls.edge.metric("edge_http2_floods_total"), 0);
    }
}

#[test]
fn a_connection_is_for_the_sites_of_its_certificate() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let ours = authority.put(folder.path(), "edge", &["go.example", "other.example"]);
    let flags = Files::flags(&[&ours]);
    let edge = domains::edge(&flags.each_ref().map(String::as_str));
    let (record, _) = certified(&authority, DOMAIN, 1);
    Control(&edge.publisher).fill("first", &[record]);
    eventually("known", || edge.metric("edge_domains") == 1);
    let (addr, client) = (edge.edge.tls_addr().unwrap(), authority.client());
    let mut theirs = Http2::connect_as(&client, addr, DOMAIN, &[]);
    let mut own = Http2::connect_as(&client, addr, "go.example", &[]);
    let port = format!("{DOMAIN}:443");
    let upper = DOMAIN.to_ascii_uppercase();
    for (is_theirs, host, path, expected) in [
        (true, DOMAIN, short(1), 302),
        (true, &port, short(1), 302),
        (true, &upper, short(1), 302),
        (true, DOMAIN, short(3), 404),
        (true, "go.example", path(1), 421),
        (true, "elsewhere.example", short(1), 421),
        (false, "go.example", path(3), 302),
        (false, "other.example", path(3), 302),
        (false, DOMAIN, short(1), 421),
        (false, &port, path(1), 421),
        (false, "go.example", path(1), 302),
    ] {
        let connection = if is_theirs { &mut theirs } else { &mut own };
        let reply = connection.ask(request_to(Method::GET, host, &path)).unwrap();
        assert_eq!(reply.status, expected, "{host} {path}");
    }
    assert_eq!(edge.shipped(6).len(), 6);
    // Over HTTP/1.1, where nobody shares a connection among hosts, the request says where it goes.
    let mut stream = client.connect(addr, "go.example").unwrap();
    assert_eq!(get(&mut stream, DOMAIN, &short(1)).status, 302);
}

#[test]
fn a_load_balancers_word_and_the_limit_per_address_count_as_ever() {
    let tls = Tls::start_flags(&["--proxy-protocol", "127.0.0.0/8", "--connections-per-address", "1"]);
    let client = tls.client();
    let connect_from = |address: &str| Http2::connect_as(&client, tls.addr(), HOST, &header(address, &[]));
    let mut first = connect_from("192.0.2.1");
    assert_eq!(first.get(&path(1)).status, 302);
    let mut second = connect_from("192.0.2.2");
    assert_eq!(second.get(&path(1)).status, 302);
    let mut over = connect(tls.addr());
    std::io::Write::write_all(&mut over, &header("192.0.2.1", &[])).unwrap();
    assert_eq!(std::io::Read::read(&mut over, &mut [0]).unwrap_or(0), 0, "a second one of the same address");
    let visitors: BTreeSet<_> = tls.edge.shipped(2).into_iter().map(|click| click.visitor).collect();
    assert_eq!(visitors.len(), 2, "each is its own visitor");
}

/// An edge on a Redis of its own, with a link that must be asked for.
fn waiting_edge(redis: &PrivateRedis, authority: &Authority, folder: &std::path::Path) -> TestEdge {
    let publisher = Publisher::new(&redis.url());
    publisher.set_epoch("first");
    publisher.publish(&LinkRecord { dedup_seconds: 0, ..link(1, "https://shop.example/") });
    publisher.write(&LinkRecord { dedup_seconds: 0, ..link(2, "https://shop.example/2") });
    let flags = Files::flags(&[&authority.put(folder, "edge", &[HOST])]);
    let flags =
        [&flags.each_ref().map(String::as_str)[..], &["--miss-ms", "9000", "--grace-ms", "9000"]].concat();
    let edge = TestEdge::start_on(publisher, &redis.url(), tempfile::tempdir().unwrap(), &flags);
    edge.wait_ready();
    edge
}

#[test]
fn a_stop_answers_every_stream_in_hand_and_ends_who_rests() {
    let redis = PrivateRedis::start(&[]);
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let edge = waiting_edge(&redis, &authority, folder.path());
    let addr = edge.edge.tls_addr().unwrap();
    let connect = || Http2::connect_as(&authority.client(), addr, HOST, &[]);
    let (mut busy, mut resting) = (connect(), connect());
    assert_eq!((busy.get(&path(1)).status, resting.get(&path(1)).status), (302, 302));
    // Reads what it is told and never answers.
    let mut silent = Raw::connect_as(&authority.client(), addr, &[]);
    silent.write(&http2_client::get(1, &path(1)));
    assert!(silent.until(HEADERS, 1).is_some());
    let rested = Instant::now();
    eventually("rested longer than a stop waits for an answer", || rested.elapsed().as_millis() > 1100);
    redis.signal("STOP");
    let asked: Vec<_> = (0..20).map(|_| busy.send(request(Method::GET, &path(2)), None).unwrap()).collect();
    // Frames come in order: with this answer all of them have come.
    assert_eq!(busy.ask(request(Method::HEAD, &path(1))).unwrap().status, 302);
    let stopped = Instant::now();
    edge.edge.stop();
    let is_polite = |ended: Result<(), h2::Error>| ended.err().is_none_or(|error| error.is_io());
    assert!(is_polite(resting.ended_within(SOON)), "who rests is told and closed");
    let told = silent.rest();
    assert_eq!(reason(&told), Some(h2::Reason::NO_ERROR), "{told:?}");
    assert!(stopped.elapsed().as_millis() >= 500, "even one that has rested has a moment to answer");
    redis.signal("CONT");
    for answer in asked {
        let reply = busy.answer(answer).unwrap();
        assert_eq!((reply.status, reply.location()), (302, "https://shop.example/2"));
    }
    // What it still wrote may have come too late, but nobody is blamed.
    assert!(is_polite(busy.ended_within(SOON)));
    assert!(busy.send(request(Method::GET, &path(1)), None).is_err(), "nothing more is taken");
    // A drainer has everything in the end.
    let publisher = edge.publisher;
    let committed = std::thread::scope(|scope| {
        let stopping = scope.spawn(|| edge.edge.join());
        while !stopping.is_finished() {
            publisher.commit();
            std::thread::park_timeout(Duration::from_millis(20));
        }
        stopping.join().unwrap()
    });
    assert!(committed, "a clean stop");
    assert_eq!(publisher.shipped().len(), 23, "three clicks before, twenty at the stop");
}

#[test]
fn a_stop_under_load_loses_no_click_and_doubles_none() {
    let tls = filled(&["--grace-ms", "3000", "--drain-delay-ms", "300"]);
    let answered = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Http2::connect(&tls);
                    let (mut answered, mut unanswered) = (0, 0);
                    while unanswered == 0 {
                        for reply in client.all((0..20).map(|_| request(Method::GET, &path(1))).collect()) {
                            match reply {
                                Ok(reply) => answered += usize::from(reply.status == 302),
                                Err(_) => unanswered += 1,
                            }
                        }
                    }
                    answered
                })
            })
            .collect();
        eventually("load", || tls.edge.metric("edge_http2_requests_total") > 300);
        tls.edge.edge.stop();
        clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
    });
    let publisher = &tls.edge.publisher;
    eventually("shipped", || publisher.shipped().len() >= answered);
    // What was taken was answered: a GOAWAY says which requests were not.
    assert_eq!(publisher.shipped().len(), answered);
}

#[test]
fn a_connection_without_a_request_has_five_seconds() {
    let tls = Tls::start();
    let started = Instant::now();
    let mut client = Http2::connect(&tls);
    assert!(client.ended_well());
    assert!(started.elapsed() < Duration::from_millis(5_900), "{:?}", started.elapsed());
    // A client that says it speaks HTTP/2 and then does not.
    let alpn = vec![b"h2".to_vec()];
    let mut stream = Client { alpn, ..tls.client() }.connect(tls.addr(), HOST).unwrap();
    std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\nHost: go.example\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    drop(std::io::Read::read_to_end(&mut stream, &mut answer));
    assert!(!answer.windows(4).any(|window| window == b"HTTP"), "{answer:?}");
    eventually("refused", || tls.edge.metric("edge_responses_total{answer=\"refused\"}") == 1);
}

#[test]
fn a_request_that_is_given_up_while_it_waits_is_no_click() {
    let redis = PrivateRedis::start(&[]);
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let edge = waiting_edge(&redis, &authority, folder.path());
    let mut client = Http2::connect_as(&authority.client(), edge.edge.tls_addr().unwrap(), HOST, &[]);
    assert_eq!(client.get(&path(1)).status, 302);
    redis.signal("STOP");
    let given_up: Vec<_> =
        (0..5).map(|_| client.send(request(Method::GET, &path(2)), None).unwrap()).collect();
    let kept = client.send(request(Method::GET, &path(2)), None).unwrap();
    assert_eq!(client.ask(request(Method::HEAD, &path(1))).unwrap().status, 302, "all have come");
    drop(given_up);
    // Who asks afterwards is answered afterwards: the resets have come.
    assert_eq!(client.get(&path(1)).status, 302);
    redis.signal("CONT");
    assert_eq!(client.answer(kept).unwrap().status, 302);
    assert_eq!(edge.shipped(3).len(), 3);
}
