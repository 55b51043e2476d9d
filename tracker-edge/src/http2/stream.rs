//! The stream of one HTTP/2 connection: meters what goes over it, and notes what does not move.

use super::meter::Meter;
use crate::connections::Connection;
use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is known of the line by whoever serves the connection.
#[derive(Default)]
pub(super) struct Wire {
    /// The client has sent too much that is of no use; nothing more is read of it.
    pub(super) is_flood: Cell<bool>,
    /// The tick at which something was written that the kernel has not taken whole yet.
    pub(super) unsent: Cell<Option<u32>>,
    /// The tick at which a frame or header block began that has not come whole yet.
    pub(super) unfinished: Cell<Option<u32>>,
}

pub(super) struct Metered<S> {
    stream: S,
    connection: Rc<Connection>,
    meter: Meter,
    wire: Rc<Wire>,
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S, connection: Rc<Connection>, wire: Rc<Wire>) -> Self {
        let meter = Meter::new(connection.now());
        Self { stream, connection, meter, wire }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, connection, meter, wire } = &mut *self;
        if wire.is_flood.get() {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let polled = Pin::new(stream).poll_read(context, buf);
        meter.received(buf.filled().get(before..).unwrap_or_default(), connection.now());
        wire.unfinished.set(meter.unfinished());
        if meter.is_flood() {
            // Not even what was just read is looked at; whoever serves finds the mark.
            wire.is_flood.set(true);
            buf.set_filled(before);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, connection, meter, wire } = &mut *self;
        let polled = Pin::new(stream).poll_write(context, buf);
        if let Poll::Ready(Ok(written)) = polled {
            meter.sent(buf.get(..written).unwrap_or_default());
            if meter.is_flood() {
                wire.is_flood.set(true);
            }
            if wire.unsent.get().is_none() {
                wire.unsent.set(Some(connection.now()));
            }
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        if polled.is_ready() {
            self.wire.unsent.set(None);
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
