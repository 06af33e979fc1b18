//! Looks at a data directory without changing anything in it: what its files say, and, if asked, each record read once. For
//! people: what a start does with the same files is `recover.rs`.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cursor_files::CursorFiles;
use crate::cursors::{Cursors, Mark};
use crate::format::{self, NotAHeader, Predecessor, SEGMENT_HEADER};
use crate::recover::read_header;
use crate::scan::{HEADERS_ONLY, READ_AHEAD, Scan};
use crate::segment::{Segment, SegmentFile};
use crate::storage::{Access, At, IoFailure, Storage};
use crate::store::{LOCK_FILE, LOGS_DIR, OpenError, name_of};
use crate::{Counts, Position, counts};

/// How closely the records are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Headers of segments, and the records of those whose end no other segment tells.
    Ends,
    /// Every record, each with its checksums.
    Records,
}

/// What is in a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// By name.
    pub logs: Vec<LogInspection>,
    /// Directories that are no log.
    pub unreadable: Vec<PathBuf>,
    /// A process has the directory. What it writes meanwhile may look torn.
    pub in_use: bool,
}

/// What is in the directory of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogInspection {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub directory: PathBuf,
    /// By position.
    pub segments: Vec<SegmentInspection>,
    /// Segments that a start has set aside because their header is damaged.
    pub set_aside: Vec<PathBuf>,
    /// Behind the last record, by all evidence.
    pub head: Position,
    /// The totals there.
    pub totals: Counts,
    /// By name; `None` if there are segments and no sound file of cursors: all cursors and books are lost.
    pub cursors: Option<Vec<CursorInspection>>,
    /// What is not as it was written.
    pub damage: Vec<Damage>,
}

/// A segment with a sound header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInspection {
    /// The file.
    pub path: PathBuf,
    /// Of its records, the first not included any more at the end.
    pub positions: Range<Position>,
    /// Of the file, in bytes.
    pub len: u64,
    /// Of header and records, in bytes. What follows has no meaning.
    pub used: u64,
    /// What its records hold by the totals.
    pub counts: Counts,
    /// When its last record was received, in milliseconds since 1970; `None` without a record.
    pub last_received_ms: Option<i64>,
    /// Records that were read and are sound; `None` if nobody looked.
    pub sound_records: Option<u64>,
}

/// A cursor, as it was last written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorInspection {
    /// Its name.
    pub name: String,
    /// Whether it holds segments back.
    pub attached: bool,
    /// Where it began.
    pub start: Position,
    /// Everything below is settled or expired.
    pub low: Position,
    /// What is settled.
    pub settled: Counts,
    /// What was gone before it was.
    pub expired: Counts,
    /// What is still to be settled.
    pub pending: Counts,
}

/// A place that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// In which file.
    pub path: PathBuf,
    /// From where in it, in bytes.
    pub offset: u64,
    /// How far, in bytes; 0: the place is missing.
    pub bytes: u64,
    /// Which records it held; empty where that is not known.
    pub positions: Range<Position>,
    /// What it is.
    pub kind: DamageKind,
}

/// What a damaged place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// A write that was not completed, and never acknowledged: no loss.
    Torn,
    /// It was durable, and cannot be read any more.
    Damaged,
    /// A segment whose header cannot be read; the next start sets it aside.
    Header,
}

/// Looks at the data directory `root`.
///
/// # Errors
/// When it cannot be read, or a later version wrote it.
pub fn inspect(storage: &Arc<dyn Storage>, root: &Path, depth: Depth) -> Result<Inspection, OpenError> {
    let logs_dir = root.join(LOGS_DIR);
    let mut inspection = Inspection { logs: Vec::new(), unreadable: Vec::new(), in_use: false };
    // Held while it is looked at. Without such a file nobody has it, and none is made.
    let has_lock = storage.list(root).at("list", root)?.iter().any(|entry| entry.name == LOCK_FILE);
    let lock_path = root.join(LOCK_FILE);
    let held = if has_lock { storage.lock(&lock_path).at("lock", &lock_path)? } else { None };
    inspection.in_use = has_lock && held.is_none();
    for entry in storage.list(&logs_dir).at("list", &logs_dir)? {
        let dir = logs_dir.join(&entry.name);
        match name_of(storage.as_ref(), &dir, &entry.name).filter(|_| entry.is_dir) {
            Some(name) => inspection.logs.push(inspect_log(storage, dir, name, depth)?),
            None => inspection.unreadable.push(dir),
        }
    }
    inspection.logs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(inspection)
}

