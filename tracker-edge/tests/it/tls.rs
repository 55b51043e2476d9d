//! Clicks over TLS: versions, certificates, sessions, and floods of handshakes.

use crate::harness::{TestEdge, connect, eventually, link, path, read_reply};
use crate::tls_client::{Authority, Client, Files, get, shake_hands, shown};
use rustls::client::{Resumption, Tls12Resumption};
use rustls::{HandshakeKind, ProtocolVersion, SignatureScheme};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const HOST: &str = "go.example";

/// An edge with a certificate for [`HOST`], and who signed it.
pub(crate) struct Tls {
    pub(crate) edge: TestEdge,
    pub(crate) authority: Authority,
    pub(crate) folder: TempDir,
}

impl Tls {
    pub(crate) fn start() -> Self {
        Self::start_flags(&[])
    }

    /// With more flags.
    pub(crate) fn start_flags(more: &[&str]) -> Self {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        let files = authority.put(folder.path(), "edge", &[HOST]);
        Self::start_as(authority, folder, &[&files], more)
    }

    fn start_with(authority: Authority, folder: TempDir, files: &[&Files]) -> Self {
        Self::start_as(authority, folder, files, &[])
    }

    fn start_as(authority: Authority, folder: TempDir, files: &[&Files], more: &[&str]) -> Self {
        let flags = Files::flags(files);
        let edge = TestEdge::start_with(&[&flags.each_ref().map(String::as_str), more].concat());
        edge.publisher.publish(&link(1, "https://shop.example/"));
        edge.wait_ready();
        Self { edge, authority, folder }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.edge.edge.tls_addr().unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        self.authority.client()
    }

    fn handshakes(&self, outcome: &str) -> u64 {
        self.edge.metric(&format!("edge_tls_handshakes_total{{outcome=\"{outcome}\"}}"))
    }
}

#[test]
fn a_click_over_tls_is_answered_and_recorded_like_any_other() {
    let tls = Tls::start();
    for (versions, expected) in [
        (vec![&rustls::version::TLS13], ProtocolVersion::TLSv1_3),
        (vec![&rustls::version::TLS12], ProtocolVersion::TLSv1_2),
    ] {
        let client = Client { versions, alpn: vec![b"http/1.1".to_vec()], ..tls.client() };
        let mut stream = client.connect(tls.addr(), HOST).unwrap();
        assert_eq!(stream.conn.protocol_version(), Some(expected));
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        for _ in 0..2 {
            let reply = get(&mut stream, HOST, &path(1));
            assert_eq!((reply.status, reply.location()), (302, "https://shop.example/"));
        }
        assert_eq!(tls.edge.metric("edge_tls_connections"), 1);
        drop(stream);
        eventually("closed", || tls.edge.metric("edge_tls_connections") == 0);
    }
    assert_eq!(tls.edge.shipped(4).len(), 4);
    let of = |protocol: &str| tls.edge.metric(&format!("edge_tls_protocol_total{{protocol=\"{protocol}\"}}"));
    assert_eq!((of("TLS1.2"), of("TLS1.3"), tls.handshakes("completed")), (1, 1, 2));
    assert_eq!(tls.edge.get(&path(1)).status, 302, "plain HTTP is served as before");
}

#[test]
fn f58_what_breaks_http_is_refused_over_tls_too() {
    let tls = Tls::start();
    for request in [
        format!("GET {} HTTP/1.1\r\n\r\n", path(1)),
        format!("GET {} HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", path(1)),
        format!("GET {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", path(1)),
    ] {
        let mut stream = tls.client().connect(tls.addr(), HOST).unwrap();
        let sound = format!("GET {} HTTP/1.1\r\nHost: {HOST}\r\n\r\n", path(1));
        stream.write_all(&[request.as_bytes(), sound.as_bytes()].concat()).unwrap();
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        let answer = String::from_utf8(answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && !answer.contains("302 Found"),
            "{request:?}: {answer}"
        );
    }
}

