//! Request lines: methods, what stands between the words, targets, versions (RFC 9112 section 3).

use super::{Corpus, answered, click, refused, with_byte};

/// No part of a token, so neither of a method nor of a header's name (RFC 9110 section 5.6.2).
pub(super) const NO_TOKEN: &[u8] =
    b"\0\x01\x07\x08\t\x0b\x0c\r\n\x0e\x1f \"(),/:;<=>?@[\\]{}\x7f\x80\xa0\xff";
/// No part of a target.
const NO_TARGET: &[u8] = b"\0\x01\x07\x08\t\x0b\x0c\r\n\x0e\x1f <>`\x7f\x80\xff";
/// No part of a target either (RFC 3986), but browsers send some of them; here they are only no token.
const ODD_IN_TARGET: &[u8] = b"\"\\^{|}";

const METHODS: &[&str] = &[
    "get",
    "Get",
    "gET",
    "head",
    "GETT",
    "GE",
    "G",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "PROPFIND",
    "PURGE",
    "BREW",
    "M-SEARCH",
    "G-E_T.1",
    "!#$%&'*+-.^_`|~",
];

const VERSIONS: &[&str] = &[
    "HTTP/1.2",
    "HTTP/1.10",
    "HTTP/2.0",
    "HTTP/2",
    "HTTP/3.0",
    "HTTP/0.9",
    "HTTP/9.9",
    "HTTP/1",
    "HTTP/1.",
    "HTTP/.1",
    "HTTP/11",
    "HTTP/01.1",
    "HTTP/1.01",
    "HTTP/1,1",
    "HTTP/1.1x",
    "HTTP/-1.1",
    "HTTP/+1.1",
    "HTTP/1. 1",
    "HTTP /1.1",
    "HTTP/ 1.1",
    "http/1.1",
    "Http/1.1",
    "HTTPS/1.1",
    "ICY/1.1",
    "H",
    "1.1",
    "HTTP/1.1 HTTP/1.1",
    "HTTP/1.\u{661}",
];

pub(super) fn add(corpus: &mut Corpus<'_>) {
    methods(corpus);
    spaces(corpus);
    versions(corpus);
    targets(corpus);
    absolute(corpus);
}

fn methods(corpus: &mut Corpus<'_>) {
    corpus.group = "method";
    corpus.line("GET", "GET TARGET HTTP/1.1", click());
    corpus.line("HEAD", "HEAD TARGET HTTP/1.1", answered(302));
    for method in METHODS {
        corpus.line(method, &format!("{method} TARGET HTTP/1.1"), answered(405));
    }
    corpus.line("of 300 letters", &format!("{} TARGET HTTP/1.1", "M".repeat(300)), answered(405));
    corpus.line("CONNECT of a path", "CONNECT TARGET HTTP/1.1", refused(400));
    corpus.line("CONNECT of an authority", "CONNECT a:80 HTTP/1.1", refused(400));
    corpus.line("none", " TARGET HTTP/1.1", refused(400));
    for byte in NO_TOKEN {
        let request = with_byte("G", *byte, "T TARGET HTTP/1.1\r\nHost: a\r\n\r\n");
        corpus.add(&format!("with {byte:#04x} in it"), request, refused(400));
    }
}

fn spaces(corpus: &mut Corpus<'_>) {
    corpus.group = "request line";
    for (name, line) in [
        ("two spaces before the target", "GET  TARGET HTTP/1.1"),
        ("two spaces before the version", "GET TARGET  HTTP/1.1"),
        ("a space at its end", "GET TARGET HTTP/1.1 "),
        ("a tab at its end", "GET TARGET HTTP/1.1\t"),
        ("a space at its start", " GET TARGET HTTP/1.1"),
        ("a tab at its start", "\tGET TARGET HTTP/1.1"),
        ("tabs between the words", "GET\tTARGET\tHTTP/1.1"),
        ("vertical tabs between the words", "GET\x0bTARGET\x0bHTTP/1.1"),
        ("form feeds between the words", "GET\x0cTARGET\x0cHTTP/1.1"),
        ("returns between the words", "GET\rTARGET\rHTTP/1.1"),
        ("no space", "GETTARGETHTTP/1.1"),
        ("no version", "GET TARGET"),
        ("no version, one space", "GET TARGET "),
        ("a method alone", "GET"),
        ("a return at its end", "GET TARGET HTTP/1.1\r"),
        ("a return at its start", "\rGET TARGET HTTP/1.1"),
        ("a quoted target", "GET \"TARGET\" HTTP/1.1"),
        ("a comma", "GET, TARGET HTTP/1.1"),
    ] {
        corpus.line(name, line, refused(400));
    }
    // RFC 9112 section 2.2: at least one empty line before a request is passed over.
    corpus.line("one empty line before", "\r\nGET TARGET HTTP/1.1", click());
    corpus.line("three empty lines before", "\r\n\r\n\r\nGET TARGET HTTP/1.1", click());
    corpus.line("a bare line feed before", "\nGET TARGET HTTP/1.1", refused(400));
    corpus.add("ended by a bare line feed", "GET TARGET HTTP/1.1\nHost: a\r\n\r\n", refused(400));
    corpus.add("ended by a bare return", "GET TARGET HTTP/1.1\rHost: a\r\n\r\n", refused(400));
    corpus.add("ended the wrong way round", "GET TARGET HTTP/1.1\n\rHost: a\r\n\r\n", refused(400));
}

