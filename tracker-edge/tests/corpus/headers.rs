//! Header lines: their syntax, how many and how large, and `Host` (RFC 9112 sections 3.2 and 5).

use super::lines::NO_TOKEN;
use super::{Corpus, click, refused, with_byte};

const HOSTS: &[&str] = &[
    "a",
    "A",
    "a.example",
    "a-b.example:8080",
    "a_b",
    "~a",
    "a.",
    "127.0.0.1",
    "127.0.0.1:1",
    "[::1]",
    "[2001:db8::1]:443",
    "a:",
    "a:0",
];
const NO_HOSTS: &[&str] = &[
    "",
    " ",
    ":80",
    "a b",
    "a\tb",
    "a,b",
    "a, a",
    "a/b",
    "a?b",
    "a#b",
    "a\\b",
    "user@a",
    "user:pass@a",
    "@a",
    "a@",
    "a:port",
    "a:80:80",
    "a:123456",
    "a:-1",
    "a:+1",
    "[::1",
    "::1",
    "[]",
    "[::1]x",
    "[g]",
    "[::1]:x",
    "http://a",
    "a%00",
    "a%2e",
    "a;b",
    "a=b",
    "\"a\"",
    "<a>",
    "a'b",
    "(a)",
    "a\u{e9}",
    "{a}",
];

pub(super) fn add(corpus: &mut Corpus<'_>) {
    hosts(corpus);
    names(corpus);
    values(corpus);
    ends(corpus);
    sizes(corpus);
}

fn hosts(corpus: &mut Corpus<'_>) {
    corpus.group = "Host";
    for host in HOSTS {
        corpus.lines(host, &format!("Host: {host}\r\n"), click());
    }
    for host in NO_HOSTS {
        corpus.lines(&format!("`{host}`"), &format!("Host: {host}\r\n"), refused(400));
    }
    corpus.lines("missing", "", refused(400));
    corpus.lines("missing among others", "Hos: a\r\nHostt: a\r\nX-Host: a\r\n", refused(400));
    corpus.lines("twice the same", "Host: a\r\nHost: a\r\n", refused(400));
    corpus.lines("twice", "Host: a\r\nHost: b\r\n", refused(400));
    corpus.lines("twice, in two spellings", "Host: a\r\nX: y\r\nhOST: b\r\n", refused(400));
    corpus.lines("twice, one of them empty", "Host: a\r\nHost:\r\n", refused(400));
    corpus.add("twice in HTTP/1.0", "GET TARGET HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", refused(400));
    corpus.add("broken in HTTP/1.0", "GET TARGET HTTP/1.0\r\nHost: a b\r\n\r\n", refused(400));
    corpus.lines("in capitals", "HOST: a\r\n", click());
    corpus.lines("without a space", "Host:a\r\n", click());
    corpus.lines("with spaces and tabs around", "Host: \t a \t \r\n", click());
    corpus.lines("last of many", &format!("{}Host: a\r\n", "X: y\r\n".repeat(50)), click());
}

fn names(corpus: &mut Corpus<'_>) {
    corpus.group = "header name";
    for byte in NO_TOKEN {
        // What is left of a colon is a name.
        let expect = if *byte == b':' { click() } else { refused(400) };
        let request = with_byte("GET TARGET HTTP/1.1\r\nHost: a\r\nX", *byte, "Y: z\r\n\r\n");
        corpus.add(&format!("with {byte:#04x} in it"), request, expect.clone());
        if *byte != b'\n' && *byte != b'\r' {
            let request = with_byte("GET TARGET HTTP/1.1\r\nHost: a\r\n", *byte, "X: z\r\n\r\n");
            let name = format!("with {byte:#04x} at its start");
            corpus.add(&name, request, refused(400));
        }
    }
    for (name, lines) in [
        ("none", "Host: a\r\n: z\r\n"),
        ("none, nor a value", "Host: a\r\n:\r\n"),
        ("and a space before its colon", "Host: a\r\nX : z\r\n"),
        ("and a tab before its colon", "Host: a\r\nX\t: z\r\n"),
        ("Host and a space before its colon", "Host : a\r\n"),
        ("without a colon", "Host: a\r\nX\r\n"),
        ("a line of spaces", "Host: a\r\n   \r\n"),
        ("a request line", "Host: a\r\nGET / HTTP/1.1\r\n"),
    ] {
        corpus.lines(name, lines, refused(400));
    }
    corpus.lines("of every sign a token may have", "Host: a\r\n!#$%&'*+-.^_`|~09azAZ: z\r\n", click());
}

