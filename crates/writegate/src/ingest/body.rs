//! Reads a request body: bounded in bytes, in time, and in what all requests hold together.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use quota::fair::{Reservation, Share};
use tokio::time::{Instant, timeout_at};

use crate::clock;

/// Why a body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// Larger than the limit; `seen` is the declared size if there is one.
    #[error("the body is too large")]
    TooLarge { seen: Option<u64> },
    /// The requests of the tenant, or all together, hold as much as they may.
    #[error("too many bytes in flight")]
    Busy,
    /// The sender was too slow: the connection is to be cut, since a 408 makes Prometheus drop the data.
    #[error("the body did not arrive in time")]
    Slow,
    /// The sender went away or broke the framing.
    #[error("the body ended early")]
    Broken(#[source] hyper::Error),
}

/// The limits of one body.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimits {
    /// In bytes; 0 means no limit.
    pub(super) bytes: u64,
    /// For the whole body.
    pub(super) time: Duration,
    /// The sender waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1).
    pub(super) expects_continue: bool,
}

/// Reads the whole body. The reservation lasts until the caller drops it; an empty body has none.
///
/// # Errors
/// See [`BodyError`]. On `TooLarge` and `Busy` what the sender still sends is read and thrown away (within the time,
/// and up to a few times the limit), so that it gets to see the answer instead of a reset.
pub(super) async fn collect(
    mut body: Incoming,
    limits: BodyLimits,
    in_flight: &Arc<Share>,
) -> Result<(Bytes, Option<Reservation>), BodyError> {
    let deadline = Instant::now() + limits.time;
    if let Some(bytes) = body.size_hint().exact().filter(|&bytes| limits.are_under(bytes))
        && limits.expects_continue
    {
        // Reading on would ask for the body only to throw it away.
        return Err(BodyError::TooLarge { seen: Some(bytes) });
    }
    let result = match timeout_at(deadline, read(&mut body, limits, in_flight)).await {
        Ok(result) => result,
        Err(_elapsed) => return Err(BodyError::Slow),
    };
    if matches!(result, Err(BodyError::TooLarge { .. } | BodyError::Busy)) {
        discard(body, limits.bytes.saturating_mul(4), deadline).await;
    }
    result
}

/// What is read of a body whose request was refused before it, and for how long.
const IGNORED_BYTES: u64 = 1 << 20;
const IGNORED_FOR: Duration = Duration::from_secs(1);

/// Reads a body that nobody wants, within bounds, and throws it away.
pub(super) async fn ignore(body: Incoming) {
    discard(body, IGNORED_BYTES, Instant::now() + IGNORED_FOR).await;
}

/// Reads and throws away so many bytes at most.
async fn discard(mut body: Incoming, at_most: u64, deadline: Instant) {
    let mut seen = 0;
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            seen += frame.data_ref().map_or(0, |data| data.len() as u64);
            if at_most > 0 && seen > at_most {
                return;
            }
        }
    };
    // Whether the rest came or not changes nothing: the answer is the same.
    if timeout_at(deadline, read).await.is_err() {
        tracing::debug!("a refused body did not end in time");
    }
}

impl BodyLimits {
    const fn are_under(&self, bytes: u64) -> bool {
        self.bytes > 0 && bytes > self.bytes
    }
}

/// The least that is reserved. What a body declares counts only when it comes, or a few senders that declare much and
/// send nothing would keep everybody else out.
const RESERVED_AT_ONCE: u64 = 16 * 1024;
/// A buffer is made for this much of the declared size at once.
const BUFFERED_AT_ONCE: u64 = 256 * 1024;

async fn read(
    body: &mut Incoming,
    limits: BodyLimits,
    in_flight: &Arc<Share>,
) -> Result<(Bytes, Option<Reservation>), BodyError> {
    let declared = body.size_hint().exact();
    if let Some(bytes) = declared.filter(|&bytes| limits.are_under(bytes)) {
        return Err(BodyError::TooLarge { seen: Some(bytes) });
    }
    let mut reservation: Option<Reservation> = None;
    let mut collected = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(BodyError::Broken)?.into_data() else {
            continue; // Trailers say nothing that matters here.
        };
        let total = (collected.len() + data.len()) as u64;
        if limits.are_under(total) {
            return Err(BodyError::TooLarge { seen: None });
        }
        let reserved = reservation.as_ref().map_or(0, Reservation::bytes);
        if total > reserved {
            let (more, now) = ((total - reserved).max(RESERVED_AT_ONCE), clock::monotonic_ns());
            let is_reserved = match &mut reservation {
                Some(reservation) => reservation.grow(more, now),
                None => {
                    reservation = in_flight.reserve(more, now);
                    reservation.is_some()
                }
            };
            if !is_reserved {
                return Err(BodyError::Busy);
            }
        }
        if collected.is_empty() {
            if body.is_end_stream() {
                // A copy, since the frame is a part of the connection's buffer, which the log would keep with it.
                return Ok((Bytes::copy_from_slice(&data), reservation));
            }
            let expected = declared.unwrap_or(total * 2).clamp(total, total.max(BUFFERED_AT_ONCE));
            collected.reserve(usize::try_from(expected).unwrap_or(data.len()));
        }
        collected.extend_from_slice(&data);
    }
    Ok((collected.freeze(), reservation))
}
