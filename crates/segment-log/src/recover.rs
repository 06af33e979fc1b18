//! Bringing a log back: what the files in its directory say, what is torn, what is damaged, and where the log goes on.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cursor_files::CursorFiles;
use crate::cursors::{Cursors, Mark};
use crate::format::{self, NotAHeader, Predecessor, SEGMENT_HEADER, SegmentHeader, TEMPORARY};
use crate::log::Carried;
use crate::record::Entry;
use crate::scan::{HEADERS_ONLY, READ_AHEAD, Scan};
use crate::segment::{Segment, SegmentFile};
use crate::storage::{Access, At, IoFailure, Storage, read_full};
use crate::store::OpenError;
use crate::{Counts, Position, counts};

/// What recovery found in one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRecovery {
    /// The log's name.
    pub name: String,
    /// How many segments it has.
    pub segments: usize,
    /// Its oldest position.
    pub oldest: Position,
    /// Its head.
    pub head: Position,
    /// Bytes that were cut or skipped because a write had not been completed; never acknowledged.
    pub torn_bytes: u64,
    /// Records found damaged that had been durable. Only the end of a log is looked at; damage elsewhere is met by readers.
    pub damaged_records: u64,
    /// Segments with a damaged header, under the name they were given to set them aside.
    pub damaged_segments: Vec<PathBuf>,
    /// There were segments but no sound cursor file: all cursors and books are lost.
    pub cursors_lost: bool,
}

impl LogRecovery {
    /// Whether nothing was torn, damaged or lost.
    pub fn is_clean(&self) -> bool {
        self.torn_bytes == 0 && self.damaged_records == 0 && self.damaged_segments.is_empty() && !self.cursors_lost
    }
}

/// A log as recovery found it.
pub(crate) struct Recovered {
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) cursors: Cursors,
    pub(crate) head: Mark,
    /// To be written again before anything else.
    pub(crate) carried: Vec<Carried>,
    pub(crate) report: LogRecovery,
}

/// Recovers the log in a directory.
pub(crate) fn recover(storage: &Arc<dyn Storage>, dir: &Path, name: &str) -> Result<Recovered, OpenError> {
    let mut report = LogRecovery { name: name.to_owned(), ..LogRecovery::default() };
    let mut firsts = Vec::new();
    // First positions of segments that were set aside. Nothing before them goes beyond.
    let mut aside = Vec::new();
    for entry in storage.list(dir).at("list", dir)? {
        if entry.name.ends_with(TEMPORARY) {
            let path = dir.join(&entry.name);
            storage.remove(&path).at("remove", &path)?;
        } else if let Some(first) = format::parse_segment_name(&entry.name) {
            firsts.push(first);
        } else {
            aside.extend(format::parse_damaged_name(&entry.name));
        }
    }
    firsts.sort_unstable();
    // A segment may have got its name without the directory having been synced.
    storage.sync_dir(dir).at("sync", dir)?;

    let mut files = CursorFiles::new(Arc::clone(storage), dir);
    let entries = files.load()?;
    report.cursors_lost = entries.is_none() && !firsts.is_empty();
    let mut cursors = Cursors::new(files, entries);
    cursors.create()?;

    let headers = read_headers(storage.as_ref(), dir, &firsts, &mut report)?;
    aside.extend(firsts.iter().filter(|first| !headers.iter().any(|(header, _)| header.first == **first)));
    let last_aside = aside.iter().copied().max().unwrap_or(0);
    let proven = cursors.proven().max(last_aside);
    let mut carried = Vec::new();
    let mut segments: VecDeque<Segment> = VecDeque::with_capacity(headers.len());
    for (index, (header, len)) in headers.iter().enumerate() {
        let successor = headers.get(index + 1).map(|(next, _)| next);
        let end = successor.and_then(|next| next.predecessor).filter(|end| end.first == header.first);
        let mut segment = Segment::empty(SegmentFile::new(dir, header));
        segment.len = *len;
        segment.capacity = *len;
        if let Some(end) = end {
            apply(&mut segment, &end);
            segments.push_back(segment);
            continue;
        }
        let next = successor.map_or(Position::MAX, |next| next.first);
        let ceiling = aside.iter().copied().filter(|first| *first > header.first).fold(next, Position::min);
        let found = find_end(storage.as_ref(), &segment, ceiling, proven.min(next))?;
        report.torn_bytes += found.torn_bytes + len.saturating_sub(found.end_offset.max(header.written_ahead));
        report.damaged_records += found.damaged_records;
        let Some(kept) = found.kept else {
            set_aside(storage.as_ref(), dir, header.first, &mut report)?;
            continue;
        };
        apply(&mut segment, &kept);
        segments.push_back(segment);
        carried = found.carried;
    }
    let end = segments.back().map_or_else(Mark::default, |last| Mark { durable: last.end, totals: last.end_totals });
    let mut head = cursors.head(end, &mut |position| totals_at(storage.as_ref(), &segments, position))?;
    head.durable = head.durable.max(last_aside);
    report.segments = segments.len();
    report.oldest = segments.front().map_or(head.durable, |segment| segment.file.first);
    report.head = head.durable;
    Ok(Recovered { segments, cursors, head, carried, report })
}

/// The headers of all segments, with the files' lengths; those without a sound header are set aside.
fn read_headers(
    storage: &dyn Storage,
    dir: &Path,
    firsts: &[Position],
    report: &mut LogRecovery,
) -> Result<Vec<(SegmentHeader, u64)>, OpenError> {
    let mut headers = Vec::with_capacity(firsts.len());
    for first in firsts {
        let path = dir.join(format::segment_name(*first));
        match read_header(storage, &path)? {
            (Ok(header), len) if header.first == *first => headers.push((header, len)),
            (Ok(_) | Err(NotAHeader::Damaged), _) => {
                set_aside(storage, dir, *first, report)?;
            }
            (Err(NotAHeader::NewerVersion(found)), _) => {
                return Err(OpenError::NewerVersion { path, found, known: format::VERSION });
            }
        }
    }
    Ok(headers)
}