fn values(corpus: &mut Corpus<'_>) {
    corpus.group = "header value";
    for byte in (0..0x20).chain([0x7f]).filter(|byte| *byte != b'\t') {
        let request = with_byte("GET TARGET HTTP/1.1\r\nHost: a\r\nX: y", byte, "z\r\n\r\n");
        corpus.add(&format!("with {byte:#04x} in it"), request, refused(400));
    }
    for byte in [b'\t', b' ', b'"', b':', 0x80, 0xa0, 0xc3, 0xff] {
        let request = with_byte("GET TARGET HTTP/1.1\r\nHost: a\r\nX: y", byte, "z\r\n\r\n");
        corpus.add(&format!("with {byte:#04x} in it"), request, click());
    }
    corpus.lines("none", "Host: a\r\nX:\r\nY: \r\n", click());
    for (name, lines) in [
        ("folded by a space", "Host: a\r\nX: y\r\n z\r\n"),
        ("folded by a tab", "Host: a\r\nX: y\r\n\tz\r\n"),
        ("folded to nothing", "Host: a\r\nX: y\r\n \r\n"),
        ("Host, folded", "Host:\r\n a\r\n"),
        ("folded before the first", " X: y\r\nHost: a\r\n"),
        ("folded, a header inside", "Host: a\r\nX: y\r\n Content-Length: 5\r\n"),
    ] {
        corpus.lines(name, lines, refused(400));
    }
}

fn ends(corpus: &mut Corpus<'_>) {
    corpus.group = "line end";
    for (name, request) in [
        ("a bare line feed behind a header", "GET TARGET HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
        ("a bare line feed behind the last header", "GET TARGET HTTP/1.1\r\nHost: a\n\r\n"),
        ("a bare line feed at the very end", "GET TARGET HTTP/1.1\r\nHost: a\r\n\n"),
        ("bare line feeds only", "GET TARGET HTTP/1.1\nHost: a\n\n"),
        ("bare returns only", "GET TARGET HTTP/1.1\rHost: a\r\r"),
        ("a bare return behind a header", "GET TARGET HTTP/1.1\r\nHost: a\rX: y\r\n\r\n"),
        ("two returns", "GET TARGET HTTP/1.1\r\r\nHost: a\r\n\r\n"),
        ("two returns behind a header", "GET TARGET HTTP/1.1\r\nHost: a\r\r\n\r\n"),
        ("two returns at the very end", "GET TARGET HTTP/1.1\r\nHost: a\r\n\r\r\n"),
        ("the wrong way round", "GET TARGET HTTP/1.1\r\nHost: a\n\rX: y\r\n\r\n"),
        (
            "a smuggled header behind a line feed",
            "GET TARGET HTTP/1.1\r\nHost: a\r\nX: y\nContent-Length: 5\r\n\r\n",
        ),
        (
            "a smuggled header behind a return",
            "GET TARGET HTTP/1.1\r\nHost: a\r\nX: y\rContent-Length: 5\r\n\r\n",
        ),
    ] {
        corpus.add(name, request, refused(400));
    }
}

fn sizes(corpus: &mut Corpus<'_>) {
    corpus.group = "size";
    let many = |count: usize| format!("Host: a\r\n{}", "X: y\r\n".repeat(count - 1));
    corpus.lines("100 headers", &many(100), click());
    corpus.lines("101 headers", &many(101), refused(431));
    corpus.lines("1,000 headers", &many(1_000), refused(431));
    corpus.lines(
        "101 headers, the Host last",
        &format!("{}Host: a\r\n", "X: y\r\n".repeat(100)),
        refused(431),
    );
    for (size, expect) in
        [(4_096, click()), (15_000, click()), (17_408, refused(431)), (65_536, refused(431))]
    {
        corpus.lines(
            &format!("a header of {size} bytes"),
            &format!("Host: a\r\nX: {}\r\n", "x".repeat(size)),
            expect.clone(),
        );
        let name = format!("a name of {size} bytes");
        corpus.lines(&name, &format!("Host: a\r\n{}: y\r\n", "x".repeat(size)), expect);
    }
    corpus.lines(
        "a name of 8 KiB that never ends",
        &format!("Host: a\r\n{}", "x".repeat(8_192)),
        refused(400),
    );
    corpus.line("a method of 17 KiB", &format!("{} TARGET HTTP/1.1", "M".repeat(17_408)), refused(431));
}
