//! Reads records from the log for a delivery: forward, and again those of a batch that waited.

use std::ops::Range;
use std::sync::Arc;

use segment_log::{GapCause, Log, Position, Read, ReadError, Reader, Record};
use tokio::task::JoinError;

use super::context::Context;
use super::form::Held;
use crate::ledger::Row;
use crate::offload::offload;
use crate::record::{Meta, UnknownMeta};

/// Read from the log at once: enough for a batch, little enough to hold for many tenants.
const READ_BYTES: usize = 512 * 1024;
pub(super) const READ_RECORDS: usize = 256;

/// Why a delivery cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum FeedError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("record {position}")]
    Meta { position: Position, source: UnknownMeta },
    #[error("the reading thread failed")]
    Thread(#[from] JoinError),
    #[error("the books cannot be written")]
    Settle(#[from] segment_log::SettleError),
}

/// Where a delivery reads.
pub(super) struct Feed {
    log: Arc<Log>,
    row: Arc<Row>,
    /// Nothing from there on is read.
    until: Position,
    /// Nothing is read that this row has not settled.
    behind: Option<Arc<Row>>,
    next: Position,
    /// A failed read leaves none.
    reader: Option<Reader>,
}

impl Feed {
    pub(super) fn new(context: &Context) -> Self {
        let (log, row) = (Arc::clone(&context.tenant.log), Arc::clone(&context.row));
        Self { next: row.low(), log, row, until: context.until(), behind: context.behind.clone(), reader: None }
    }

    /// Nothing from there on may be read now.
    fn limit(&self) -> Position {
        self.behind.as_ref().map_or(self.until, |live| self.until.min(live.low()))
    }

    /// Whether there is more to read once the live delivery is further.
    pub(super) fn is_held_back(&self) -> bool {
        self.behind.as_ref().is_some_and(|live| self.next >= live.low() && self.next < self.until)
    }

    /// Whether the log holds more than was read.
    pub(super) fn has_more(&self) -> bool {
        self.behind() > 0
    }

    /// How many records that is, those that are settled already among them.
    pub(super) fn behind(&self) -> u64 {
        self.limit().min(self.log.head()).saturating_sub(self.next)
    }

    /// The position that is read next.
    pub(super) const fn next(&self) -> Position {
        self.next
    }

    /// Reads on from there.
    pub(super) fn rewind(&mut self, position: Position) {
        self.next = position;
        self.reader = None;
    }

    /// The next records that are not settled; empty at the head, and where there are only settled ones. Books gaps.
    ///
    /// # Errors
    /// When the log cannot be read or a gap cannot be booked; trying again is safe.
    pub(super) async fn read(&mut self) -> Result<Vec<Held>, FeedError> {
        let reader = self.reader.take().unwrap_or_else(|| self.log.reader(self.next));
        let (reader, read) = read_some(reader, READ_BYTES, READ_RECORDS).await?;
        let mut records = Vec::with_capacity(read.len());
        let limit = self.limit();
        for read in read {
            match read {
                Read::Record(record) if record.position >= limit => break,
                Read::Record(record) => {
                    self.next = record.position + 1;
                    if !self.row.is_settled(record.position) {
                        records.push(with_meta(record)?);
                    }
                }
                Read::Gap { from, to, counts, cause } => {
                    self.next = to.min(limit);
                    book_gap(&self.row, from..self.next, counts, cause)?;
                }
            }
        }
        if reader.position() == self.next {
            self.reader = Some(reader);
        }
        Ok(records)
    }
}

fn book_gap(
    row: &Row,
    gap: Range<Position>,
    counts: [u64; 3],
    cause: GapCause,
) -> Result<(), segment_log::SettleError> {
    let lost = row.gap(gap.start, gap.end, cause)?;
    if !lost.is_zero() {
        tracing::error!(
            tenant = %row.tenant, endpoint = row.endpoint, from = gap.start, to = gap.end, ?counts, ?cause,
            "records are damaged and cannot be delivered"
        );
    }
    Ok(())
}

/// Reads the records at these positions (rising), as far as they still are in the log and not settled. Books gaps.
///
/// # Errors
/// When the log cannot be read or a gap cannot be booked; trying again is safe.
pub(super) async fn read_again(log: &Arc<Log>, row: &Row, positions: &[Position]) -> Result<Vec<Held>, FeedError> {
    let mut records: Vec<Held> = Vec::with_capacity(positions.len());
    let end = positions.last().map_or(0, |last| last + 1);
    let mut wanted = positions.iter().copied().filter(|position| !row.is_settled(*position)).peekable();
    while let Some(first) = wanted.peek().copied() {
        let (mut reader, mut next) = (log.reader(first), first);
        // Neighbours are read with one reader.
        while wanted.peek().is_some_and(|position| position - next < READ_RECORDS as u64) {
            let most = usize::try_from(end - next).map_or(READ_RECORDS, |most| most.min(READ_RECORDS));
            let (again, read) = read_some(reader, READ_BYTES, most).await?;
            reader = again;
            if read.is_empty() {
                return Ok(records);
            }
            for read in read {
                match read {
                    Read::Record(record) => {
                        next = record.position + 1;
                        while wanted.next_if(|position| *position < record.position).is_some() {}
                        if wanted.next_if_eq(&record.position).is_some() {
                            records.push(with_meta(record)?);
                        }
                    }
                    // It was readable before: the disk fails.
                    Read::Gap { from, to, counts, cause } => {
                        book_gap(row, from..to.min(end), counts, cause)?;
                        next = to;
                        while wanted.next_if(|position| *position < to).is_some() {}
                    }
                }
            }
        }
    }
    Ok(records)
}

async fn read_some(mut reader: Reader, bytes: usize, records: usize) -> Result<(Reader, Vec<Read>), FeedError> {
    let mut read = Vec::new();
    if reader.cached(bytes, records, &mut read) {
        return Ok((reader, read));
    }
    let (reader, result) = offload(move || {
        let result = reader.read(bytes, records, &mut read).map(|()| read);
        (reader, result)
    })
    .await?;
    Ok((reader, result?))
}

fn with_meta(record: Arc<Record>) -> Result<Held, FeedError> {
    let meta = Meta::decode(&record.meta).map_err(|source| FeedError::Meta { position: record.position, source })?;
    Ok((record, meta))
}
