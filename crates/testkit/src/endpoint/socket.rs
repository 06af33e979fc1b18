//! An accepted connection that can be reset or half closed by who serves a request on it.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The server's side of a connection.
pub(super) struct Socket {
    stream: TokioIo<TcpStream>,
    control: Arc<Control>,
}

/// What a request's handler can do to its connection.
pub(super) struct Control {
    /// A second handle of the same socket, because hyper owns the first.
    handle: std::net::TcpStream,
    reset: AtomicBool,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> io::Result<(Self, Arc<Control>)> {
        stream.set_nodelay(true)?;
        let stream = stream.into_std()?;
        let handle = stream.try_clone()?;
        let control = Arc::new(Control { handle, reset: AtomicBool::new(false) });
        let stream = TokioIo::new(TcpStream::from_std(stream)?);
        Ok((Self { stream, control: Arc::clone(&control) }, control))
    }
}

impl Control {
    /// Lets the connection end with a reset; it ends when its handler returns an error.
    pub(super) fn reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }

    /// Ends the server's half of the connection.
    pub(super) fn half_close(&self) -> io::Result<()> {
        self.handle.shutdown(Shutdown::Write)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.control.reset.load(Ordering::Relaxed) {
            // Without lingering the close discards what is unsent and sends a reset. Where that cannot be set the
            // connection is closed politely, which the sender has to stand as well.
            drop(self.stream.inner().set_zero_linger());
        }
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }
}
