//! Cuts connections that only hold a place: a header that does not end, a peer that is silent for too long.
//!
//! hyper's own header timeout also runs while a kept-alive connection is idle, so it cannot be shorter than the idle
//! time; Prometheus keeps connections idle for five minutes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Which requests of a connection are being served; shared between the connection and its requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Serving(Arc<Requests>);

#[derive(Debug, Default)]
struct Requests {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

impl Serving {
    /// Marks a request as being served until the guard is dropped.
    pub(crate) fn begin(&self) -> ServingGuard {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        ServingGuard(self.clone())
    }

    fn any(&self) -> bool {
        self.0.begun.load(Ordering::Relaxed) != self.0.ended.load(Ordering::Relaxed)
    }

    fn begun(&self) -> usize {
        self.0.begun.load(Ordering::Relaxed)
    }
}

/// One request being served.
#[derive(Debug)]
pub(crate) struct ServingGuard(Serving);

impl Drop for ServingGuard {
    fn drop(&mut self) {
        self.0.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// A stream whose reads fail once the peer took too long, while no request is being served. (During a request the body
/// has a deadline of its own.)
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    serving: Serving,
    header: Duration,
    idle: Duration,
    waiting: Waiting,
    /// How many requests had begun when the present wait started.
    begun: usize,
    timer: Pin<Box<Sleep>>,
    /// Runs while the peer does not take what is written to it.
    blocked: Option<Pin<Box<Sleep>>>,
}

/// What the next bytes are expected to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// The first bytes of a request.
    Request,
    /// The rest of a header whose first bytes came.
    Header,
    /// HTTP/2 frames: where a header ends is not visible here, and its frames are bounded by hyper.
    Frames,
}

/// Every HTTP/2 connection starts with this (RFC 9113 §3.4).
const HTTP2_PREFACE_START: &[u8] = b"PRI * HT";

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, serving: Serving, header: Duration, idle: Duration) -> Self {
        // A new connection owes its first header at once.
        let timer = Box::pin(sleep_until(Instant::now() + header));
        Self { stream, serving, header, idle, waiting: Waiting::Header, begun: 0, timer, blocked: None }
    }

    fn arm(&mut self, waiting: Waiting) {
        self.waiting = waiting;
        let patience = if waiting == Waiting::Header { self.header } else { self.idle };
        self.timer.as_mut().reset(Instant::now() + patience);
    }

    fn received(&mut self, bytes: &[u8]) {
        match self.waiting {
            Waiting::Header if bytes.starts_with(HTTP2_PREFACE_START) => self.arm(Waiting::Frames),
            Waiting::Request => self.arm(Waiting::Header),
            Waiting::Frames => self.arm(Waiting::Frames),
            Waiting::Header => {}
        }
    }
}

impl<S> Watched<S> {
    /// Passes on what a write came to; a peer that takes nothing for as long as a header may take is cut off.
    fn written<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.blocked = None;
            return result;
        }
        let header = self.header;
        let blocked = self.blocked.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + header)));
        ready!(blocked.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer did not take its answers")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut this.stream).poll_read(cx, buf) {
            if buf.filled().len() > before {
                this.received(&buf.filled()[before..]);
            }
            return Poll::Ready(result);
        }
        if this.serving.any() {
            return Poll::Pending; // Answering wakes the connection, and the next wait begins.
        }
        if this.begun != this.serving.begun() {
            // A request was served since the last wait: its header is not what is being waited for.
            this.begun = this.serving.begun();
            let next = if this.waiting == Waiting::Frames { Waiting::Frames } else { Waiting::Request };
            this.arm(next);
        }
        ready!(this.timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer was silent for too long")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
