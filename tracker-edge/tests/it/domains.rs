//! Custom domains: whose links they serve, over which certificate, and what proves them.

use crate::harness::{Publisher, Reply, SECRET, TestEdge, connect, eventually, link, path, raw};
use crate::ship_redis::PrivateRedis;
use crate::tls_client::{Authority, Files, get, shown};
use rcgen::KeyPair;
use redis::Commands;
use shared::domain_record::{Certificate, DomainKey, DomainRecord};
use shared::{LinkRecord, Secret};
use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The account whose domain it is. Links of `harness` are of advertiser 7 and affiliate 9.
const OWNER: u32 = 7;
pub(crate) const DOMAIN: &str = "go.shop.example";

/// Says what a control plane says of custom domains.
pub(crate) struct Control<'a>(pub(crate) &'a Publisher);

impl Control<'_> {
    /// Sets the whole and the epoch.
    pub(crate) fn fill(&self, epoch: &str, records: &[DomainRecord]) {
        for record in records {
            self.write(record);
        }
        let () = self.0.connection().set(self.0.keys.domains_epoch(), epoch).unwrap();
    }

    fn write(&self, record: &DomainRecord) {
        let key = DomainKey::new(&Secret::parse(SECRET).unwrap());
        let bytes = record.encode(&key);
        let () = self.0.connection().hset(self.0.keys.domains(), &record.host, bytes).unwrap();
    }

    /// Says that a domain has changed.
    fn say(&self, host: &str) {
        let changes = self.0.keys.domains_changes();
        let () = redis::cmd("XADD").arg(&[&changes, "*", "h", host]).query(&mut self.0.connection()).unwrap();
    }

    fn publish(&self, record: &DomainRecord) {
        self.write(record);
        self.say(&record.host);
    }
}

fn domain(host: &str, owner: u32, version: u64) -> DomainRecord {
    DomainRecord { host: host.to_owned(), owner, version, removed: false, certificate: None }
}

/// With a certificate, and its bytes.
pub(crate) fn certified(authority: &Authority, host: &str, version: u64) -> (DomainRecord, Vec<u8>) {
    let (chain_pem, key_pem) = authority.issue(&[host], &KeyPair::generate().unwrap());
    let der = Authority::der(&chain_pem);
    let certificate = Certificate { chain_pem, key_pem: key_pem.into(), not_after_unix: 4_000_000_000 };
    (DomainRecord { certificate: Some(certificate), ..domain(host, OWNER, version) }, der)
}

