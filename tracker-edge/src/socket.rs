//! A plain connection's stream: notes when bytes come and go, for the deadlines of [`crate::connections`], and
//! line ends that two parsers could read differently.

use crate::connections::Connection;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A socket that notes when bytes come and go.
pub(crate) struct Watched {
    stream: TcpStream,
    connection: Rc<Connection>,
    ends: LineEnds,
    /// Read already, by somebody else, and not answered.
    read: Vec<u8>,
}

impl Watched {
    pub(crate) fn new(stream: TcpStream, connection: Rc<Connection>) -> Self {
        Self::after(stream, connection, Vec::new())
    }

    /// A socket of which something was read that is to be read once more.
    pub(crate) fn after(stream: TcpStream, connection: Rc<Connection>, read: Vec<u8>) -> Self {
        Self { stream, connection, ends: LineEnds::default(), read }
    }

    #[cold]
    fn read_again(&mut self, buf: &mut ReadBuf<'_>) {
        let len = self.read.len().min(buf.remaining());
        buf.put_slice(self.read.get(..len).unwrap_or_default());
        self.read.drain(..len);
    }
}

impl AsyncRead for Watched {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = if self.read.is_empty() {
            Pin::new(&mut self.stream).poll_read(context, buf)
        } else {
            self.read_again(buf);
            Poll::Ready(Ok(()))
        };
        let Self { connection, ends, .. } = &mut *self;
        ends.note(buf.filled().get(before..).unwrap_or_default(), connection);
        polled
    }
}

impl AsyncWrite for Watched {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, buf);
        if matches!(polled, Poll::Ready(Ok(written)) if written == buf.len()) {
            self.connection.written();
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// What must be remembered of the bytes of a connection: the last one, for line ends that span two reads.
#[derive(Default)]
pub(crate) struct LineEnds {
    last: u8,
}

impl LineEnds {
    /// Notes what a read gave, if it gave anything.
    #[inline]
    pub(crate) fn note(&mut self, read: &[u8], connection: &Connection) {
        let Some(&last) = read.last() else { return };
        if has_bare_line_feed(self.last, read) {
            connection.malformed.set(true);
        }
        self.last = last;
        connection.received();
    }
}

/// Whether a line ends in a line feed alone. The parser takes it for a line end, proxies may not: two
/// opinions on where a request ends are how requests are smuggled.
#[inline]
pub(crate) fn has_bare_line_feed(before: u8, read: &[u8]) -> bool {
    let starts_bare = read.first() == Some(&b'\n') && before != b'\r';
    // Without a way out in the middle it is done for sixteen bytes at a time.
    let pairs = read.iter().zip(read.get(1..).unwrap_or_default());
    let bare = |(previous, byte): (&u8, &u8)| u8::from(*byte == b'\n') & u8::from(*previous != b'\r');
    starts_bare || pairs.map(bare).fold(0, |any, one| any | one) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_line_feeds_are_seen_across_reads() {
        assert!(!has_bare_line_feed(0, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(!has_bare_line_feed(b'\r', b"\nHost: a\r\n\r\n"));
        assert!(has_bare_line_feed(b'x', b"\nHost: a\r\n\r\n"));
        assert!(has_bare_line_feed(0, b"GET / HTTP/1.1\nHost: a\r\n\r\n"));
    }
}
