//! What a receiver can be told to do with a request.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::watch;

/// One reply: what is done, and when.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) act: Act,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: ReplyBody,
    pub(super) takes: bool,
    pub(super) delay: Duration,
    pub(super) gate: Option<Gate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// As the receiver would without being told.
    Healthy,
    Answer,
    ResetBeforeBody,
    ResetAfterBody,
    HalfClose,
    Hang,
}

impl Reply {
    /// What a healthy receiver does: take the request, 204; with a [`Judge`](super::Judge), what that says.
    pub fn healthy() -> Self {
        Self::with(Act::Healthy, StatusCode::NO_CONTENT)
    }

    /// That status, nothing taken. Numbers that are no status become 500.
    pub fn status(status: u16) -> Self {
        Self::with(Act::Answer, status_code(status))
    }

    /// Resets the connection when the head was read. (From a function, which needs the body: after it.)
    pub fn reset_before_body() -> Self {
        Self::with(Act::ResetBeforeBody, StatusCode::NO_CONTENT)
    }

    /// Resets the connection when the body was read; with [`Self::taking`] the sender cannot know that it was taken.
    pub fn reset_after_body() -> Self {
        Self::with(Act::ResetAfterBody, StatusCode::NO_CONTENT)
    }

    /// Reads the request, then ends its own half of the connection without an answer.
    pub fn half_close() -> Self {
        Self::with(Act::HalfClose, StatusCode::NO_CONTENT)
    }

    /// Reads the request and never answers.
    pub fn hang() -> Self {
        Self::with(Act::Hang, StatusCode::NO_CONTENT)
    }

    fn with(act: Act, status: StatusCode) -> Self {
        Self {
            act,
            status,
            headers: HeaderMap::new(),
            body: ReplyBody::Bytes(Bytes::new()),
            takes: act == Act::Healthy,
            delay: Duration::ZERO,
            gate: None,
        }
    }

    /// Takes the request's contents all the same, with a [`Judge`](super::Judge) what that lets pass. Booked when the
    /// body was read, before any delay.
    #[must_use]
    pub fn taking(mut self) -> Self {
        self.takes = true;
        self
    }

    /// Adds a header; what cannot be a header is left out.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            self.headers.append(name, value);
        }
        self
    }

    /// Adds `Retry-After` in seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        self.header("retry-after", &seconds.to_string())
    }

    /// Answers with that body.
    #[must_use]
    pub fn body(mut self, body: ReplyBody) -> Self {
        self.body = body;
        self
    }

    /// Answers with that text.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.body(ReplyBody::Bytes(text.into().into()))
    }

    /// Waits so long between the request's body and the reply.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Waits for the gate between the request's body and the reply.
    #[must_use]
    pub fn behind(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }
}

/// The status of that number; 500 for a number that is none.
pub(super) fn status_code(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The body of an answer.
#[derive(Clone, Debug)]
pub enum ReplyBody {
    /// These bytes, with their length told.
    Bytes(Bytes),
    /// The chunk over and over, so many times, without a length told; `None`: without end.
    Repeat {
        /// Each time the same.
        chunk: Bytes,
        /// How many times.
        times: Option<u64>,
    },
    /// These bytes, then the connection breaks.
    Cut(Bytes),
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let frame = match &mut *self {
            Self::Bytes(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Self::Cut(bytes) if bytes.is_empty() => {
                return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::ConnectionReset, "cut as told"))));
            }
            Self::Bytes(bytes) | Self::Cut(bytes) => std::mem::take(bytes),
            Self::Repeat { times: Some(0), .. } => return Poll::Ready(None),
            Self::Repeat { chunk, times } => {
                *times = times.map(|times| times - 1);
                chunk.clone()
            }
        };
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Repeat { times, .. } => *times == Some(0),
            Self::Cut(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Repeat { .. } | Self::Cut(_) => SizeHint::default(),
        }
    }
}

/// Holds replies back until it is opened. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate {
    open: Arc<watch::Sender<bool>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { open: Arc::new(watch::Sender::new(false)) }
    }
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets through who waits and who will come.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Holds back who comes from now on.
    pub fn close(&self) {
        self.open.send_replace(false);
    }

    /// Waits until it is open.
    pub async fn passed(&self) {
        let mut open = self.open.subscribe();
        // `self` keeps the channel open, so the wait ends only with an open gate.
        drop(open.wait_for(|open| *open).await);
    }
}