fn ask(addr: SocketAddr, host: &str, path: &str) -> Reply {
    raw(addr, format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
}

/// The token alone.
pub(crate) fn short(key: u64) -> String {
    path(key).replace("/api/track", "")
}

/// An edge with links 1 (advertiser), 2 (affiliate) and 3 (somebody else's), in which all of them are known.
pub(crate) fn edge(flags: &[&str]) -> TestEdge {
    let edge = TestEdge::start_with(&[&["--tracking-origin", "https://go.example"], flags].concat());
    let of = |key, advertiser, affiliate| LinkRecord {
        advertiser,
        affiliate,
        dedup_seconds: 0,
        ..link(key, "https://shop.example/")
    };
    for record in [of(1, OWNER, 900), of(2, 901, OWNER), of(3, 901, 900)] {
        edge.publisher.publish(&record);
    }
    edge.wait_ready();
    edge
}

#[test]
fn a_domain_serves_its_owners_links_and_nobody_elses() {
    let edge = edge(&[]);
    let addr = edge.edge.addr();
    let status = |host: &str, path: &str| ask(addr, host, path).status;
    assert_eq!(status(DOMAIN, &short(1)), 404, "no custom domain yet: only the long path");
    Control(&edge.publisher).fill("first", &[domain(DOMAIN, OWNER, 1)]);
    eventually("known", || edge.metric("edge_domains") == 1);
    for host in [DOMAIN, "GO.Shop.Example", "go.shop.example:443"] {
        for (key, expected) in [(1, 302), (2, 302), (3, 404)] {
            assert_eq!(
                (status(host, &short(key)), status(host, &path(key))),
                (expected, expected),
                "{host} {key}"
            );
        }
        assert_eq!((status(host, "/"), status(host, "/none"), status(host, "/favicon.ico")), (404, 404, 404));
    }
    for host in ["go.example", "t.example", "127.0.0.1"] {
        assert_eq!((status(host, &path(3)), status(host, &short(3))), (302, 404), "{host}: as before");
    }
    // A link that is in nobody's memory yet is judged by its owner too.
    edge.publisher.write(&LinkRecord { advertiser: 901, affiliate: 900, ..link(4, "https://shop.example/") });
    assert_eq!(status(DOMAIN, &short(4)), 404);
    assert_eq!(edge.shipped(15).len(), 15, "what was answered 404 is no click");
}

#[test]
fn no_header_but_host_says_which_domain_is_meant() {
    let edge = edge(&["--trusted-proxies", "10.0.0.0/8"]);
    Control(&edge.publisher).fill("first", &[domain(DOMAIN, OWNER, 1)]);
    eventually("known", || edge.metric("edge_domains") == 1);
    for name in ["X-Forwarded-Host", "X-Original-Host", "Forwarded"] {
        let value = if name == "Forwarded" { format!("host={DOMAIN}") } else { DOMAIN.to_owned() };
        let header = format!("{name}: {value}");
        assert_eq!(edge.get_with(&short(1), &[&header]).status, 404, "{name}");
        assert_eq!(edge.get_with(&path(3), &[&header, "X-Forwarded-Proto: https"]).status, 302, "{name}");
    }
}

#[test]
fn changes_arrive_in_order_or_not_and_a_removed_domain_serves_nothing() {
    let edge = edge(&[]);
    let control = Control(&edge.publisher);
    control.fill("first", &[domain(DOMAIN, OWNER, 5)]);
    let status = || ask(edge.edge.addr(), DOMAIN, &short(1)).status;
    eventually("served", || status() == 302);
    control.publish(&domain(DOMAIN, 900, 4));
    control.publish(&domain("other.example", OWNER, 1));
    eventually("the later change is in", || edge.metric("edge_domains") == 2);
    assert_eq!(status(), 302, "an older record changes nothing");
    control.publish(&DomainRecord { removed: true, ..domain(DOMAIN, OWNER, 6) });
    eventually("removed", || status() == 404 && ask(edge.edge.addr(), DOMAIN, &path(1)).status == 404);
    // Redis loses everything, and is filled again with one domain less.
    let () = edge.publisher.connection().del(edge.publisher.keys.domains()).unwrap();
    control.fill("second", &[domain(DOMAIN, OWNER, 7)]);
    eventually("read whole again", || edge.metric("edge_domains") == 1 && status() == 302);
}

#[test]
fn certificates_come_by_name_and_are_renewed_in_place() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let ours = authority.put(folder.path(), "edge", &["go.example"]);
    let flags = Files::flags(&[&ours]);
    let edge = edge(&flags.each_ref().map(String::as_str));
    let control = Control(&edge.publisher);
    let (first, first_der) = certified(&authority, DOMAIN, 1);
    control.fill("first", &[first, domain("bare.example", OWNER, 1)]);
    eventually("known", || edge.metric("edge_domains") == 2);
    let (addr, client) = (edge.edge.tls_addr().unwrap(), authority.client());
    let mut stream = client.connect(addr, DOMAIN).unwrap();
    assert!(shown(&stream) == first_der);
    let reply = get(&mut stream, DOMAIN, &short(1));
    assert_eq!((reply.status, reply.location()), (302, "https://shop.example/"));
    assert_eq!(get(&mut stream, DOMAIN, &short(3)).status, 404);
    assert!(shown(&client.connect(addr, "go.example").unwrap()) == ours.der);
    assert!(client.connect(addr, "bare.example").is_err(), "without a certificate of its own it shows ours");
    let (renewed, renewed_der) = certified(&authority, DOMAIN, 2);
    control.publish(&renewed);
    eventually("the renewed one is shown", || shown(&client.connect(addr, DOMAIN).unwrap()) == renewed_der);
    assert_eq!(get(&mut stream, DOMAIN, &short(1)).status, 302, "who is connected goes on");
    // One that cannot be used is skipped, and nothing else suffers.
    let (mut broken, _) = certified(&authority, DOMAIN, 3);
    broken.certificate.as_mut().unwrap().key_pem = KeyPair::generate().unwrap().serialize_pem().into();
    control.publish(&broken);
    eventually("ours is shown again", || client.connect(addr, DOMAIN).is_err());
    assert_eq!(edge.metric("edge_domain_unusable_total"), 1);
    assert!(shown(&client.connect(addr, "go.example").unwrap()) == ours.der);
}

#[test]
fn an_edge_that_starts_without_redis_has_its_domains_and_certificates() {
    let mut redis = PrivateRedis::start(&[]);
    let publisher = Publisher::new(&redis.url());
    publisher.set_epoch("first");
    publisher.publish(&LinkRecord { advertiser: OWNER, ..link(1, "https://shop.example/") });
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let flags = Files::flags(&[&authority.put(folder.path(), "edge", &["go.example"])]);
    let flags = flags.each_ref().map(String::as_str);
    let (record, der) = certified(&authority, DOMAIN, 1);
    Control(&publisher).fill("first", std::slice::from_ref(&record));
    let edge = TestEdge::start_on(publisher, &redis.url(), tempfile::tempdir().unwrap(), &flags);
    edge.wait_ready();
    eventually("known", || edge.metric("edge_domains") == 1);
    let (publisher, folder) = edge.stop();
    let saved = std::fs::read(folder.path().join("spool/domains.snapshot")).unwrap();
    let key = record.certificate.unwrap().key_pem;
    let line = key.lines().nth(1).unwrap().as_bytes();
    assert!(
        !saved.windows(line.len()).any(|window| window == line),
        "the key is on disk as sealed as in Redis"
    );
    redis.kill();
    let edge = TestEdge::start_on(publisher, &redis.url(), folder, &flags);
    let mut stream = authority.client().connect(edge.edge.tls_addr().unwrap(), DOMAIN).unwrap();
    assert!(shown(&stream) == der);
    assert_eq!(get(&mut stream, DOMAIN, &short(1)).status, 302);
}