fn versions(corpus: &mut Corpus<'_>) {
    corpus.group = "version";
    corpus.line("HTTP/1.0 closes", "GET TARGET HTTP/1.0", click().closing());
    corpus.add("HTTP/1.0 needs no Host", "GET TARGET HTTP/1.0\r\n\r\n", click().closing());
    corpus.add(
        "HTTP/1.0 kept alive",
        "GET TARGET HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
        click(),
    );
    for version in VERSIONS {
        corpus.line(version, &format!("GET TARGET {version}"), refused(400));
    }
}

fn targets(corpus: &mut Corpus<'_>) {
    corpus.group = "target";
    for target in [
        "/",
        "/api/track",
        "/api/track/",
        "/api/track/?sub1=x",
        "//",
        "/../TARGET",
        "/./TARGET",
        "//a/TARGET",
        "/x/../TARGET",
        "/%2e%2e/TARGET",
        "/api/track/%00",
        "/api/track/%",
        "/api/track/%zz",
        "/API/TRACK/x",
        "/api%2ftrack%2fx",
        "/api/track;x/y",
        "/metrics",
        "/ready",
        "/TARGET",
        "/api/track/x/y",
    ] {
        corpus.line(target, &format!("GET {target} HTTP/1.1"), answered(404));
    }
    for (name, target) in [
        ("with no slash", "api/track/x"),
        ("a query alone", "?sub1=x"),
        ("an authority", "a:80"),
        ("a name", "a"),
        ("an address", "127.0.0.1"),
        ("a fragment alone", "#x"),
        ("an asterisk, not of OPTIONS", "*"),
        ("an asterisk and more", "*/x"),
        ("two asterisks", "**"),
        ("a backslash", "\\api\\track\\x"),
    ] {
        corpus.line(name, &format!("GET {target} HTTP/1.1"), refused(400));
    }
    corpus.line("an asterisk of OPTIONS", "OPTIONS * HTTP/1.1", answered(404));
    // The parser drops what no client sends; nobody else's request begins there.
    corpus.line("a fragment behind it", "GET TARGET#x HTTP/1.1", click());
    for byte in NO_TARGET {
        let request = with_byte("GET /api/track/x", *byte, "y HTTP/1.1\r\nHost: a\r\n\r\n");
        corpus.add(&format!("with {byte:#04x} in it"), request, refused(400));
    }
    for byte in ODD_IN_TARGET {
        let request = with_byte("GET /api/track/x", *byte, "y HTTP/1.1\r\nHost: a\r\n\r\n");
        corpus.add(&format!("with {byte:#04x} in it"), request, answered(404));
    }
    for behind in ["\u{e9}", "\u{60f}", "\u{60f}?sub1=x", "\u{1f4a1}x", "\u{60f}/x"] {
        let line = format!("GET {}{behind} HTTP/1.1", corpus.path);
        corpus.line(&format!("{behind} behind a token"), &line, answered(404));
    }
    corpus.line("of 1,900 more characters", &format!("GET TARGET&x={} HTTP/1.1", "x".repeat(1_900)), click());
    corpus.line("of 2,100 characters", &format!("GET TARGET&x={} HTTP/1.1", "x".repeat(2_100)), refused(414));
    corpus.line("of 3 KiB", &format!("GET TARGET&x={} HTTP/1.1", "x".repeat(3_072)), refused(414));
    corpus.line("of 17 KiB", &format!("GET TARGET&x={} HTTP/1.1", "x".repeat(17_408)), refused(431));
}

/// RFC 9112 section 3.2.2.
fn absolute(corpus: &mut Corpus<'_>) {
    corpus.group = "absolute form";
    for (scheme, expect) in [
        ("http", click()),
        ("HTTP", click()),
        ("https", click()),
        ("ftp", refused(400)),
        ("ws", refused(400)),
        ("x-http", refused(400)),
        ("javascript", refused(400)),
    ] {
        corpus.line(scheme, &format!("GET {scheme}://aTARGET HTTP/1.1"), expect);
    }
    corpus.line("of a name in capitals", "GET http://ATARGET HTTP/1.1", click());
    corpus.line("without a path", "GET http://a HTTP/1.1", answered(404));
    for (name, target) in [
        ("of another host", "http://bTARGET"),
        ("of another port", "http://a:81TARGET"),
        ("with a user", "http://x@aTARGET"),
        ("with a user and a password", "http://x:y@aTARGET"),
        ("with an empty user", "http://@aTARGET"),
        ("with an empty authority", "http://TARGET"),
        ("with a port alone", "http://:80TARGET"),
        ("with a port of letters", "http://a:xTARGET"),
        ("with one slash", "http:/aTARGET"),
        ("with no slash", "http:aTARGET"),
        ("with an open bracket", "http://[::1TARGET"),
        ("with an empty scheme", "://aTARGET"),
        ("of another host, with the Host in its query", "http://bTARGET&x=http://a"),
    ] {
        corpus.line(name, &format!("GET {target} HTTP/1.1"), refused(400));
    }
    corpus.add("without a Host", "GET http://aTARGET HTTP/1.1\r\n\r\n", refused(400));
    corpus.add("in HTTP/1.0, without a Host", "GET http://aTARGET HTTP/1.0\r\n\r\n", click().closing());
}
