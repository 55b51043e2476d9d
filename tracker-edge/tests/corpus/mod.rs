//! Requests that two servers could read differently, and what the edge must make of each.
//!
//! A case is the bytes of one connection, made from a table: where a request should stand there is a template in
//! which [`TARGET`] is replaced by a link's address with the case's number as `sub1`, so that every click that
//! is recorded tells which case caused it. Behind each case a sound request may be sent ([`Case::followed`]): it
//! is answered exactly when the connection was still open and both sides agreed where the case ended.
//!
//! Must stay true: what is refused closes the connection and records nothing; nothing ever records more clicks
//! than it has well-formed requests. Pure data: no I/O.

mod flows;
mod framing;
mod headers;
mod lines;

/// In a template: the address of the link, numbered.
pub(crate) const TARGET: &str = "TARGET";
/// The `sub1` of the sound request behind a case begins with it.
pub(crate) const FOLLOWER: char = 'f';

/// What a case must come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Expect {
    /// The statuses of the answers, in order.
    pub(crate) replies: Vec<u16>,
    /// Clicks recorded.
    pub(crate) clicks: usize,
    /// Clicks recorded at most when the bytes come one by one: a request may be answered before what spoils the
    /// connection has arrived.
    pub(crate) clicks_cut: usize,
    /// Whether nothing after it is answered.
    pub(crate) closes: bool,
}

impl Expect {
    /// The same, and the connection ends.
    pub(crate) fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    /// Another one behind it, on the same connection.
    pub(crate) fn then(mut self, next: Self) -> Self {
        self.replies.extend(next.replies);
        self.clicks += next.clicks;
        self.clicks_cut += next.clicks_cut;
        self.closes = next.closes;
        self
    }

    /// So many clicks may have been answered before what spoils the connection arrives.
    pub(crate) fn unless_cut(self, clicks: usize) -> Self {
        Self { clicks_cut: clicks, ..self }
    }
}

/// A redirect that counts.
pub(crate) fn click() -> Expect {
    clicks(1)
}

/// Several.
pub(crate) fn clicks(count: usize) -> Expect {
    Expect { replies: vec![302; count], clicks: count, clicks_cut: count, closes: false }
}

/// Another answer; the connection goes on.
pub(crate) fn answered(status: u16) -> Expect {
    Expect { replies: vec![status], clicks: 0, clicks_cut: 0, closes: false }
}

/// A refusal; the connection ends.
pub(crate) fn refused(status: u16) -> Expect {
    answered(status).closing()
}

/// Nothing is said; the connection ends.
pub(crate) fn hung_up() -> Expect {
    Expect { replies: Vec::new(), clicks: 0, clicks_cut: 0, closes: true }
}

/// Neither answered nor closed.
pub(crate) fn passed_over() -> Expect {
    Expect { closes: false, ..hung_up() }
}

/// Bytes that came over one connection.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// What is odd about it.
    pub(crate) name: String,
    /// As they are sent.
    pub(crate) bytes: Vec<u8>,
    /// What must come of it.
    pub(crate) expect: Expect,
}

impl Case {
    /// The case and a sound request behind it, which leads where `path` does.
    pub(crate) fn followed(&self, number: usize, path: &str) -> Vec<u8> {
        let follower =
            format!("GET {path}?sub1={FOLLOWER}{number} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        [&self.bytes, follower.as_bytes()].concat()
    }
}

/// Cases under construction.
pub(crate) struct Corpus<'a> {
    path: &'a str,
    group: &'static str,
    cases: Vec<Case>,
}

impl Corpus<'_> {
    /// Adds a case; its number is its place.
    fn add(&mut self, name: &str, template: impl AsRef<[u8]>, expect: Expect) {
        let target = format!("{}?sub1={}", self.path, self.cases.len());
        let bytes = replace(template.as_ref(), TARGET.as_bytes(), target.as_bytes());
        self.cases.push(Case { name: format!("{}: {name}", self.group), bytes, expect });
    }

    /// Adds a request for the link with this request line.
    fn line(&mut self, name: &str, line: &str, expect: Expect) {
        self.add(name, format!("{line}\r\nHost: a\r\n\r\n"), expect);
    }

    /// Adds a GET of the link with these lines behind its request line, each with its end.
    fn lines(&mut self, name: &str, lines: &str, expect: Expect) {
        self.add(name, format!("GET TARGET HTTP/1.1\r\n{lines}\r\n"), expect);
    }
}

/// A byte put into text that a template cannot hold.
fn with_byte(before: &str, byte: u8, after: &str) -> Vec<u8> {
    [before.as_bytes(), &[byte], after.as_bytes()].concat()
}

fn replace(template: &[u8], what: &[u8], by: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(template.len() + by.len());
    let mut rest = template;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(what) {
            bytes.extend_from_slice(by);
            rest = after;
        } else {
            bytes.push(rest[0]);
            rest = &rest[1..];
        }
    }
    bytes
}

/// All cases, for a link at `path`.
pub(crate) fn cases(path: &str) -> Vec<Case> {
    let mut corpus = Corpus { path, group: "", cases: Vec::new() };
    lines::add(&mut corpus);
    headers::add(&mut corpus);
    framing::add(&mut corpus);
    flows::add(&mut corpus);
    corpus.cases
}
