//! Reading a log forward: from memory while the reader is near the head, else from the segments, with gaps where
//! records are gone or damaged. Only durable records are seen.

use std::sync::Arc;

use crate::cursors::Side;
use crate::format::SEGMENT_HEADER;
use crate::log::{Log, lock};
use crate::lookup::Place;
use crate::record::Record;
use crate::scan::{READ_AHEAD, Scan};
use crate::segment::{Segment, SegmentFile};
use crate::storage::{Access, At, IoFailure};
use crate::{Counts, Position, counts};

/// Why a log could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The position is not within the log.
    #[error("find position {position}: the log has {oldest} to {head}")]
    Outside {
        /// What was asked for.
        position: Position,
        /// The oldest position there is.
        oldest: Position,
        /// The head.
        head: Position,
    },
    /// The storage failed.
    #[error(transparent)]
    Io(#[from] IoFailure),
}

/// What a reader meets.
#[derive(Clone, Debug)]
pub enum Read {
    /// A record.
    Record(Arc<Record>),
    /// Positions `from..to` cannot be read.
    Gap {
        /// The first of them.
        from: Position,
        /// Behind the last.
        to: Position,
        /// What they held; of an expired gap only as much as this reader can know.
        counts: Counts,
        /// Who has to book it.
        cause: GapCause,
    },
}

/// Why records cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapCause {
    /// Retention deleted them, and booked them as expired in every cursor that had not settled them.
    Expired,
    /// The disk lost them. A cursor books that with [`crate::Cursor::expire`].
    Damaged,
}

/// Reads a log forward. Holds at most one file open, and that only between two calls of [`Reader::read`].
#[derive(Debug)]
pub struct Reader {
    log: Arc<Log>,
    next: Position,
    /// The log's totals at `next`, if known.
    totals: Option<Counts>,
    /// Where the record after the last one read begins: first position of its segment, and offset.
    place: Option<(Position, u64)>,
    walk: Option<(Arc<SegmentFile>, Scan)>,
}

/// What may still be put out in one call.
struct Budget {
    bytes: usize,
    records: usize,
}

impl Budget {
    fn is_spent(&self) -> bool {
        self.bytes == 0 || self.records == 0
    }

    fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.records = self.records.saturating_sub(1);
    }
}

impl Reader {
    pub(crate) fn new(log: Arc<Log>, from: Position) -> Self {
        Self { log, next: from, totals: None, place: None, walk: None }
    }

    /// The position that is read next.
    pub fn position(&self) -> Position {
        self.next
    }

    /// Appends records to `out` until one of the bounds is reached (the last record may go beyond `max_bytes`), from memory
    /// only. `false`: the next one is not in memory, [`Reader::read`] has to fetch it. At the head it appends nothing and
    /// returns `true`.
    pub fn cached(&mut self, max_bytes: usize, max_records: usize, out: &mut Vec<Read>) -> bool {
        self.take_cached(&mut Budget { bytes: max_bytes, records: max_records }, out)
    }

    /// Appends to `out` until one of the bounds is reached (the last record may go beyond `max_bytes`) or the head. May
    /// block on the disk. A gap counts as a record.
    ///
    /// # Errors
    /// When the storage fails; what was read before is in `out`, and the reader may be used again.
    pub fn read(&mut self, max_bytes: usize, max_records: usize, out: &mut Vec<Read>) -> Result<(), ReadError> {
        let mut budget = Budget { bytes: max_bytes, records: max_records };
        while !budget.is_spent() {
            if self.take_cached(&mut budget, out) {
                if budget.is_spent() || self.next >= self.log.head() {
                    break;
                }
                continue;
            }
            let place = lock(&self.log.state).locate(self.next);
            match place {
                Place::Head => break,
                Place::Gap { to, to_totals, cause } => {
                    if self.totals.is_none() && cause == GapCause::Damaged {
                        self.totals = Some(self.log.sound(Side::Before, self.next)?.1);
                    }
                    self.gap(to, to_totals, cause, out);
                    budget.spend(0);
                }
                Place::In(segment) => match self.read_segment(&segment, &mut budget, out) {
                    Ok(()) => {}
                    // Retention was faster. What is below the oldest position is met as a gap in the next round.
                    Err(_) if !self.log.still_has(&segment.file) => self.walk = None,
                    Err(failure) => return Err(failure.into()),
                },
            }
        }
        Ok(())
    }

