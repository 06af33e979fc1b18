//! Finding places in a log: which segment, which totals, since when. Walks headers; reads no bodies.

use std::sync::Arc;

use crate::cursors::Side;
use crate::format::SEGMENT_HEADER;
use crate::log::{Log, State, lock};
use crate::reader::GapCause;
use crate::scan::{Found, HEADERS_ONLY, Scan};
use crate::segment::{Segment, SegmentFile};
use crate::storage::{Access, At, IoFailure};
use crate::{Counts, Position};

/// What is at a position.
#[derive(Debug)]
pub(crate) enum Place {
    /// Nothing yet.
    Head,
    /// A record, if it is not damaged.
    In(Segment),
    /// No segment holds it.
    Gap { to: Position, to_totals: Counts, cause: GapCause },
}

impl State {
    pub(crate) fn locate(&self, position: Position) -> Place {
        if position >= self.head {
            return Place::Head;
        }
        let after = self.segments.partition_point(|segment| segment.file.first <= position);
        if let Some(segment) = after.checked_sub(1).and_then(|index| self.segments.get(index))
            && position < segment.end
        {
            return Place::In(segment.clone());
        }
        let cause = if after == 0 { GapCause::Expired } else { GapCause::Damaged };
        match self.segments.get(after) {
            Some(next) => Place::Gap { to: next.file.first, to_totals: next.file.totals, cause },
            None => Place::Gap { to: self.head, to_totals: self.totals, cause },
        }
    }
}

/// A place reached by walking headers.
pub(crate) struct Reached {
    /// The first sound record at or above the place, unless the segment ends before.
    pub(crate) found: Option<Found>,
    /// Behind the last record below, and the totals there.
    pub(crate) position: Position,
    pub(crate) totals: Counts,
}

impl Log {
    /// Walks a segment's headers up to the first record that `is_there`.
    pub(crate) fn walk(
        &self,
        segment: &Segment,
        is_there: &mut dyn FnMut(&Found) -> bool,
    ) -> Result<Reached, IoFailure> {
        let file = &segment.file;
        let handle = self.shared.storage.open(&file.path, Access::Read).at("open", &file.path)?;
        let from = SEGMENT_HEADER as u64;
        let mut scan = Scan::new(handle, file.seed, from, segment.end_offset, file.first, HEADERS_ONLY);
        let mut reached = Reached { found: None, position: file.first, totals: file.totals };
        while let Some(found) = scan.next().at("read", &file.path)? {
            if is_there(&found) {
                reached.found = Some(found);
                break;
            }
            reached.position = found.header.position + 1;
            reached.totals = crate::counts::add(found.header.totals, found.header.counts);
        }
        Ok(reached)
    }

    /// The totals at a position, or at the nearest place on that side of it where damage leaves them known. Below the
    /// oldest position those at the oldest.
    pub(crate) fn sound(&self, side: Side, position: Position) -> Result<(Position, Counts), IoFailure> {
        loop {
            let segment = {
                let state = lock(&self.state);
                match state.locate(position) {
                    Place::Head => return Ok((state.head, state.totals)),
                    Place::Gap { to, to_totals, .. } => {
                        let before = state.segments.iter().rfind(|segment| segment.end <= position);
                        let before = before.filter(|before| side == Side::Before || before.end == position);
                        return Ok(before.map_or((to, to_totals), |before| (before.end, before.end_totals)));
                    }
                    Place::In(segment) => segment,
                }
            };
            let reached = match self.walk(&segment, &mut |found| found.header.position >= position) {
                Ok(reached) => reached,
                Err(_) if !self.still_has(&segment.file) => continue,
                Err(failure) => return Err(failure),
            };
            return Ok(match reached.found {
                Some(found) if found.header.position == position => (position, found.header.totals),
                _ if reached.position == position || side == Side::Before => (reached.position, reached.totals),
                Some(found) => (found.header.position, found.header.totals),
                None => (segment.end, segment.end_totals),
            });
        }
    }

    /// The first record received at or after a time, and the totals before it; the head if there is none.
    pub(crate) fn place_since(&self, received_ms: i64) -> Result<(Position, Counts), IoFailure> {
        let segments: Vec<Segment> = {
            let state = lock(&self.state);
            state.segments.iter().filter(|segment| segment.last_received_ms >= received_ms).cloned().collect()
        };
        for segment in segments {
            if received_ms == i64::MIN && self.still_has(&segment.file) {
                return Ok((segment.file.first, segment.file.totals));
            }
            match self.walk(&segment, &mut |found| found.header.received_ms >= received_ms) {
                Ok(Reached { found: Some(found), .. }) => return Ok((found.header.position, found.header.totals)),
                Ok(_) => {}
                Err(_) if !self.still_has(&segment.file) => {}
                Err(failure) => return Err(failure),
            }
        }
        let state = lock(&self.state);
        Ok((state.head, state.totals))
    }

    /// Whether a segment has not been deleted meanwhile.
    pub(crate) fn still_has(&self, file: &Arc<SegmentFile>) -> bool {
        lock(&self.state).segments.iter().any(|held| Arc::ptr_eq(&held.file, file))
    }
}
