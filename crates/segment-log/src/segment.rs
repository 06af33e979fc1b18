//! What a log knows about its segments in memory. No I/O.

use std::path::{Path, PathBuf};

use crate::format::{self, Predecessor, SEGMENT_HEADER, SegmentHeader};
use crate::{Counts, Position};

/// What never changes in the life of a segment file. Shared with readers, so that nobody overwrites a file that one of
/// them has open.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    pub(crate) first: Position,
    pub(crate) totals: Counts,
    pub(crate) seed: u32,
    pub(crate) path: PathBuf,
}

impl SegmentFile {
    pub(crate) fn new(dir: &Path, header: &SegmentHeader) -> Self {
        Self {
            first: header.first,
            totals: header.totals,
            seed: format::seed(header.epoch),
            path: dir.join(format::segment_name(header.first)),
        }
    }
}

/// A segment and how far it is filled with durable records.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) file: std::sync::Arc<SegmentFile>,
    /// Behind its last record.
    pub(crate) end: Position,
    pub(crate) end_offset: u64,
    pub(crate) end_totals: Counts,
    pub(crate) first_received_ms: i64,
    pub(crate) last_received_ms: i64,
    /// The file's length.
    pub(crate) len: u64,
    /// Records are appended up to this length.
    pub(crate) capacity: u64,
    /// Nothing is appended any more.
    pub(crate) sealed: bool,
}

impl Segment {
    /// A segment without records.
    pub(crate) fn empty(file: SegmentFile) -> Self {
        Self {
            end: file.first,
            end_offset: SEGMENT_HEADER as u64,
            end_totals: file.totals,
            first_received_ms: i64::MAX,
            last_received_ms: i64::MIN,
            len: 0,
            capacity: 0,
            sealed: true,
            file: std::sync::Arc::new(file),
        }
    }

    /// This segment as its successor's header names it.
    pub(crate) fn as_predecessor(&self) -> Predecessor {
        Predecessor {
            first: self.file.first,
            end_offset: self.end_offset,
            end: self.end,
            end_totals: self.end_totals,
            last_received_ms: self.last_received_ms,
        }
    }
}
