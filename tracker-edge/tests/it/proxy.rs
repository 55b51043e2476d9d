//! The PROXY protocol: the client is who the load balancer says, and nobody else may say so.

use crate::harness::{TestEdge, connect, eventually, link, parse, path, raw, read_reply};
use crate::tls_client::{Authority, Files, get};
use rustls::client::Resumption;
use shared::LinkRecord;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

/// A header that announces this client, with these extensions.
pub(crate) fn header(client: &str, extensions: &[u8]) -> Vec<u8> {
    let addresses = match client.parse().unwrap() {
        IpAddr::V4(client) => [&[0x11][..], &client.octets(), &[10, 0, 0, 1, 0x30, 0x39, 1, 0xbb]].concat(),
        IpAddr::V6(client) => [&[0x21][..], &client.octets(), &[0; 20]].concat(),
    };
    let (family, addresses) = addresses.split_first().unwrap();
    let length = ((addresses.len() + extensions.len()) as u16).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n\x21", &[*family][..], &length, addresses, extensions].concat()
}

/// A header of a balancer that speaks for itself.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

fn edge(flags: &[&str]) -> TestEdge {
    let edge = TestEdge::start_with(&[&["--proxy-protocol", "127.0.0.0/8"], flags].concat());
    edge.publisher.publish(&LinkRecord { dedup_seconds: 0, ..link(1, "https://shop.example/") });
    edge.wait_ready();
    edge
}

fn request() -> Vec<u8> {
    format!("GET {} HTTP/1.1\r\nHost: t.example\r\nUser-Agent: Mozilla/5.0\r\n\r\n", path(1)).into_bytes()
}

/// Sends these bytes and reads one answer.
fn answered(edge: &TestEdge, bytes: &[u8]) -> (TcpStream, u16) {
    let mut stream = connect(edge.edge.addr());
    stream.write_all(bytes).unwrap();
    let status = read_reply(&mut stream).status;
    (stream, status)
}

#[test]
fn a_click_is_the_announced_clients_over_plain_http_and_tls() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let files = authority.put(folder.path(), "edge", &["go.example"]);
    let flags = Files::flags(&[&files]);
    let edge = edge(&flags.each_ref().map(String::as_str));
    for client in ["192.0.2.1", "192.0.2.2", "192.0.2.1", "2001:db8::1"] {
        let bytes = [header(client, &[4, 0, 1, 0]), request()].concat();
        assert_eq!(answered(&edge, &bytes).1, 302, "{client}");
    }
    // TLS begins behind the header.
    let name = "go.example".try_into().unwrap();
    let config = authority.client().config(Resumption::disabled());
    let mut session = rustls::ClientConnection::new(config, name).unwrap();
    let mut socket = connect(edge.edge.tls_addr().unwrap());
    socket.write_all(&header("192.0.2.2", &[])).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut socket).unwrap();
    }
    let mut stream = rustls::StreamOwned::new(session, socket);
    stream.write_all(&request()).unwrap();
    let mut answer = [0; 20];
    stream.read_exact(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 302 "), "{:?}", parse(&answer).head);
    assert_eq!(get(&mut authority_behind(&edge, &authority), "go.example", "/none").status, 404);
    let mut visitors: Vec<_> = edge.shipped(5).into_iter().map(|click| click.visitor).collect();
    visitors.sort_unstable();
    visitors.dedup();
    assert_eq!(visitors.len(), 3, "three clients, whoever carried them here");
}

/// A TLS connection announced as the balancer's own.
fn authority_behind(edge: &TestEdge, authority: &Authority) -> crate::tls_client::TlsStream {
    let config = authority.client().config(Resumption::disabled());
    let mut session = rustls::ClientConnection::new(config, "go.example".try_into().unwrap()).unwrap();
    let mut socket = connect(edge.edge.tls_addr().unwrap());
    socket.write_all(LOCAL).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut socket).unwrap();
    }
    rustls::StreamOwned::new(session, socket)
}

#[test]
fn the_limit_per_address_is_the_announced_clients() {
    let edge = edge(&["--connections-per-address", "2"]);
    let of = |client: &str| [header(client, &[]), request()].concat();
    let kept: Vec<_> = (0..2).map(|_| answered(&edge, &of("192.0.2.1"))).collect();
    assert!(kept.iter().all(|(_, status)| *status == 302));
    assert_eq!(raw(edge.edge.addr(), &of("192.0.2.1")).status, 0, "a third one is closed");
    assert_eq!(answered(&edge, &of("192.0.2.2")).1, 302, "another client has its own");
    // Health checks are the balancer's own, and never too many.
    let checks: Vec<_> = (0..5).map(|_| answered(&edge, &[LOCAL, &request()].concat())).collect();
    assert!(checks.iter().all(|(_, status)| *status == 302));
    assert_eq!(edge.metric("edge_connections_refused_total"), 1);
    drop(kept);
    eventually("places are given back", || raw_status(&edge, &of("192.0.2.1")) == 302);
}

