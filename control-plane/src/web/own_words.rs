//! What hyper answers by itself, said in our words.
//!
//! A request that hyper cannot read (not HTTP, an address or headers too long) never becomes a request:
//! hyper writes a bare status and closes. This wraps the connection and writes our error body in place of
//! that bare status. Every reply of ours has `X-Request-Id`, so a short head with no body and without that
//! header, at the start of a write, is hyper's own.
//! Limits: HTTP/1 only; over HTTP/2 the same faults end the stream or answer 431 without a body. Headers
//! that do not arrive in time close the connection without an answer.

use crate::error::{Code, Error};
use crate::web::{middleware, respond};
use shared::id::EventId;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Hyper's own heads are under 130 bytes; none of ours, with its headers, is that short.
const BARE_HEAD_LEN_MAX: usize = 200;

/// A connection that says in our words what hyper says by itself.
pub struct OwnWords<S> {
    stream: S,
    /// What replaces hyper's answer, and how much of it is written.
    unsent: Vec<u8>,
    sent: usize,
}

impl<S> OwnWords<S> {
    /// Wraps a connection.
    pub const fn new(stream: S) -> Self {
        Self { stream, unsent: Vec::new(), sent: 0 }
    }
}

impl<S: AsyncWrite + Unpin> OwnWords<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.unsent.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        self.unsent.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for OwnWords<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for OwnWords<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        if let Some(answer) = in_our_words(buf) {
            self.unsent = answer;
            // Taken over as a whole; what the socket does not take now goes with the flush.
            return match self.poll_send(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(buf.len())),
            };
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [one] = bufs {
            return self.poll_write(cx, one);
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The answer in place of one of hyper's own; `None` for everything else.
fn in_our_words(written: &[u8]) -> Option<Vec<u8>> {
    let bare = written.starts_with(b"HTTP/1.1 4") && written.len() <= BARE_HEAD_LEN_MAX;
    let head = std::str::from_utf8(written).ok().filter(|head| bare && head.ends_with("\r\n\r\n"))?;
    let head = head.to_ascii_lowercase();
    if !head.contains("\r\ncontent-length: 0\r\n") || head.contains("\r\nx-request-id:") {
        return None;
    }
    let error = match head.get(9..12)? {
        "400" => Error::new(
            Code::MalformedRequest,
            "What arrived is not an HTTP request: the first line or a header is malformed.",
            "Send HTTP/1.1 or HTTP/2 with a client library; the path percent-encoded, one header a line, no spaces in names, and https only where the origin has it.",
        ),
        "414" => middleware::uri_too_long(),
        "431" => Error::new(
            Code::HeadersTooLarge,
            "The address and the headers are larger than 64 KiB together, or there are more than 100 headers.",
            "Send only the headers that the call needs (Authorization, Content-Type, Idempotency-Key), and data in a JSON body.",
        ),
        _ => return None,
    };
    let status = respond::status(error.code.class());
    metrics::counter!("cp_unreadable_requests_total", "status" => status.as_str().to_owned()).increment(1);
    let body = serde_json::to_vec(&respond::ErrorBody::from(error)).ok()?;
    let mut answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\naccess-control-allow-origin: *\r\nx-request-id: {}\r\nconnection: close\r\n\r\n",
        body.len(),
        EventId::generate(),
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const BARE: &str = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: Sat, 21 Nov 2026 08:00:00 GMT\r\n\r\n";

    #[test]
    fn only_bare_refusals_are_said_again() {
        let said = String::from_utf8(in_our_words(BARE.as_bytes()).expect("hyper's own")).expect("text");
        assert!(said.starts_with("HTTP/1.1 400 Bad Request\r\n") && said.contains("\"malformed_request\""));
        for own in [
            BARE.replace("400 Bad Request", "200 OK"),
            BARE.replace("content-length: 0", "content-length: 2"),
            BARE.replace("date:", "x-request-id:"),
            format!("{BARE}body"),
            format!("{}{BARE}", "{}"),
        ] {
            assert!(in_our_words(own.as_bytes()).is_none(), "{own}");
        }
    }

    #[tokio::test]
    async fn a_socket_that_takes_a_byte_at_a_time_gets_it_whole() {
        let (ours, mut theirs) = tokio::io::duplex(1);
        let writer = tokio::spawn(async move {
            let mut stream = OwnWords::new(ours);
            stream.write_all(BARE.as_bytes()).await?;
            stream.shutdown().await
        });
        let mut said = String::new();
        theirs.read_to_string(&mut said).await.expect("it ends");
        writer.await.expect("it ran").expect("it wrote");
        let (head, body) = said.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{said}");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["error"], "malformed_request");
    }
}
