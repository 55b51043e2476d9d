//! Where a request ends: `Content-Length`, `Transfer-Encoding` and bodies (RFC 9112 sections 6 and 7).
//!
//! The edge takes no bodies: what announces one is answered and closed, what is chunked is refused whatever the
//! chunks are.

use super::{Corpus, Expect, answered, click, refused};

/// Not one number of at least one digit (RFC 9112 section 6.3).
const NO_LENGTHS: &[&str] = &[
    "",
    " ",
    "+5",
    "-5",
    "+0",
    "-0",
    "0_2e",
    "0x5",
    "0x0",
    "5a",
    "a5",
    "5 5",
    "5\t5",
    "5,5",
    "5, 5",
    "5,",
    ",5",
    "0,0",
    "0, 0",
    "5;",
    "5.0",
    "1e1",
    "\"5\"",
    "'5'",
    "\u{ff15}",
    "five",
    "NaN",
    "0b1",
    "5\u{a0}",
    "99999999999999999999",
    "18446744073709551616",
    "0.0",
    "1_0",
    "{5}",
    "%35",
];

/// What is not exactly the transfer coding `chunked` is refused, and so is what is.
const CODINGS: &[&str] = &[
    "chunked",
    "Chunked",
    "CHUNKED",
    " chunked",
    "\tchunked",
    "chunked ",
    "chunked\t",
    "chunked, identity",
    "identity, chunked",
    "identity",
    "gzip",
    "gzip, chunked",
    "chunked, gzip",
    "chunked, chunked",
    "xchunked",
    "chunkedx",
    "x chunked",
    "chunked x",
    "chunked;q=1",
    "chunked;",
    "\"chunked\"",
    "'chunked'",
    "chunked,",
    ",chunked",
    "",
    "chunk",
    "trailers",
    "deflate, gzip, chunked",
    "chunk\u{e9}d",
];

const SMUGGLED: &str = "GET TARGET HTTP/1.1\r\nHost: a\r\n\r\n";

pub(super) fn add(corpus: &mut Corpus<'_>) {
    lengths(corpus);
    repeated_lengths(corpus);
    codings(corpus);
    spellings(corpus);
    chunks(corpus);
}

fn both(corpus: &mut Corpus<'_>, name: &str, rest: &str, of_get: &Expect, of_post: &Expect) {
    corpus.add(&format!("{name}, GET"), format!("GET TARGET HTTP/1.1\r\nHost: a\r\n{rest}"), of_get.clone());
    corpus.add(
        &format!("{name}, POST"),
        format!("POST TARGET HTTP/1.1\r\nHost: a\r\n{rest}"),
        of_post.clone(),
    );
}

fn lengths(corpus: &mut Corpus<'_>) {
    corpus.group = "Content-Length";
    let refusal = refused(400);
    for length in NO_LENGTHS {
        let rest = format!("Content-Length: {length}\r\n\r\nhello");
        both(corpus, &format!("`{length}`"), &rest, &refusal, &refusal);
    }
    for length in ["0", "00", "000000000000000000000000", " 0", "\t0", "0 ", "0\t"] {
        let rest = format!("Content-Length: {length}\r\n\r\n");
        both(corpus, &format!("`{length}`"), &rest, &click(), &answered(405));
    }
    for length in ["5", "05", " 5", "5 ", "\t5", "6", "100", "9223372036854775807"] {
        let rest = format!("Content-Length: {length}\r\n\r\nhello");
        both(corpus, &format!("`{length}`"), &rest, &click().closing(), &refused(405));
    }
    let rest = "Content-Length: 18446744073709551615\r\n\r\nhello";
    both(corpus, "the largest number", rest, &refused(431), &refused(431));
    // A request inside a body is part of the body.
    let rest = format!("Content-Length: 200\r\n\r\n{SMUGGLED}");
    both(corpus, "a request as its body", &rest, &click().closing(), &refused(405));
    let rest = format!("Content-Length: 5\r\n\r\nhello{SMUGGLED}");
    both(corpus, "a request behind its body", &rest, &click().closing(), &refused(405));
    corpus.add(
        "in HTTP/1.0",
        format!("GET TARGET HTTP/1.0\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello{SMUGGLED}"),
        click().closing(),
    );
}

fn repeated_lengths(corpus: &mut Corpus<'_>) {
    corpus.group = "Content-Length repeated";
    for (one, other) in [("3", "4"), ("4", "3"), ("0", "5"), ("5", "0"), ("5", "+5"), ("5", "x"), ("5", "")] {
        let rest = format!("Content-Length: {one}\r\nContent-Length: {other}\r\n\r\nhello");
        both(corpus, &format!("`{one}` and `{other}`"), &rest, &refused(400), &refused(400));
    }
    // RFC 9112 section 6.3 lets a number be said twice. Whatever follows it is not read.
    let rest = format!("Content-Length: 5\r\ncontent-length: 5\r\n\r\nhello{SMUGGLED}");
    both(corpus, "the same", &rest, &click().closing(), &refused(405));
    let rest = "Content-Length: 5\r\nX: y\r\nContent-Length: 05\r\n\r\nhello";
    both(corpus, "the same, spelt otherwise", rest, &click().closing(), &refused(405));
    both(corpus, "nothing", "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", &click(), &answered(405));
}

