//! Hundreds of malformed and unusual requests: what is refused closes its connection, and nothing ever records
//! more clicks than it has well-formed requests, however its bytes are cut.

#[path = "../corpus/mod.rs"]
mod cases;

use crate::harness::{TestEdge, connect, eventually, link, path};
use cases::{Case, FOLLOWER};
use shared::click::note;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::SocketAddr;

/// With hyper alone, and with the fast path in front of it.
const WAYS: [&str; 2] = ["--fast-path=false", "--fast-path=true"];

fn edge(way: &str) -> TestEdge {
    let edge = TestEdge::start_with(&[way]);
    edge.publisher.publish(&link(1, "https://shop.example/"));
    edge.wait_ready();
    edge
}

/// Sends everything, a piece at a time, and gives the statuses of all answers until the other side closes.
fn statuses<'a>(addr: SocketAddr, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u16> {
    let mut stream = connect(addr);
    for piece in pieces {
        // Who refuses early does not wait for the rest.
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    let mut answers = Vec::new();
    // A reset takes nothing away that has arrived.
    drop(stream.read_to_end(&mut answers));
    statuses_in(&answers)
}

fn statuses_in(answers: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answers);
    let parts = text.split("HTTP/1.").skip(1);
    parts.map(|part| part.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)).collect()
}

/// Recorded clicks by the `sub1` they came with, once there are as many as were answered.
fn recorded(edge: &TestEdge) -> HashMap<String, usize> {
    let clicks = || edge.publisher.shipped();
    let answered = edge.metric("edge_responses_total{answer=\"redirect\"}") as usize;
    eventually("all clicks are shipped", || {
        // So many are sent ahead of what is committed, and no more.
        edge.publisher.commit();
        clicks().len() >= answered
    });
    let mut recorded = HashMap::new();
    for click in clicks() {
        let sub1 = click.notes.iter().find(|(kind, _)| *kind == note::SUB1);
        *recorded.entry(sub1.map(|(_, value)| value.clone()).unwrap_or_default()).or_default() += 1;
    }
    recorded
}

/// How many clicks a case has recorded, and whether the request behind it was one of them.
fn clicks_of(recorded: &HashMap<String, usize>, number: usize) -> (usize, bool) {
    let clicks = |sub1: String| recorded.get(&sub1).copied().unwrap_or(0);
    (clicks(number.to_string()), clicks(format!("{FOLLOWER}{number}")) > 0)
}

#[test]
fn f58_each_request_of_the_corpus_is_answered_counted_and_closed_as_it_must_be() {
    WAYS.into_iter().for_each(each_is_right);
}