    /// Closes the file, if one is open; for a reader that will rest.
    pub fn rest(&mut self) {
        self.walk = None;
    }

    fn take_cached(&mut self, budget: &mut Budget, out: &mut Vec<Read>) -> bool {
        let state = lock(&self.log.state);
        if self.next >= state.head {
            return true;
        }
        let first = state.tail.front().map_or(state.head, |record| record.position);
        let Some(skip) = self.next.checked_sub(first).and_then(|skip| usize::try_from(skip).ok()) else {
            return false;
        };
        if skip >= state.tail.len() {
            return false;
        }
        for record in state.tail.range(skip..) {
            if budget.is_spent() {
                break;
            }
            budget.spend(record.meta.len() + record.body.len());
            self.next = record.position + 1;
            self.totals = Some(counts::add(record.totals, record.counts));
            self.place = Some(record.place);
            out.push(Read::Record(Arc::clone(record)));
        }
        self.walk = None;
        true
    }

    fn read_segment(&mut self, segment: &Segment, budget: &mut Budget, out: &mut Vec<Read>) -> Result<(), IoFailure> {
        let path = &segment.file.path;
        let mut scan = self.scan(segment)?;
        while !budget.is_spent() && self.next < segment.end {
            let Some(found) = scan.next().at("read", path)? else {
                self.gap(segment.end, segment.end_totals, GapCause::Damaged, out);
                budget.spend(0);
                break;
            };
            let header = &found.header;
            if header.position < self.next {
                continue;
            }
            if header.position > self.next {
                self.gap(header.position, header.totals, GapCause::Damaged, out);
                budget.spend(0);
            }
            let after = counts::add(header.totals, header.counts);
            self.totals = Some(header.totals);
            let Some((meta, body)) = scan.data(&found).at("read", path)? else {
                self.gap(header.position + 1, after, GapCause::Damaged, out);
                budget.spend(0);
                continue;
            };
            budget.spend(meta.len() + body.len());
            let place = (segment.file.first, found.end_offset());
            self.next = header.position + 1;
            self.totals = Some(after);
            self.place = Some(place);
            out.push(Read::Record(Arc::new(Record {
                position: header.position,
                received_ms: header.received_ms,
                counts: header.counts,
                meta,
                body,
                totals: header.totals,
                place,
            })));
        }
        if self.next < segment.end {
            self.walk = Some((Arc::clone(&segment.file), scan));
        }
        Ok(())
    }

    /// A walk that comes to `next` first: the one at hand, one from a known offset, or one found by headers.
    fn scan(&mut self, segment: &Segment) -> Result<Scan, IoFailure> {
        let file = &segment.file;
        if let Some((walked, mut scan)) = self.walk.take()
            && Arc::ptr_eq(&walked, file)
        {
            scan.extend_to(segment.end_offset);
            return Ok(scan);
        }
        let from = match self.place {
            Some((first, offset)) if first == file.first && self.totals.is_some() => offset,
            _ if self.next == file.first => {
                self.totals = Some(file.totals);
                SEGMENT_HEADER as u64
            }
            _ => {
                let next = self.next;
                let reached = self.log.walk(segment, &mut |found| found.header.position >= next)?;
                self.totals = Some(reached.totals);
                reached.found.map_or(segment.end_offset, |found| found.offset)
            }
        };
        let handle = self.log.shared.storage.open(&file.path, Access::Read).at("open", &file.path)?;
        Ok(Scan::new(handle, file.seed, from, segment.end_offset, self.next, READ_AHEAD))
    }

    fn gap(&mut self, to: Position, to_totals: Counts, cause: GapCause, out: &mut Vec<Read>) {
        let counts = self.totals.map_or([0; 3], |totals| counts::sub(to_totals, totals));
        if cause == GapCause::Damaged {
            self.log.note_damage(self.next, to);
        }
        out.push(Read::Gap { from: self.next, to, counts, cause });
        self.next = to;
        self.totals = Some(to_totals);
        self.place = None;
    }
}
