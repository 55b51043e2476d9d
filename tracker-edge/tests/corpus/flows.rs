//! More than one request: pipelines, `Connection`, `Upgrade`, `Expect`, and what is no HTTP at all.

use super::{Corpus, answered, click, clicks, hung_up, passed_over, refused};

const GET: &str = "GET TARGET HTTP/1.1\r\nHost: a\r\n\r\n";

pub(super) fn add(corpus: &mut Corpus<'_>) {
    pipelines(corpus);
    connections(corpus);
    upgrades(corpus);
    expectations(corpus);
    other_protocols(corpus);
    lookers(corpus);
}

fn pipelines(corpus: &mut Corpus<'_>) {
    corpus.group = "pipeline";
    for count in [2, 3, 10, 64] {
        corpus.add(&format!("{count} requests"), GET.repeat(count), clicks(count));
    }
    corpus.add("an empty line between", format!("{GET}\r\n{GET}"), clicks(2));
    corpus.add("a bare line feed between", format!("{GET}\n{GET}"), refused(400).unless_cut(1));
    corpus.add(
        "a refused one behind",
        format!("{GET}GET TARGET HTTP/1.1\r\n\r\n"),
        click().then(refused(400)),
    );
    corpus.add("a refused one before", format!("GET TARGET HTTP/1.1\r\n\r\n{GET}"), refused(400));
    corpus.add("nonsense behind", format!("{GET}nonsense\r\n\r\n"), click().then(refused(400)));
    corpus.add("a NUL behind", format!("{GET}\0"), click().then(refused(400)));
    corpus.add("a space behind", format!("{GET} "), click().then(refused(400)));
    corpus.add("a return behind", format!("{GET}\r"), click().then(refused(400)));
    corpus.add(
        "a body behind that was not announced",
        format!("{GET}hello{GET}"),
        click().then(answered(405)),
    );
    corpus.add(
        "HEAD, OPTIONS, unknown, GET",
        format!(
            "HEAD TARGET HTTP/1.1\r\nHost: a\r\n\r\nOPTIONS TARGET HTTP/1.1\r\nHost: a\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n{GET}"
        ),
        answered(302).then(answered(405)).then(answered(404)).then(click()),
    );
    corpus.add(
        "a request in a header",
        "GET TARGET HTTP/1.1\r\nHost: a\r\nX: GET TARGET HTTP/1.1\r\n\r\n",
        click(),
    );
    corpus.add(
        "behind a body",
        format!("GET TARGET HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx{GET}"),
        click().closing(),
    );
    corpus.add(
        "10, the last one chunked",
        format!(
            "{}GET TARGET HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{GET}",
            GET.repeat(9)
        ),
        clicks(9).then(refused(400)),
    );
}

fn connections(corpus: &mut Corpus<'_>) {
    corpus.group = "Connection";
    for value in ["close", "Close", "CLOSE", "keep-alive, close", "close, keep-alive", "x, close", " close "]
    {
        corpus.add(
            &format!("`{value}`"),
            format!("GET TARGET HTTP/1.1\r\nHost: a\r\nConnection: {value}\r\n\r\n{GET}"),
            click().closing(),
        );
    }
    let lines = "Host: a\r\nConnection: close\r\nConnection: keep-alive\r\n";
    corpus.lines("close, then keep-alive", lines, click().closing());
    for value in
        ["keep-alive", "x", "", "closed", "close-not", "Host", "Content-Length", "Transfer-Encoding", "sub1"]
    {
        corpus.lines(&format!("`{value}`"), &format!("Host: a\r\nConnection: {value}\r\n"), click());
    }
    corpus.lines("Proxy-Connection: close", "Host: a\r\nProxy-Connection: close\r\n", click());
    corpus.lines("Keep-Alive: timeout=0", "Host: a\r\nKeep-Alive: timeout=0, max=0\r\n", click());
    let lines = "Host: a\r\nTE: trailers\r\nTrailer: X\r\nConnection: TE\r\n";
    corpus.lines("TE and Trailer", lines, click());
}

fn upgrades(corpus: &mut Corpus<'_>) {
    corpus.group = "Upgrade";
    // RFC 9110 section 7.8: a server may go on as if it had not been asked.
    for value in ["h2c", "h2", "websocket", "TLS/1.0", "HTTP/2.0", "x"] {
        let lines = format!("Host: a\r\nConnection: Upgrade\r\nUpgrade: {value}\r\n");
        corpus.lines(value, &lines, click());
    }
    corpus.lines(
        "h2c with its settings",
        "Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        click(),
    );
}

fn expectations(corpus: &mut Corpus<'_>) {
    corpus.group = "Expect";
    for value in ["100-continue", "100-Continue", "200-ok", "100-continue, x", ""] {
        corpus.lines(&format!("`{value}`, no body"), &format!("Host: a\r\nExpect: {value}\r\n"), click());
        corpus.add(
            &format!("`{value}`, a body"),
            format!(
                "POST TARGET HTTP/1.1\r\nHost: a\r\nExpect: {value}\r\nContent-Length: 5\r\n\r\nhello{GET}"
            ),
            refused(405),
        );
    }
}

fn other_protocols(corpus: &mut Corpus<'_>) {
    corpus.group = "no HTTP/1";
    corpus.add("HTTP/0.9", "GET TARGET\r\n", refused(400));
    corpus.add("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", hung_up());
    corpus.add("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", refused(400));
    corpus.add("SSH", "SSH-2.0-x\r\n", refused(400));
    corpus.add("PROXY, version 1", format!("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n{GET}"), refused(400));
    corpus.add("PROXY, version 2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", refused(400));
    corpus.add("Redis", "*1\r\n$4\r\nPING\r\n", refused(400));
    corpus.add("SMTP", "EHLO a\r\n", refused(400));
    corpus.add("an answer", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", refused(400));
    corpus.add("NULs", [0; 64], refused(400));
    corpus.add("0xff", [0xff; 64], refused(400));
    corpus.add("empty lines only", "\r\n\r\n\r\n", passed_over());
    corpus.add("a mark of UTF-8's order", format!("\u{feff}{GET}"), refused(400));
}

fn lookers(corpus: &mut Corpus<'_>) {
    corpus.group = "prefetch";
    for line in
        ["Sec-Purpose: prefetch", "Sec-Purpose: prefetch;prerender", "Purpose: prefetch", "X-Moz: prefetch"]
    {
        corpus.lines(line, &format!("Host: a\r\n{line}\r\n"), answered(503));
    }
}