fn codings(corpus: &mut Corpus<'_>) {
    let refusal = refused(400);
    let body = format!("0\r\n\r\n{SMUGGLED}");
    for coding in CODINGS {
        corpus.group = "Transfer-Encoding";
        let line = format!("Transfer-Encoding: {coding}\r\n");
        both(corpus, &format!("`{coding}`"), &format!("{line}\r\n{body}"), &refusal, &refusal);
        corpus.group = "Content-Length, Transfer-Encoding";
        let rest = format!("Content-Length: 5\r\n{line}\r\n{body}");
        both(corpus, &format!("`{coding}`"), &rest, &refusal, &refusal);
        corpus.group = "Transfer-Encoding, Content-Length";
        let rest = format!("{line}Content-Length: 5\r\n\r\n{body}");
        both(corpus, &format!("`{coding}`"), &rest, &refusal, &refusal);
        corpus.group = "Transfer-Encoding in HTTP/1.0";
        let rest = format!("GET TARGET HTTP/1.0\r\nHost: a\r\n{line}Connection: keep-alive\r\n\r\n{body}");
        corpus.add(&format!("`{coding}`"), rest, refusal.clone());
    }
}

fn spellings(corpus: &mut Corpus<'_>) {
    corpus.group = "framing header";
    let refusal = refused(400);
    for (name, lines) in [
        ("Transfer-Encoding, a space before its colon", "Transfer-Encoding : chunked\r\n"),
        ("Transfer-Encoding, a tab before its colon", "Transfer-Encoding\t: chunked\r\n"),
        ("Transfer-Encoding, folded", "Transfer-Encoding:\r\n chunked\r\n"),
        ("Transfer-Encoding in a fold", "X: y\r\n Transfer-Encoding: chunked\r\n"),
        ("Transfer-Encoding behind a line feed", "X: y\nTransfer-Encoding: chunked\r\n"),
        ("Transfer-Encoding behind a return", "X: y\rTransfer-Encoding: chunked\r\n"),
        ("Transfer-Encoding, a line feed in its value", "Transfer-Encoding: \nchunked\r\n"),
        ("Transfer-Encoding, a vertical tab in its value", "Transfer-Encoding: \x0bchunked\r\n"),
        ("Transfer-Encoding, NUL in its value", "Transfer-Encoding: chunked\0\r\n"),
        ("Transfer-Encoding, NUL in its name", "Transfer-Encoding\0: chunked\r\n"),
        ("Transfer-Encoding, a space at its start", " Transfer-Encoding: chunked\r\n"),
        ("Transfer-Encoding twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        (
            "Transfer-Encoding twice, other way",
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        ),
        ("Transfer-Encoding twice the same", "Transfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
        ("TRANSFER-ENCODING", "TRANSFER-ENCODING: chunked\r\n"),
        ("Content-Length, a space before its colon", "Content-Length : 5\r\n"),
        ("Content-Length, folded", "Content-Length:\r\n 5\r\n"),
        ("Content-Length, folded between its digits", "Content-Length: 1\r\n 0\r\n"),
        ("Content-Length, NUL in its value", "Content-Length: 5\0\r\n"),
        ("Content-Length, a return in its value", "Content-Length: \r5\r\n"),
        ("Content-Length, a space in its name", "Content Length: 5\r\n"),
    ] {
        let rest = format!("{lines}\r\n0\r\n\r\n{SMUGGLED}");
        both(corpus, name, &rest, &refusal, &refusal);
    }
    // Nobody's framing: what follows is another request, and no sound one.
    for name in
        ["Transfer_Encoding", "Transfer-Encodin", "X-Transfer-Encoding", "Content_Length", "Content-Lengthh"]
    {
        let rest = format!("{name}: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}");
        both(corpus, name, &rest, &click().then(refused(400)), &answered(405).then(refused(400)));
    }
}

fn chunks(corpus: &mut Corpus<'_>) {
    corpus.group = "chunked body";
    let refusal = refused(400);
    for (name, body) in [
        ("whole", "5\r\nhello\r\n0\r\n\r\n"),
        ("with an extension", "5;x=y\r\nhello\r\n0\r\n\r\n"),
        ("with a quoted extension", "5;x=\"\r\n\"\r\nhello\r\n0\r\n\r\n"),
        ("with an extension ended by a line feed", "5;x\nhello\r\n0\r\n\r\n"),
        ("with a trailer", "0\r\nX: y\r\n\r\n"),
        ("with Content-Length as a trailer", "0\r\nContent-Length: 5\r\n\r\n"),
        ("with a size of `+5`", "+5\r\nhello\r\n0\r\n\r\n"),
        ("with a size of `0x5`", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("with a size of `0_2e`", "0_2e\r\nhello\r\n0\r\n\r\n"),
        ("with a size of `-5`", "-5\r\nhello\r\n0\r\n\r\n"),
        ("with no size", "\r\nhello\r\n0\r\n\r\n"),
        ("with a size beyond 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("ended by line feeds", "5\nhello\n0\n\n"),
        ("longer than its size", "5\r\nhello!\r\n0\r\n\r\n"),
        ("never ended", "5\r\nhello\r\n"),
    ] {
        let rest = format!("Transfer-Encoding: chunked\r\n\r\n{body}{SMUGGLED}");
        both(corpus, name, &rest, &refusal, &refusal);
    }
}