#[test]
fn acme_servers_are_answered_on_any_host_and_others_learn_nothing() {
    let edge = edge(&[]);
    let addr = edge.edge.addr();
    let () = edge
        .publisher
        .connection()
        .set_ex(edge.publisher.keys.acme_challenge("LoqXcYV8q5ON_bJ-x"), "LoqXcYV8q5ON_bJ-x.thumb", 60)
        .unwrap();
    for host in ["new.example", "go.example"] {
        let reply = ask(addr, host, "/.well-known/acme-challenge/LoqXcYV8q5ON_bJ-x");
        assert_eq!((reply.status, reply.body.as_str()), (200, "LoqXcYV8q5ON_bJ-x.thumb"));
        assert_eq!(reply.headers("content-type"), ["text/plain"]);
    }
    let long = "a".repeat(129);
    for token in ["unknown", "", "a/b", "..%2fx", &long, "a.b"] {
        assert_eq!(
            ask(addr, "new.example", &format!("/.well-known/acme-challenge/{token}")).status,
            404,
            "{token}"
        );
    }
    assert_eq!(edge.metric("edge_responses_total{answer=\"challenge\"}"), 2);
}

#[test]
fn acme_lookups_are_bounded_when_redis_hangs() {
    let redis = PrivateRedis::start(&[]);
    let publisher = Publisher::new(&redis.url());
    publisher.set_epoch("first");
    publisher.publish(&link(1, "https://shop.example/"));
    let edge = TestEdge::start_on(publisher, &redis.url(), tempfile::tempdir().unwrap(), &[]);
    edge.wait_ready();
    assert_eq!(edge.get(&path(1)).status, 302);
    redis.signal("STOP");
    let started = Instant::now();
    let request = "GET /.well-known/acme-challenge/abc HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut asked: Vec<_> = (0..40).map(|_| connect(edge.edge.addr())).collect();
    for stream in &mut asked {
        stream.write_all(request.as_bytes()).unwrap();
    }
    for stream in &mut asked {
        assert_eq!(crate::harness::read_reply(stream).status, 503);
    }
    assert!(started.elapsed() < Duration::from_millis(2500), "{:?}", started.elapsed());
    assert_eq!(edge.get(&path(1)).status, 302, "clicks go on");
    redis.signal("CONT");
}

#[test]
fn thousands_of_domains_with_certificates_come_and_go() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let flags = Files::flags(&[&authority.put(folder.path(), "edge", &["go.example"])]);
    let edge = edge(&flags.each_ref().map(String::as_str));
    let control = Control(&edge.publisher);
    // One certificate for all: what counts here are the records.
    let (record, der) = certified(&authority, "*.many.example", 1);
    let host = |number: u32| format!("d{number}.many.example");
    let version = |version: u64| {
        let record = record.clone();
        (0..2000).map(move |number| DomainRecord { host: host(number), version, ..record.clone() })
    };
    control.fill("first", &version(1).collect::<Vec<_>>());
    eventually("all known", || edge.metric("edge_domains") == 2000);
    let bytes = edge.metric("edge_domains_bytes");
    let (addr, client) = (edge.edge.tls_addr().unwrap(), authority.client());
    for record in version(2) {
        control.publish(&record);
    }
    eventually("all renewed", || edge.metric("edge_domain_changes_total") == 4000);
    for number in [0, 999, 1999] {
        let mut stream = client.connect(addr, &host(number)).unwrap();
        assert!(shown(&stream) == der);
        assert_eq!(get(&mut stream, &host(number), &short(1)).status, 302);
    }
    assert_eq!((edge.metric("edge_domains"), edge.metric("edge_domains_bytes")), (2000, bytes));
}

#[test]
fn records_of_another_deployment_are_counted_and_change_nothing() {
    let edge = edge(&[]);
    let foreign = DomainKey::new(&Secret::parse(&"5b".repeat(32)).unwrap());
    let bytes = domain(DOMAIN, OWNER, 1).encode(&foreign);
    let () = edge.publisher.connection().hset(edge.publisher.keys.domains(), DOMAIN, bytes).unwrap();
    Control(&edge.publisher).fill("first", &[domain("other.example", OWNER, 1)]);
    eventually("the sound one is known", || edge.metric("edge_domains") == 1);
    assert_eq!(ask(edge.edge.addr(), DOMAIN, &short(1)).status, 404);
    assert!(edge.metric("edge_domain_unreadable_total") >= 1);
}