/// What a segment's file says of itself, and its length.
pub(crate) fn read_header(
    storage: &dyn Storage,
    path: &Path,
) -> Result<(Result<SegmentHeader, NotAHeader>, u64), IoFailure> {
    let file = storage.open(path, Access::Read).at("open", path)?;
    let len = file.size().at("measure", path)?;
    let mut bytes = [0; SEGMENT_HEADER];
    read_full(file.as_ref(), &mut bytes, 0).at("read", path)?;
    Ok((SegmentHeader::decode(&bytes), len))
}

fn apply(segment: &mut Segment, end: &Predecessor) {
    segment.end = end.end;
    segment.end_offset = end.end_offset;
    segment.end_totals = end.end_totals;
    segment.first_received_ms = end.last_received_ms;
    segment.last_received_ms = end.last_received_ms;
}

fn set_aside(storage: &dyn Storage, dir: &Path, first: Position, report: &mut LogRecovery) -> Result<(), IoFailure> {
    let path = dir.join(format::segment_name(first));
    let aside = dir.join(format::damaged_name(first));
    storage.rename(&path, &aside).at("rename", &path)?;
    report.damaged_segments.push(aside);
    Ok(())
}

/// Totals at a position, as far as record headers tell, or below it.
fn totals_at(storage: &dyn Storage, segments: &VecDeque<Segment>, position: Position) -> Result<Counts, IoFailure> {
    let Some(segment) = segments.iter().rfind(|segment| segment.file.first <= position) else { return Ok([0; 3]) };
    let (path, seed) = (&segment.file.path, segment.file.seed);
    let file = storage.open(path, Access::Read).at("open", path)?;
    let from = SEGMENT_HEADER as u64;
    let mut scan = Scan::new(file, seed, from, segment.end_offset, segment.file.first, HEADERS_ONLY);
    let mut totals = segment.file.totals;
    while let Some(found) = scan.next().at("read", path)? {
        if found.header.position > position {
            break;
        }
        totals = found.header.totals;
        if found.header.position < position {
            totals = counts::add(totals, found.header.counts);
        }
    }
    Ok(totals)
}

/// What a scan says about a segment's end.
#[derive(Default)]
struct End {
    /// Where it ends without what is carried; `None`: there is no sound record in it.
    kept: Option<Predecessor>,
    /// The records of the last commit, unless they are known to be durable.
    carried: Vec<Carried>,
    /// Behind the last sound record.
    end_offset: u64,
    /// Bytes before that which are no sound record, and had not been durable.
    torn_bytes: u64,
    /// Records below `proven` that are not sound.
    damaged_records: u64,
}

/// Positions that no sound record has, between two that are sound.
struct Hole {
    from: Position,
    to: Position,
    bytes: u64,
}

/// Finds a segment's end by its records, those below `ceiling`. `proven`: what is below that position was durable, by other
/// evidence.
fn find_end(
    storage: &dyn Storage,
    segment: &Segment,
    ceiling: Position,
    mut proven: Position,
) -> Result<End, IoFailure> {
    let path = &segment.file.path;
    let first = segment.file.first;
    let file = storage.open(path, Access::Read).at("open", path)?;
    let mut scan = Scan::new(file, segment.file.seed, SEGMENT_HEADER as u64, segment.len, first, READ_AHEAD);
    let mut end = Predecessor { last_received_ms: i64::MIN, ..segment.as_predecessor() };
    // The state before the last commit, and its records.
    let mut before_last = end;
    let mut last: (Position, Vec<Carried>) = (first, Vec::new());
    let mut holes = Vec::new();
    while let Some(found) = scan.next().at("read", path)? {
        let header = found.header;
        if header.position >= ceiling {
            break;
        }
        let Some((meta, body)) = scan.data(&found).at("read", path)? else { continue };
        if found.offset > end.end_offset {
            holes.push(Hole { from: end.end, to: header.position, bytes: found.offset - end.end_offset });
        }
        if header.durable > last.0 {
            before_last = end;
            last = (header.durable, Vec::new());
        }
        let entry = Entry { received_ms: header.received_ms, counts: header.counts, meta, body };
        last.1.push(Carried { position: header.position, totals: header.totals, entry });
        end.end = header.position + 1;
        end.end_offset = found.end_offset();
        end.end_totals = counts::add(header.totals, header.counts);
        end.last_received_ms = end.last_received_ms.max(header.received_ms);
    }
    let (last_durable, records) = last;
    // The name of a segment proves its first commit, which says that what is below the segment was durable. Evidence from
    // within a commit proves all of it, since nobody saw any of it before it was durable as a whole.
    let is_proven = last_durable == first || proven > last_durable;
    proven = proven.max(if is_proven { end.end } else { last_durable });
    let mut result = End { end_offset: end.end_offset, ..End::default() };
    for hole in &holes {
        result.damaged_records += hole.to.min(proven).saturating_sub(hole.from);
        result.torn_bytes += if hole.to > proven { hole.bytes } else { 0 };
    }
    result.damaged_records += proven.saturating_sub(end.end);
    if is_proven {
        result.kept = (end.end_offset > SEGMENT_HEADER as u64).then_some(end);
    } else {
        result.kept = Some(before_last);
        result.carried = records;
    }
    Ok(result)
}
