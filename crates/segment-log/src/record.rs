//! Records as they are handed in, handed out, and carried to the writer.

use bytes::Bytes;

use crate::storage::IoFailure;
use crate::{Counts, Position};

/// What is appended.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When it was received, in milliseconds since 1970.
    pub received_ms: i64,
    /// What it adds to the log's totals.
    pub counts: Counts,
    /// Opaque; stored before the body.
    pub meta: Bytes,
    /// Opaque.
    pub body: Bytes,
}

/// Called exactly once per append with the record's position, when it is durable and visible. On a writer thread, or inside
/// [`crate::Log::append`] when the record is refused at once; must not block.
pub type Completion = Box<dyn FnOnce(Result<Position, AppendError>) + Send>;

/// Why a record was not appended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The log is full and must keep what it has. Nothing was written.
    #[error(
        "the tenant's log has reached its max_size and must keep what an endpoint with on_full: refuse has not had yet; \
         mend that endpoint, or raise log.max_size"
    )]
    Full,
    /// There is no space on the disk, or not within the bounds of all logs. The record may have been written in part.
    #[error(
        "there is no room for any log: together they have reached log.max_total_size, or the disk has less than \
         log.min_free left; make room on the disk, or raise log.max_total_size"
    )]
    NoSpace,
    /// The store is closing. Nothing was written.
    #[error("the log is closing")]
    Closing,
    /// Nothing was written.
    #[error("append a record of {bytes} bytes (at most {limit})")]
    TooLarge {
        /// Meta and body together.
        bytes: u64,
        /// Most that is taken.
        limit: u64,
    },
    /// A write or sync failed. The record may turn out to be durable after a restart.
    #[error(transparent)]
    Io(IoFailure),
}

impl From<IoFailure> for AppendError {
    fn from(failure: IoFailure) -> Self {
        if failure.is_no_space() { Self::NoSpace } else { Self::Io(failure) }
    }
}

/// A durable record.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its place in the log.
    pub position: Position,
    /// When it was received, in milliseconds since 1970.
    pub received_ms: i64,
    /// What it added to the log's totals.
    pub counts: Counts,
    /// Opaque.
    pub meta: Bytes,
    /// Opaque.
    pub body: Bytes,
    /// The log's totals before it.
    pub(crate) totals: Counts,
    /// First position of its segment, and where in the file the next record begins.
    pub(crate) place: (Position, u64),
}

impl Record {
    /// What it costs to keep in memory.
    pub(crate) fn memory(&self) -> usize {
        self.meta.len() + self.body.len() + size_of::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_told_which_bound_was_reached_and_what_to_do() {
        let (full, no_space) = (AppendError::Full.to_string(), AppendError::NoSpace.to_string());
        for (text, words) in [
            (&full, ["max_size", "on_full: refuse", "raise log.max_size"]),
            (&no_space, ["log.max_total_size", "log.min_free", "make room"]),
        ] {
            assert!(words.iter().all(|words| text.contains(words)), "{text}");
        }
    }
}
