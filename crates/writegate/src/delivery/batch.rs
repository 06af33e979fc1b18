//! Feeds a delivery: reads records from the log and gathers those that one request may carry.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use remote_write::Protocol;
use segment_log::{Log, Position, Read, ReadError, Reader, Record};

use super::footprint::Footprint;
use super::form::{BatchLimits, points};
use crate::ledger::Row;
use crate::record::{self, Meta, UnknownMeta};

/// Read from the log at once: enough for a batch, little enough to hold for many tenants.
const READ_BYTES: usize = 1024 * 1024;
const READ_RECORDS: usize = 256;

/// Records that travel together, in log order.
#[derive(Debug)]
pub(super) struct Batch {
    records: Vec<(Arc<Record>, Meta)>,
    protocol: Protocol,
    decoded_bytes: u64,
}

impl Batch {
    /// In log order.
    pub(super) fn records(&self) -> &[(Arc<Record>, Meta)] {
        &self.records
    }

    /// In which all its records came.
    pub(super) const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Of all records, decompressed.
    pub(super) const fn decoded_bytes(&self) -> u64 {
        self.decoded_bytes
    }
}

/// Why a delivery cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum FeedError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("record {position}")]
    Meta { position: Position, source: UnknownMeta },
    #[error("the reading thread failed")]
    Thread(#[from] tokio::task::JoinError),
    #[error("the books cannot be written")]
    Settle(#[from] segment_log::SettleError),
}

/// Where a delivery reads.
pub(super) struct Feed {
    log: Arc<Log>,
    row: Arc<Row>,
    reader: Option<Reader>,
    ahead: VecDeque<Read>,
}

thread_local! {
    /// One for all deliveries of a thread: it is empty between two batches.
    static FOOTPRINT: RefCell<Footprint> = RefCell::new(Footprint::new());
}

impl Feed {
    pub(super) fn new(log: Arc<Log>, row: Arc<Row>) -> Self {
        let reader = Some(log.reader(row.low()));
        Self { log, row, reader, ahead: VecDeque::new() }
    }

    /// The next batch within the limits, or `None` at the log's head. A batch never mixes protocols, and takes a series
    /// from at most one record, so that a repetition repeats only newest samples, which receivers accept.
    ///
    /// # Errors
    /// When the log cannot be read or a gap cannot be booked; trying again is safe.
    pub(super) async fn next(&mut self, limits: BatchLimits) -> Result<Option<Batch>, FeedError> {
        loop {
            if self.ahead.is_empty() && !self.fill().await? {
                return Ok(None);
            }
            self.drop_what_is_settled()?;
            if let Some(batch) = self.gather(limits)? {
                return Ok(Some(batch));
            }
        }
    }

    /// Forgets what was read and starts again at the cursor.
    pub(super) fn rewind(&mut self) {
        self.ahead.clear();
        self.reader = Some(self.log.reader(self.row.low()));
    }

    /// Whether the log holds more than was read.
    pub(super) fn has_more(&self) -> bool {
        !self.ahead.is_empty() || self.reader.as_ref().is_none_or(|reader| reader.position() < self.log.head())
    }

    /// Reads the records of a batch again, after a pause in which they were not held in memory.
    pub(super) async fn again(&mut self, plan: &Plan) -> Result<Option<Batch>, FeedError> {
        self.rewind();
        let mut batch: Option<Batch> = None;
        loop {
            if self.ahead.is_empty() && !self.fill().await? {
                return Ok(batch);
            }
            self.drop_what_is_settled()?;
            while let Some(Read::Record(record)) =
                self.ahead.pop_front_if(|read| matches!(read, Read::Record(record) if record.position < plan.until))
            {
                let meta = meta(&record)?;
                batch.get_or_insert_with(|| Batch::new(meta.protocol)).push(record, meta);
            }
            if self.ahead.front().is_some_and(|read| !matches!(read, Read::Gap { .. })) {
                return Ok(batch);
            }
        }
    }

    /// False at the head.
    async fn fill(&mut self) -> Result<bool, FeedError> {
        let mut reader = self.reader.take().unwrap_or_else(|| self.log.reader(self.row.low()));
        let mut read = Vec::new();
        if reader.cached(READ_BYTES, READ_RECORDS, &mut read) {
            self.reader = Some(reader);
        } else {
            // A failed read leaves no reader: the next one starts at the cursor.
            let (reader, result) = tokio::task::spawn_blocking(move || {
                let result = reader.read(READ_BYTES, READ_RECORDS, &mut read).map(|()| read);
                (reader, result)
            })
            .await?;
            read = result?;
            self.reader = Some(reader);
        }
        self.ahead.extend(read);
        Ok(!self.ahead.is_empty())
    }

    /// Removes from the front what needs no delivery: gaps, and records that were settled above the low-water mark.
    fn drop_what_is_settled(&mut self) -> Result<(), FeedError> {
        while let Some(front) = self.ahead.front() {
            match front {
                Read::Record(record) if self.row.is_settled(record.position) => {}
                Read::Record(_) => break,
                Read::Gap { from, to, counts, cause } => {
                    let lost = self.row.gap(*from, *to, *cause)?;
                    if !lost.is_zero() {
                        tracing::error!(from, to, ?counts, ?cause, "records are damaged and cannot be delivered");
                    }
                }
            }
            self.ahead.pop_front();
        }
        Ok(())
    }

    fn gather(&mut self, limits: BatchLimits) -> Result<Option<Batch>, FeedError> {
        let Some(Read::Record(first)) = self.ahead.pop_front() else {
            return Ok(None);
        };
        let first_meta = meta(&first)?;
        let mut batch = Batch::new(first_meta.protocol);
        let mut samples = points(record::counts(&first));
        batch.push(first, first_meta);
        FOOTPRINT.with_borrow_mut(|footprint| {
            footprint.clear();
            while let Some(Read::Record(next)) = self.ahead.front() {
                let meta = meta(next)?;
                samples += points(record::counts(next));
                let fits = meta.protocol == batch.protocol
                    && samples <= limits.samples
                    && batch.decoded_bytes + u64::from(meta.decoded_bytes) <= limits.decoded_bytes
                    && !self.row.is_settled(next.position);
                // The first record's footprint is only looked at when there is a second.
                let disjoint = fits
                    && (batch.records.len() > 1 || footprint.add(record::footprint(&batch.records[0].0.meta)))
                    && footprint.add(record::footprint(&next.meta));
                if !disjoint {
                    break;
                }
                if let Some(Read::Record(next)) = self.ahead.pop_front() {
                    batch.push(next, meta);
                }
            }
            Ok::<_, FeedError>(())
        })?;
        Ok(Some(batch))
    }
}

fn meta(record: &Record) -> Result<Meta, FeedError> {
    Meta::decode(&record.meta).map_err(|source| FeedError::Meta { position: record.position, source })
}

impl Batch {
    fn new(protocol: Protocol) -> Self {
        Self { records: Vec::new(), protocol, decoded_bytes: 0 }
    }

    fn push(&mut self, record: Arc<Record>, meta: Meta) {
        self.decoded_bytes += u64::from(meta.decoded_bytes);
        self.records.push((record, meta));
    }

    /// What is enough to read this batch again.
    pub(super) fn plan(&self) -> Plan {
        Plan { until: self.records.last().map_or(0, |(record, _)| record.position + 1) }
    }
}

/// A batch without its records: from the cursor to here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    until: Position,
}