fn each_is_right(way: &str) {
    let edge = edge(way);
    let path = path(1);
    let cases = cases::cases(&path);
    assert!(cases.len() >= 300, "{} cases", cases.len());
    let answers: Vec<_> = (cases.iter().enumerate())
        .map(|(number, case)| statuses(edge.edge.addr(), [&*case.followed(number, &path)]))
        .collect();
    let recorded = recorded(&edge);
    let mut wrong = Vec::new();
    for (number, (case, answers)) in cases.iter().zip(answers).enumerate() {
        let expect = &case.expect;
        let mut replies = expect.replies.clone();
        replies.extend((!expect.closes).then_some(302));
        let clicks = clicks_of(&recorded, number);
        if answers != replies || clicks != (expect.clicks, !expect.closes) {
            wrong.push(format!(
                "{}: {answers:?}, not {replies:?}; clicks {clicks:?}: {}",
                case.name,
                shown(case)
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn f58_however_the_bytes_are_cut_no_more_is_recorded() {
    WAYS.into_iter().for_each(none_is_more_when_cut);
}

fn none_is_more_when_cut(way: &str) {
    let edge = edge(way);
    let path = path(1);
    let cases = cases::cases(&path);
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate().filter(|(_, case)| case.bytes.len() <= CUT_LEN_MAX) {
        let bytes = case.followed(number, &path);
        let answers = statuses(edge.edge.addr(), bytes.chunks(1));
        // Cut, a request may be refused that is dropped without a word when it comes whole.
        let redirects = |answers: &[u16]| answers.iter().filter(|status| **status == 302).count();
        let followed = redirects(&answers) > redirects(&case.expect.replies).max(case.expect.clicks_cut);
        if followed == case.expect.closes {
            wrong.push(format!("{}: {answers:?}: {}", case.name, shown(case)));
        }
    }
    let recorded = recorded(&edge);
    for (number, case) in cases.iter().enumerate() {
        let (clicks, _) = clicks_of(&recorded, number);
        if clicks > case.expect.clicks_cut {
            wrong.push(format!("{}: {clicks} clicks: {}", case.name, shown(case)));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Every byte of the answers but the date, when so many bytes are sent at a time.
fn answers(addr: SocketAddr, bytes: &[u8], at_a_time: usize) -> String {
    let mut stream = connect(addr);
    stream.set_nodelay(true).unwrap();
    // Who refuses what came takes no more.
    bytes.chunks(at_a_time).take_while(|part| stream.write_all(part).is_ok()).for_each(drop);
    let mut answers = Vec::new();
    drop(stream.read_to_end(&mut answers));
    let text = String::from_utf8_lossy(&answers);
    let lines = text.split_inclusive('\n').filter(|line| !line.starts_with("date: "));
    lines.collect()
}

/// Whether hyper's own answer depends on how much has come when it reads: a bare line feed refuses all that has no
/// answer yet, the whole preface of HTTP/2 is told from its start, and a body may be there before its answer.
fn is_a_matter_of_time(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    if ["content-length", "transfer-encoding"].iter().any(|name| text.contains(name)) {
        return true;
    }
    let bare =
        |at: usize| bytes[at] == b'\n' && at.checked_sub(1).is_none_or(|before| bytes[before] != b'\r');
    (0..bytes.len()).any(bare) || bytes.starts_with(b"PRI * ")
}

#[test]
fn nobody_can_tell_the_fast_path_from_hyper() {
    let [slow, fast] = WAYS.map(edge);
    let path = path(1);
    let sound = |more: &str| format!("GET {path}?sub1=before HTTP/1.1\r\nHost: a\r\n{more}\r\n").into_bytes();
    let (before, long) = (sound("User-Agent: x\r\n"), sound(&format!("X: {}\r\n", "y".repeat(3000))));
    let mut wrong = Vec::new();
    for (number, case) in cases::cases(&path).iter().enumerate() {
        let followed = case.followed(number, &path);
        let mut sent = vec![
            (followed.clone(), usize::MAX),
            ([&*before, &*followed].concat(), usize::MAX),
            ([&*long, &*before, &*followed].concat(), usize::MAX),
        ];
        if case.bytes.len() <= CUT_LEN_MAX && !is_a_matter_of_time(&case.bytes) {
            sent.push(([&*before, &*followed].concat(), 1));
        }
        for (bytes, at_a_time) in sent {
            let [slow, fast] = [&slow, &fast].map(|edge| answers(edge.edge.addr(), &bytes, at_a_time));
            if slow != fast {
                let how = format!("{} bytes, {} at a time", bytes.len(), at_a_time.min(bytes.len()));
                wrong.push(format!("{} ({how}): {fast:?}, not {slow:?}: {}", case.name, shown(case)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(recorded(&slow), recorded(&fast));
}

/// Longer ones are large for the sake of their size.
const CUT_LEN_MAX: usize = 400;

#[test]
fn f58_two_requests_cut_anywhere_are_two_clicks() {
    WAYS.into_iter().for_each(two_are_two);
}

fn two_are_two(way: &str) {
    let edge = edge(way);
    let path = path(1);
    let target = |number: usize| format!("{path}?sub1={number}");
    let two = |number| {
        let (first, second) = (target(number), target(number));
        format!(
            "GET {first} HTTP/1.1\r\nHost: a\r\n\r\nGET {second} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )
    };
    let len = two(100).len();
    // Of three digits, so that all are of one length.
    for number in 101..100 + len {
        let request = two(number);
        let (before, after) = request.as_bytes().split_at(number - 100);
        assert_eq!(statuses(edge.edge.addr(), [before, after]), [302, 302], "cut at {}", number - 100);
    }
    let recorded = recorded(&edge);
    assert!((101..100 + len).all(|number| clicks_of(&recorded, number).0 == 2));
}

/// The beginning of a case, as text.
fn shown(case: &Case) -> String {
    case.bytes.escape_ascii().to_string().chars().take(160).collect()
}