fn raw_status(edge: &TestEdge, bytes: &[u8]) -> u16 {
    let mut stream = connect(edge.edge.addr());
    stream.write_all(bytes).unwrap();
    let mut answer = [0; 64];
    let read = stream.read(&mut answer).unwrap_or(0);
    parse(&answer[..read]).status
}

#[test]
fn f56_one_address_cannot_take_every_handshake() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let files = authority.put(folder.path(), "edge", &["go.example"]);
    let flags = Files::flags(&[&files]);
    let edge = edge(&flags.each_ref().map(String::as_str));
    let addr = edge.edge.tls_addr().unwrap();
    // As many connections as an address may have, each with a hello that is begun and never ended.
    let begun = [header("192.0.2.1", &[]), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()].concat();
    let half: Vec<_> = (0..256)
        .map(|_| {
            let mut stream = connect(addr);
            stream.write_all(&begun).unwrap();
            stream
        })
        .collect();
    eventually("all have come", || edge.metric("edge_connections_accepted_total") == 256);
    let whole = |client: &str| {
        let started = Instant::now();
        let mut socket = connect(addr);
        socket.write_all(&header(client, &[])).unwrap();
        let config = authority.client().config(Resumption::disabled());
        let name = "go.example".try_into().unwrap();
        let mut session = rustls::ClientConnection::new(config, name).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket).unwrap();
        }
        let reply = get(&mut rustls::StreamOwned::new(session, socket), "go.example", &path(1));
        (reply.status, started.elapsed())
    };
    let (status, took) = whole("192.0.2.2");
    assert_eq!(status, 302);
    assert!(took < Duration::from_secs(3), "another address does not wait for them: {took:?}");
    drop(half);
    eventually("they are gone", || edge.metric("edge_connections_closed_total") >= 257);
    assert_eq!(whole("192.0.2.1").0, 302, "and places are given back");
}

#[test]
fn a_header_may_come_in_pieces_and_takes_no_byte_of_the_request() {
    let edge = edge(&[]);
    let header = header("192.0.2.1", &[0xee, 0, 2, 1, 2]);
    let whole = [header, request()].concat();
    for cut in 1..80 {
        let mut stream = connect(edge.edge.addr());
        for part in [&whole[..cut], &whole[cut..]] {
            stream.write_all(part).unwrap();
        }
        assert_eq!(read_reply(&mut stream).status, 302, "{cut}");
        stream.write_all(&request()).unwrap();
        assert_eq!(read_reply(&mut stream).status, 302, "it goes on as any other");
    }
}

#[test]
fn who_must_announce_and_does_not_is_closed_without_an_answer() {
    let edge = edge(&[]);
    let long = [&[0xee, 2, 0][..], &[0; 512]].concat();
    for bad in [
        request(),
        [b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\n".to_vec(), request()].concat(),
        [header("192.0.2.1", &[3, 0, 4, 1, 2, 3, 4]), request()].concat(),
        [header("192.0.2.1", &[1]), request()].concat(),
        [header("192.0.2.1", &long), request()].concat(),
    ] {
        assert_eq!(raw(edge.edge.addr(), &bad).head, "", "{bad:?}");
    }
    assert_eq!(edge.metric("edge_proxy_headers_refused_total"), 5);
    let started = Instant::now();
    let mut slow = connect(edge.edge.addr());
    slow.write_all(b"\r\n\r\n").unwrap();
    assert_eq!(slow.read(&mut [0]).unwrap(), 0, "half a header");
    assert!(started.elapsed() < Duration::from_millis(5_900), "{:?}", started.elapsed());
    assert_eq!(edge.metric("edge_connections_timed_out_total"), 1);
}

#[test]
fn who_is_no_balancer_cannot_announce() {
    let edge = TestEdge::start_with(&["--proxy-protocol", "10.0.0.0/8"]);
    edge.publisher.publish(&link(1, "https://shop.example/"));
    edge.wait_ready();
    let announced = [header("192.0.2.1", &[]), request()].concat();
    assert_eq!(raw(edge.edge.addr(), &announced).status, 400);
    assert_eq!(edge.get(&path(1)).status, 302, "and is served as ever without");
}
