//! An HTTP/1.1 client that is just enough for loopback: one request a connection, bounded replies.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Nothing on loopback has a reason to take longer.
const WAIT: Duration = Duration::from_secs(10);
/// Replies we read are a few kilobytes; metrics pages a few hundred.
const REPLY_BYTES_MAX: u64 = 8 << 20;

/// A reply.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub body: String,
}

/// Sends a request to a port of loopback.
pub fn send(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> Result<Reply> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream =
        TcpStream::connect_timeout(&address, WAIT).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(WAIT)).context("cannot set a time-out")?;
    stream.set_write_timeout(Some(WAIT)).context("cannot set a time-out")?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(body) = body {
        head.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    head.push_str(body.unwrap_or_default());
    stream.write_all(head.as_bytes()).with_context(|| format!("cannot send to {address}"))?;
    let mut bytes = Vec::new();
    stream
        .take(REPLY_BYTES_MAX)
        .read_to_end(&mut bytes)
        .with_context(|| format!("no reply from {address}"))?;
    parse(&bytes).with_context(|| format!("{address} did not answer with HTTP"))
}

/// Splits a whole reply into status and body, undoing chunks.
fn parse(bytes: &[u8]) -> Result<Reply> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").context("no end of headers")?;
    let status =
        head.split(' ').nth(1).context("no status")?.parse().context("a status that is no number")?;
    let chunked = head.lines().any(|line| {
        let line = line.to_ascii_lowercase();
        line.starts_with("transfer-encoding:") && line.contains("chunked")
    });
    let body = if chunked { dechunk(body)? } else { body.to_owned() };
    Ok(Reply { status, body })
}

fn dechunk(mut rest: &str) -> Result<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n").context("a chunk without a size")?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or(size).trim(), 16)
            .context("a chunk's size is no number")?;
        if size == 0 {
            return Ok(body);
        }
        let chunk = after.get(..size).context("a chunk is cut short")?;
        body.push_str(chunk);
        rest = after.get(size..).unwrap_or_default();
        ensure!(rest.starts_with("\r\n"), "a chunk is longer than it says");
        rest = rest.trim_start_matches("\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_plain_and_chunked() {
        for (bytes, status, body) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, "ok"),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", 503, ""),
            (
                "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
                201,
                "abcde",
            ),
        ] {
            assert_eq!(parse(bytes.as_bytes()).unwrap(), Reply { status, body: body.into() });
        }
    }

    #[test]
    fn broken_replies_are_errors() {
        for bytes in [
            "",
            "nonsense",
            "HTTP/1.1 x\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        ] {
            assert!(parse(bytes.as_bytes()).is_err(), "{bytes:?}");
        }
    }
}
