//! Seeding the demo, against an API of a few lines that can be told to fail.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use xtask::interrupt::Interrupt;
use xtask::layout::Layout;
use xtask::seed::Demo;
use xtask::stack::Ports;

/// What the API is told and what it was asked.
#[derive(Default)]
struct Api {
    requests: Vec<String>,
    /// The path that answers 500.
    broken: Option<&'static str>,
    /// Keys are those of another database.
    forgetful: bool,
}

fn serve() -> (u16, Arc<Mutex<Api>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let api = Arc::new(Mutex::new(Api::default()));
    let shared = Arc::clone(&api);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.expect("a connection"), &mut shared.lock().expect("no panic while locked"));
        }
    });
    (port, api)
}

fn answer(stream: TcpStream, api: &mut Api) {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).expect("a request");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().expect("a number");
        }
        if line == "\r\n" {
            break;
        }
    }
    reader.read_exact(&mut vec![0; length]).expect("the body");
    let path = first.split(' ').nth(1).expect("a path").to_owned();
    let status = match api.broken {
        Some(broken) if path.contains(broken) => "500 Oh",
        _ if api.forgetful && path.ends_with("/me") => "401 Unauthorized",
        _ if path.ends_with("/me") => "200 OK",
        _ => "201 Created",
    };
    api.requests.push(path);
    let body =
        r#"{"id":"an-id","api_key":"a-key","token":"a-token","tracking_url":"http://elsewhere/a-token"}"#;
    let reply = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    reader.into_inner().write_all(reply.as_bytes()).expect("a client that waits");
}

fn layout(directory: &Path) -> Layout {
    let directory = directory.to_owned();
    Layout { root: directory.clone(), state: directory.clone(), home: directory, account: None }
}

fn ports(api: u16) -> Ports {
    Ports { api, edge: 7070, edge_admin: 1, api_admin: 2, postgres: 3, redis: 4 }
}

const ALL: [&str; 5] = [
    "/api/auth/signup",
    "/api/auth/signup",
    "/api/programs",
    "/api/network/join/an-id",
    "/api/partnerships/an-id/links",
];

#[test]
fn the_demo_is_made_once() {
    let (port, api) = serve();
    let directory = tempfile::tempdir().unwrap();
    let (layout, ports) = (layout(directory.path()), ports(port));
    let demo = Demo::ensure(&layout, &ports, &Interrupt::default()).unwrap();
    assert_eq!(demo.tracking_url, "http://127.0.0.1:7070/api/track/a-token");
    assert_eq!(api.lock().unwrap().requests, ALL);
    let file = fs::metadata(directory.path().join("demo.json")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600, "it holds keys");

    Demo::ensure(&layout, &ports, &Interrupt::default()).unwrap();
    assert_eq!(api.lock().unwrap().requests[5..], ["/api/agents/me"], "the second time it only looks");
}

#[test]
fn a_seeding_that_was_cut_short_goes_on_where_it_stopped() {
    let (port, api) = serve();
    let directory = tempfile::tempdir().unwrap();
    let (layout, ports) = (layout(directory.path()), ports(port));
    api.lock().unwrap().broken = Some("join");
    let error = format!("{:#}", Demo::ensure(&layout, &ports, &Interrupt::default()).unwrap_err());
    assert!(error.contains("POST /api/network/join/an-id answered 500"), "{error}");
    api.lock().unwrap().broken = None;
    api.lock().unwrap().requests.clear();
    Demo::ensure(&layout, &ports, &Interrupt::default()).unwrap();
    assert_eq!(
        api.lock().unwrap().requests,
        ["/api/agents/me", "/api/network/join/an-id", "/api/partnerships/an-id/links"]
    );
}

#[test]
fn accounts_of_another_database_are_made_anew() {
    let (port, api) = serve();
    let directory = tempfile::tempdir().unwrap();
    let (layout, ports) = (layout(directory.path()), ports(port));
    Demo::ensure(&layout, &ports, &Interrupt::default()).unwrap();
    api.lock().unwrap().forgetful = true;
    api.lock().unwrap().requests.clear();
    Demo::ensure(&layout, &ports, &Interrupt::default()).unwrap();
    assert_eq!(api.lock().unwrap().requests[1..], ALL);
}
