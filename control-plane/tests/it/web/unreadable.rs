//! What no client library sends: every failure is answered in the shape of all errors.

use crate::harness::TestApp;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer, as it came over the wire.
struct Raw {
    status: u16,
    head: String,
    body: Value,
}

async fn connect(app: &TestApp) -> TcpStream {
    TcpStream::connect(app.origin().trim_start_matches("http://")).await.unwrap()
}

/// Sends bytes as they are, and reads until the service closes or the answer is whole.
async fn send(app: &TestApp, request: &[u8]) -> Raw {
    let mut stream = connect(app).await;
    // What is refused early is not taken to its end: the rest of the write may fail.
    stream.write_all(request).await.ok();
    read(&mut stream).await
}

async fn read(stream: &mut TcpStream) -> Raw {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        match stream.read(&mut chunk).await.unwrap() {
            0 => panic!("closed after {:?}", String::from_utf8_lossy(&bytes)),
            len => bytes.extend_from_slice(&chunk[..len]),
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    while bytes.len() - head_end < length.unwrap_or_default() {
        match stream.read(&mut chunk).await.unwrap() {
            0 => break,
            len => bytes.extend_from_slice(&chunk[..len]),
        }
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Raw { status, body: serde_json::from_slice(&bytes[head_end..]).unwrap_or_default(), head }
}

impl Raw {
    #[track_caller]
    fn is_error(&self, status: u16, code: &str) {
        let (head, body) = (&self.head, &self.body);
        assert_eq!((self.status, body["error"].as_str()), (status, Some(code)), "{head}{body}");
        for member in ["message", "fix", "docs"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {body}");
        }
        let head = head.to_ascii_lowercase();
        for header in ["x-request-id: ", "content-type: application/json", "cache-control: no-store"] {
            assert!(head.contains(header), "{header} in {head}");
        }
    }
}

/// A POST of a sign-up with these headers and this body.
fn sign_up(headers: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST /api/auth/signup HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

const JSON: &str = "content-type: application/json\r\n";

#[tokio::test]
async fn what_is_not_http_is_told_so() {
    let app = TestApp::start().await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello \r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nna me: x\r\n\r\n",
        b"G\xc3\xa4T / HTTP/1.1\r\n\r\n",
        b"POST /api/auth/signup HTTP/1.1\r\nhost: x\r\ncontent-length: ten\r\n\r\n",
        b"POST /api/auth/signup HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    ] {
        let reply = send(&app, garbage).await;
        reply.is_error(400, "malformed_request");
        assert!(reply.head.contains("connection: close"), "{}", reply.head);
    }
}

#[tokio::test]
async fn what_is_too_long_is_told_so() {
    let app = TestApp::start().await;
    let address = format!("GET /api/programs?q={} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(9_000));
    send(&app, address.as_bytes()).await.is_error(414, "uri_too_long");
    // Longer than what is read before the request is one.
    let address = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(66_000));
    send(&app, address.as_bytes()).await.is_error(431, "headers_too_large");
    let header = format!("GET /api/programs HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(70_000));
    send(&app, header.as_bytes()).await.is_error(431, "headers_too_large");
    let headers = "x: 1\r\n".repeat(101);
    let many = format!("GET /api/programs HTTP/1.1\r\n{headers}\r\n");
    send(&app, many.as_bytes()).await.is_error(431, "headers_too_large");
    // Long, yet within the limits: it gets to the route, which says what it takes.
    let long = format!("GET /api/programs?q={} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(8_000));
    send(&app, long.as_bytes()).await.is_error(400, "invalid_value");
}

#[tokio::test]
async fn methods_and_versions_nobody_uses_are_answered() {
    let app = TestApp::start().await;
    for method in ["FOO", "TRACE", "PROPFIND", "get"] {
        let request = format!("{method} /api/programs HTTP/1.1\r\nhost: x\r\n\r\n");
        let reply = send(&app, request.as_bytes()).await;
        reply.is_error(405, "method_not_allowed");
        assert!(reply.head.contains("allow: "), "{}", reply.head);
        assert!(
            reply.body["fix"].as_str().unwrap().contains("POST /api/programs (Create a program)"),
            "{}",
            reply.body
        );
    }
    send(&app, b"CONNECT api:443 HTTP/1.1\r\nhost: x\r\n\r\n").await.is_error(404, "not_found");
    let old = send(&app, b"GET /api/network/niches HTTP/1.0\r\n\r\n").await;
    assert_eq!((old.status, &old.body["data"]), (200, &json!([])), "{}", old.head);
    let kept = b"GET /api/network/niches HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
    assert_eq!(send(&app, kept).await.status, 200);
    // The second request of a connection is refused like the first.
    let mut stream = connect(&app).await;
    stream.write_all(b"GET /api/network/niches HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(read(&mut stream).await.status, 200);
    stream.write_all(b"nonsense\r\n\r\n").await.unwrap();
    read(&mut stream).await.is_error(400, "malformed_request");
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_told_why() {
    let app = TestApp::start().await;
    let check = async |headers: &str, body: &[u8], status: u16, code: &str, fix: &str| {
        let reply = send(&app, &sign_up(headers, body)).await;
        reply.is_error(status, code);
        let said = reply.body["fix"].as_str().unwrap();
        assert!(said.contains(fix), "{said}");
    };
    let named = br#"{"name":"A"}"#;
    check("", named, 415, "unsupported_media_type", "Content-Type: application/json").await;
    check("content-type: text/plain\r\n", named, 415, "unsupported_media_type", "application/json").await;
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    check(form, b"name=A", 415, "unsupported_media_type", "application/json").await;
    let packed = "content-type: application/json\r\ncontent-encoding: gzip\r\n";
    check(packed, b"\x1f\x8b\x08", 415, "unsupported_media_type", "Content-Encoding").await;
    check(JSON, b"{\"name\":\"\xff\"}", 400, "invalid_value", "UTF-8").await;
    check(JSON, br#"{"name":"A""#, 400, "invalid_value", "close every brace").await;
    check(JSON, br#"{"name":"A",}"#, 400, "invalid_value", "comma").await;
    check(JSON, br#"{"name":"A"}{"name":"B"}"#, 400, "invalid_value", "nothing behind it").await;
    check(JSON, br#"{"name":"A","name":"B"}"#, 400, "invalid_value", "`name` once").await;
    let deep = format!("{{\"name\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    check(JSON, deep.as_bytes(), 400, "invalid_value", "name").await;
    check(JSON, b"[]", 400, "invalid_value", "JSON object").await;
    check(JSON, b"", 400, "invalid_value", "JSON object").await;
    let large = vec![b' '; 65 * 1024];
    check(JSON, &large, 413, "payload_too_large", "65536 bytes").await;
    // Too large without saying so beforehand.
    let mut chunked =
        format!("POST /api/auth/signup HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n{JSON}\r\n");
    chunked.push_str(&format!("{:x}\r\n{}\r\n0\r\n\r\n", 70_000, " ".repeat(70_000)));
    send(&app, chunked.as_bytes()).await.is_error(413, "payload_too_large");
}

#[tokio::test]
async fn a_body_that_drips_is_cut_off_in_time() {
    let app = TestApp::start().await;
    let mut stream = connect(&app).await;
    let head = format!("POST /api/auth/signup HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n{JSON}\r\n{{");
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let drip = tokio::spawn(async move {
        let mut every = tokio::time::interval(Duration::from_millis(300));
        loop {
            every.tick().await;
            if writer.write_all(b" ").await.is_err() {
                return;
            }
        }
    });
    let mut said = Vec::new();
    let limit = control_plane::web::extract::BODY_FOR + Duration::from_secs(5);
    let started = std::time::Instant::now();
    // The connection may be reset once the answer is out: the bytes that still came were never read.
    tokio::time::timeout(limit, reader.read_to_end(&mut said)).await.expect("it is cut off").ok();
    assert!(started.elapsed() >= control_plane::web::extract::BODY_FOR);
    drip.abort();
    let said = String::from_utf8(said).unwrap();
    assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("\"request_timeout\""), "{said}");
}