fn inspect_log(
    storage: &Arc<dyn Storage>,
    directory: PathBuf,
    name: String,
    depth: Depth,
) -> Result<LogInspection, OpenError> {
    let (mut firsts, mut set_aside) = (Vec::new(), Vec::new());
    for entry in storage.list(&directory).at("list", &directory)? {
        if let Some(first) = format::parse_segment_name(&entry.name) {
            firsts.push(first);
        } else if format::parse_damaged_name(&entry.name).is_some() {
            set_aside.push(directory.join(&entry.name));
        }
    }
    firsts.sort_unstable();
    let mut files = CursorFiles::new(Arc::clone(storage), &directory);
    let entries = files.load()?;
    let cursors_lost = entries.is_none() && !firsts.is_empty();
    let cursors = Cursors::new(files, entries);

    let (mut damage, mut headers) = (Vec::new(), Vec::new());
    for first in &firsts {
        let path = directory.join(format::segment_name(*first));
        match read_header(storage.as_ref(), &path)? {
            (Ok(header), len) if header.first == *first => headers.push((header, len)),
            (Ok(_) | Err(NotAHeader::Damaged), bytes) => {
                let positions = *first..*first;
                damage.push(Damage { path, offset: 0, bytes, positions, kind: DamageKind::Header });
            }
            (Err(NotAHeader::NewerVersion(found)), _) => {
                return Err(OpenError::NewerVersion { path, found, known: format::VERSION });
            }
        }
    }
    let mut segments = Vec::with_capacity(headers.len());
    let mut end = Mark::default();
    for (index, (header, len)) in headers.iter().enumerate() {
        let successor = headers.get(index + 1).map(|(next, _)| next);
        let known_end = successor.and_then(|next| next.predecessor).filter(|end| end.first == header.first);
        let mut segment = Segment::empty(SegmentFile::new(&directory, header));
        segment.len = *len;
        let proven = cursors.proven().min(successor.map_or(Position::MAX, |next| next.first));
        let inspected = match known_end {
            Some(end) if depth == Depth::Ends => ended(&segment, &end),
            _ => walk(storage.as_ref(), &segment, known_end, proven, depth, &mut damage)?,
        };
        let SegmentInspection { positions, counts: held, .. } = &inspected;
        end = Mark { durable: positions.end, totals: counts::add(header.totals, *held) };
        segments.push(inspected);
    }
    let known_totals = end.totals;
    let head = cursors.head::<IoFailure>(end, &mut |_| Ok(known_totals))?;
    let states = cursors.iter().map(|(name, state)| CursorInspection {
        name: name.to_owned(),
        attached: state.attached,
        start: state.start,
        low: state.ranges.low(),
        settled: state.settled,
        expired: state.expired,
        pending: counts::sub(counts::sub(counts::sub(head.totals, state.start_totals), state.settled), state.expired),
    });
    let cursors = (!cursors_lost).then(|| states.collect());
    Ok(LogInspection { name, directory, segments, set_aside, head: head.durable, totals: head.totals, cursors, damage })
}

/// A segment as its successor tells its end.
fn ended(segment: &Segment, end: &Predecessor) -> SegmentInspection {
    SegmentInspection {
        path: segment.file.path.clone(),
        positions: segment.file.first..end.end,
        len: segment.len,
        used: end.end_offset,
        counts: counts::sub(end.end_totals, segment.file.totals),
        last_received_ms: Some(end.last_received_ms),
        sound_records: None,
    }
}

/// Walks the records of a segment, to its end if that is known, or else to the last that is one. `proven`: what is below that
/// position was durable.
fn walk(
    storage: &dyn Storage,
    segment: &Segment,
    known_end: Option<Predecessor>,
    proven: Position,
    depth: Depth,
    damage: &mut Vec<Damage>,
) -> Result<SegmentInspection, IoFailure> {
    let path = &segment.file.path;
    let file = storage.open(path, Access::Read).at("open", path)?;
    let until = known_end.map_or(segment.len, |end| end.end_offset);
    let ahead = if depth == Depth::Records { READ_AHEAD } else { HEADERS_ONLY };
    let mut scan = Scan::new(file, segment.file.seed, SEGMENT_HEADER as u64, until, segment.file.first, ahead);
    let mut inspected = SegmentInspection {
        used: SEGMENT_HEADER as u64,
        last_received_ms: None,
        ..ended(segment, &segment.as_predecessor())
    };
    let mut sound_records = 0;
    // Below this everything was durable when a record was written that is sound.
    let mut durable = if known_end.is_some() { Position::MAX } else { proven };
    let mut holes = Vec::new();
    while let Some(found) = scan.next().at("read", path)? {
        if depth == Depth::Records && scan.data(&found).at("read", path)?.is_none() {
            continue;
        }
        let header = found.header;
        if found.offset > inspected.used {
            holes.push((inspected.used..found.offset, inspected.positions.end..header.position));
        }
        sound_records += 1;
        durable = durable.max(header.durable);
        inspected.positions.end = header.position + 1;
        inspected.used = found.end_offset();
        inspected.counts = counts::sub(counts::add(header.totals, header.counts), segment.file.totals);
        let before = inspected.last_received_ms.unwrap_or(i64::MIN);
        inspected.last_received_ms = Some(header.received_ms.max(before));
    }
    if let Some(end) = known_end {
        if inspected.used < end.end_offset {
            holes.push((inspected.used..end.end_offset, inspected.positions.end..end.end));
        }
        inspected = SegmentInspection { last_received_ms: inspected.last_received_ms, ..ended(segment, &end) };
    } else if inspected.positions.end < proven {
        holes.push((inspected.used..inspected.used, inspected.positions.end..proven));
    }
    inspected.sound_records = (depth == Depth::Records).then_some(sound_records);
    damage.extend(holes.into_iter().map(|(bytes, positions)| {
        let kind = if positions.start < durable { DamageKind::Damaged } else { DamageKind::Torn };
        Damage { path: path.clone(), offset: bytes.start, bytes: bytes.end - bytes.start, positions, kind }
    }));
    Ok(inspected)
}
