//! A TLS stream that notes when bytes come and go, for the deadlines of [`crate::connections`].
//!
//! TLS takes what is written into buffers of its own: an answer counts as taken when those are empty, not
//! when they took it.

use crate::connections::Connection;
use crate::socket::LineEnds;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// The stream of one HTTP/1 connection.
pub(super) struct Watched {
    stream: TlsStream<TcpStream>,
    connection: Rc<Connection>,
    ends: LineEnds,
    /// Something was written since buffers were last empty.
    written: bool,
}

impl Watched {
    pub(super) fn new(stream: TlsStream<TcpStream>, connection: Rc<Connection>) -> Self {
        Self { stream, connection, ends: LineEnds::default(), written: false }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buf);
        let Self { connection, ends, .. } = &mut *self;
        ends.note(buf.filled().get(before..).unwrap_or_default(), connection);
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, buf);
        self.written |= matches!(polled, Poll::Ready(Ok(1..)));
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        // hyper flushes while an answer is still in the making, too.
        if polled.is_ready() && std::mem::take(&mut self.written) {
            self.connection.written();
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