#[test]
fn a_client_gets_the_certificate_it_asked_for_and_can_verify() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let ecdsa = authority.put(folder.path(), "ecdsa", &[HOST]);
    let rsa = authority.put_rsa(folder.path(), "rsa", &[HOST]);
    let other = authority.put(folder.path(), "other", &["*.other.example"]);
    let tls = Tls::start_with(authority, folder, &[&ecdsa, &rsa, &other]);
    let client = tls.client();
    let old = Client {
        schemes: Some(vec![SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256]),
        ..client.clone()
    };
    for (client, name, expected) in [
        (&client, HOST, &ecdsa),
        (&client, "go.other.example", &other),
        (&old, HOST, &rsa),
        (&Client { versions: vec![&rustls::version::TLS12], ..old.clone() }, HOST, &rsa),
    ] {
        let mut stream = client.connect(tls.addr(), name).unwrap();
        assert!(shown(&stream) == expected.der, "{name}");
        assert_eq!(get(&mut stream, name, &path(1)).status, 302);
    }
    // A name nobody has: the client is shown the first one, and says no.
    assert!(client.connect(tls.addr(), "elsewhere.example").is_err());
    // Nor can a client that verifies neither kind be served.
    let none = Client { schemes: Some(vec![SignatureScheme::ED25519]), ..client };
    assert!(none.connect(tls.addr(), HOST).is_err());
    eventually("both counted", || tls.handshakes("failed") == 2);
    let file = ecdsa.cert.display();
    let expires = format!("edge_tls_certificate_expires_timestamp_seconds{{certificate=\"{file}\"}}");
    assert!(tls.edge.metric(&expires) > 4_000_000_000, "rcgen's certificates are good for very long");
}

#[test]
fn sessions_go_on_whichever_worker_has_them_and_without_early_data() {
    let tls = Tls::start();
    for (versions, resumption) in [
        (vec![&rustls::version::TLS13], Resumption::in_memory_sessions(8)),
        (vec![&rustls::version::TLS12], Resumption::in_memory_sessions(8)),
        (
            vec![&rustls::version::TLS12],
            Resumption::in_memory_sessions(8).tls12_resumption(Tls12Resumption::SessionIdOnly),
        ),
    ] {
        let config = Client { versions, ..tls.client() }.config(resumption);
        for number in 0..12 {
            let mut stream = shake_hands(tls.addr(), HOST, &config).unwrap();
            // With two workers, chance alone would keep all twelve on one in one of 2,048 runs.
            let expected = if number == 0 { HandshakeKind::Full } else { HandshakeKind::Resumed };
            assert_eq!(stream.conn.handshake_kind(), Some(expected), "{number}");
            assert!(!stream.conn.is_early_data_accepted());
            assert_eq!(get(&mut stream, HOST, &path(1)).status, 302);
        }
    }
    assert_eq!(tls.edge.metric("edge_tls_resumed_total"), 33);
}

#[test]
fn a_new_certificate_is_in_force_without_a_restart_and_a_bad_one_is_not() {
    let tls = Tls::start();
    let mut kept = tls.client().connect(tls.addr(), HOST).unwrap();
    let metric = |name: &str| tls.edge.metric(&format!("edge_file_{name}{{file=\"tls_certificates\"}}"));
    let new = tls.authority.put(tls.folder.path(), "edge", &[HOST]);
    let now = || shown(&tls.client().connect(tls.addr(), HOST).unwrap());
    eventually("the new one is shown", || now() == new.der);
    // Certificate and key are two files: one may be seen before the other, and is refused until both are there.
    eventually("in force", || metric("stale") == 0);
    assert_eq!(get(&mut kept, HOST, &path(1)).status, 302, "an open connection stays as it is");
    let (failures, whole) = (metric("failures_total"), std::fs::read(&new.cert).unwrap());
    for (what, bytes) in
        [("cut", &whole[..whole.len() / 2]), ("empty", b""), ("none", b"nothing of the kind")]
    {
        let before = metric("failures_total");
        std::fs::write(&new.cert, bytes).unwrap();
        eventually(what, || metric("failures_total") > before);
        assert!(now() == new.der);
    }
    let foreign = tls.authority.put(tls.folder.path(), "foreign", &[HOST]);
    let before = metric("failures_total");
    std::fs::rename(&foreign.cert, &new.cert).unwrap();
    eventually("a key of another certificate", || metric("failures_total") > before);
    assert!(now() == new.der && metric("failures_total") >= failures + 4 && metric("stale") == 1);
    std::fs::rename(&foreign.key, &new.key).unwrap();
    eventually("both", || now() == foreign.der && metric("stale") == 0);
}

#[test]
fn an_edge_whose_certificate_cannot_be_used_does_not_start() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let (one, other) =
        (authority.put(folder.path(), "one", &[HOST]), authority.put(folder.path(), "other", &[HOST]));
    for (cert, key, said) in [
        (&one.cert, &other.key, "one.crt with its key"),
        (&one.cert, &one.cert, "one.crt: "),
        (&folder.path().join("none.crt"), &one.key, "none.crt: "),
    ] {
        let files = Files { cert: cert.clone(), key: key.clone(), der: Vec::new() };
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_tracker-edge"))
            .args([
                "--secret",
                crate::harness::SECRET,
                "--addr",
                "127.0.0.1:0",
                "--admin-addr",
                "127.0.0.1:0",
            ])
            .args(["--redis-url", "redis://127.0.0.1:1/", "--spool-dir"])
            .arg(folder.path().join("spool"))
            .args(Files::flags(&[&files]))
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{stderr}");
        assert!(stderr.contains(said) && !stderr.contains("PRIVATE"), "{stderr}");
    }
}

#[test]
fn f53_slow_requests_over_tls_are_given_up_within_five_seconds() {
    let tls = Tls::start();
    let started = Instant::now();
    let mut silent = connect(tls.addr());
    let mut quiet = tls.client().connect(tls.addr(), HOST).unwrap();
    let mut slow = tls.client().connect(tls.addr(), HOST).unwrap();
    slow.sock.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    eventually("the slow one is given up", || {
        let sent = slow.write_all(b"GET / HTTP/1.1\r\n").and_then(|()| slow.flush());
        sent.is_err()
            || !matches!(slow.read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    });
    assert_eq!(silent.read(&mut [0]).unwrap(), 0, "one that says nothing");
    // Closed without a word, which a TLS client takes for an error.
    assert!(quiet.read(&mut [0]).is_err(), "one that asks nothing");
    assert!(started.elapsed() < Duration::from_millis(5_900), "{:?}", started.elapsed());
    eventually("counted", || {
        (tls.edge.metric("edge_connections_timed_out_total"), tls.handshakes("timed_out")) == (3, 1)
    });
}

#[test]
fn f56_half_handshakes_end_within_five_seconds_and_stop_nobody_else() {
    let tls = Tls::start();
    let mut kept = tls.client().connect(tls.addr(), HOST).unwrap();
    let started = Instant::now();
    // A little more than there are places: a hello each, and then nothing.
    let hello = hello(&tls.client());
    let mut half: Vec<_> = (0..300)
        .map(|_| {
            let mut stream = connect(tls.addr());
            stream.write_all(&hello).unwrap();
            stream
        })
        .collect();
    let mut slowest = Duration::ZERO;
    while tls.handshakes("timed_out") < 256 {
        let asked = Instant::now();
        assert_eq!(get(&mut kept, HOST, &path(1)).status, 302);
        assert_eq!(tls.edge.get(&path(1)).status, 302, "nor is plain HTTP held up");
        slowest = slowest.max(asked.elapsed());
        assert!(started.elapsed() < Duration::from_secs(10), "half handshakes end");
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let newcomer = tls.client().connect(tls.addr(), HOST).unwrap();
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    drop(newcomer);
    for stream in &mut half {
        let mut rest = Vec::new();
        // What was sent to them, then the end.
        drop(stream.read_to_end(&mut rest));
    }
    eventually("counted", || tls.handshakes("timed_out") == 300);
}

/// The first message of a handshake.
fn hello(client: &Client) -> Vec<u8> {
    let name = HOST.try_into().unwrap();
    let mut session = rustls::ClientConnection::new(client.config(Resumption::disabled()), name).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    hello
}

#[test]
fn f57_http_2_is_not_on_offer_where_it_is_off() {
    let tls = Tls::start_flags(&["--tls-http2", "false"]);
    let only = |protocols: &[&[u8]]| Client {
        alpn: protocols.iter().map(|protocol| protocol.to_vec()).collect(),
        ..tls.client()
    };
    assert!(only(&[b"h2"]).connect(tls.addr(), HOST).is_err(), "no protocol in common");
    let mut both = only(&[b"h2", b"http/1.1"]).connect(tls.addr(), HOST).unwrap();
    assert_eq!(both.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(get(&mut both, HOST, &path(1)).status, 302);
    // Who speaks it all the same is refused as nonsense, at the first bytes.
    let tls = Tls::start();
    let mut forced = tls.client().connect(tls.addr(), HOST).unwrap();
    forced.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut answer = Vec::new();
    drop(forced.read_to_end(&mut answer));
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.1 5"),
        "{answer:?}"
    );
}

#[test]
fn what_is_no_tls_or_an_old_one_is_refused_at_once() {
    let tls = Tls::start();
    // A hello of TLS 1.0: record, handshake, version, random, no session, one suite, no compression.
    let old = [&[0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 1][..], &[7; 32], &[0, 0, 2, 0, 0x2f, 1, 0]].concat();
    let started = Instant::now();
    for bytes in [b"GET / HTTP/1.1\r\nHost: go.example\r\n\r\n".to_vec(), old, vec![0xff; 600]] {
        let mut stream = connect(tls.addr());
        stream.write_all(&bytes).unwrap();
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        assert!(answer.len() <= 7, "an alert at most: {answer:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    // The client sees the end of its connection before it is counted.
    eventually("counted", || tls.handshakes("failed") == 3);
}

/// A hello of this version for these cipher suites, such as any client of TLS 1.2 would send.
fn hello_for(version: u8, suites: &[u16]) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    // Groups, point formats, signatures: x25519 and P-256, plain points, ECDSA and RSA with SHA-256.
    let extensions = [
        &[0, 10, 0, 6, 0, 4, 0, 29, 0, 23][..],
        &[0, 11, 0, 2, 1, 0],
        &[0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1],
    ]
    .concat();
    let body = [&[3, version][..], &[7; 32], &[0], &sized(&suites), &[1, 0], &sized(&extensions)].concat();
    let message = [&[1, 0], &sized(&body)[..]].concat();
    [&[0x16, 3, 1], &sized(&message)[..]].concat()
}

/// The cipher suite the edge takes of these, or its alert.
fn chosen(addr: SocketAddr, version: u8, suites: &[u16]) -> Result<u16, u8> {
    let mut stream = connect(addr);
    stream.write_all(&hello_for(version, suites)).unwrap();
    let mut head = [0; 5];
    stream.read_exact(&mut head).unwrap();
    let mut record = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    stream.read_exact(&mut record).unwrap();
    if head[0] == 0x15 {
        return Err(record[1]);
    }
    // Type and length, version, random, session.
    let session = usize::from(record[38]);
    Ok(u16::from_be_bytes([record[39 + session], record[40 + session]]))
}

#[test]
fn nothing_weak_is_on_offer() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let ecdsa = authority.put(folder.path(), "ecdsa", &[HOST]);
    let rsa = authority.put_rsa(folder.path(), "rsa", &[HOST]);
    let tls = Tls::start_with(authority, folder, &[&ecdsa, &rsa]);
    // As scanners do: all there are, without what was taken before, until nothing is taken.
    let mut left: Vec<u16> = [0..=0xff, 0xc000..=0xc0ff, 0xcc00..=0xccff].into_iter().flatten().collect();
    let mut taken = Vec::new();
    let refusal = loop {
        match chosen(tls.addr(), 3, &left) {
            Ok(suite) => {
                left.retain(|other| *other != suite);
                taken.push(suite);
            }
            Err(alert) => break alert,
        }
    };
    taken.sort_unstable();
    // Forward secrecy and authenticated encryption, all of them: AES-128, AES-256 and ChaCha20 for either key.
    assert_eq!(taken, [0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9]);
    assert!(matches!(refusal, 40 | 49), "handshake_failure, or no certificate for any of them: {refusal}");
    // SSL 3.0, TLS 1.0 and 1.1, even with the best suites: protocol_version.
    for version in 0..=2 {
        assert_eq!(chosen(tls.addr(), version, &taken), Err(70), "3.{version}");
    }
}

#[test]
fn a_stop_answers_who_is_in_the_middle_of_a_handshake() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let files = authority.put(folder.path(), "edge", &[HOST]);
    let tls = Tls::start_as(authority, folder, &[&files], &["--threads", "1"]);
    let mut resting = connect(tls.edge.edge.addr());
    write!(resting, "GET {} HTTP/1.1\r\nHost: {HOST}\r\n\r\n", path(1)).unwrap();
    assert_eq!(read_reply(&mut resting).status, 302);
    let name = HOST.try_into().unwrap();
    let mut session =
        rustls::ClientConnection::new(tls.client().config(Resumption::disabled()), name).unwrap();
    let mut socket = connect(tls.addr());
    session.write_tls(&mut socket).unwrap();
    eventually("accepted", || tls.edge.metric("edge_connections_accepted_total") == 2);
    tls.edge.edge.stop();
    // Connections at rest are closed when the worker has heard of the stop.
    assert_eq!(resting.read(&mut [0]).unwrap(), 0);
    while session.is_handshaking() {
        session.complete_io(&mut socket).unwrap();
    }
    let reply = get(&mut rustls::StreamOwned::new(session, socket), HOST, &path(1));
    assert_eq!((reply.status, reply.headers("connection")), (302, vec!["close"]));
}
