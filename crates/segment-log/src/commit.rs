//! The writers: take what is queued, write it, sync it, publish it, acknowledge it. One commit of a log is one vectored
//! write into one segment and one sync; while that runs, further appends gather.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use crate::format::{
    self, ALIGN, NEXT, PREPARED, RECORD_HEADER, RecordHeader, SEGMENT_HEADER, SegmentHeader, new_epoch,
};
use crate::log::{Log, Pending, Prepared, State, lock};
use crate::record::{AppendError, Completion, Entry, Record};
use crate::retention;
use crate::segment::{Segment, SegmentFile};
use crate::shared::{Job, Queue, Shared};
use crate::storage::{Access, At, IoFailure, StorageFile, write_all};
use crate::{Counts, Position, counts};

/// Most bytes of one commit, unless a single record is larger.
const MAX_COMMIT: u64 = 8 << 20;
const MAX_RECORDS: usize = 4096;
/// A segment that was filled faster than this is followed by one twice as large, ...
const FAST_MS: i64 = 60_000;
/// ... and one that took longer than this by one half as large.
const SLOW_MS: i64 = 600_000;

/// A writer thread's life.
pub(crate) fn run(shared: &Shared, writer: usize) {
    let queue = &shared.writers[writer];
    while let Some(ready) = queue.wait() {
        commit_all(queue, ready.into());
    }
}

/// Commits until these logs, and those that come to the queue meanwhile, have nothing more.
pub(crate) fn commit_all(queue: &Queue<Arc<Log>>, mut ready: Vec<Arc<Log>>) {
    while !ready.is_empty() {
        // All logs write before the first one syncs, so that the disk has them all to work on.
        let staged: Vec<_> = ready.iter().filter_map(stage).collect();
        for staged in staged {
            staged.finish();
        }
        ready.retain(has_more);
        ready.extend(queue.drain());
    }
}

/// Commits what a log carries over, on a log that no writer knows yet.
pub(crate) fn commit_carried(log: &Arc<Log>) {
    if let Some(staged) = stage(log) {
        staged.finish();
    }
}

/// Whether the log has more to commit; if not, the next append tells the writer again.
fn has_more(log: &Arc<Log>) -> bool {
    let mut state = lock(&log.state);
    state.scheduled = !state.queue.is_empty();
    state.scheduled
}

/// The records of one commit.
struct Chunk {
    items: Vec<Item>,
    /// Bytes they take in the file.
    stored: u64,
    /// They are [`State::carried`].
    carried: bool,
}

struct Item {
    position: Position,
    totals: Counts,
    entry: Entry,
    done: Option<Completion>,
}

/// Where a chunk goes.
enum Target {
    /// Behind the last record of the active segment.
    Active { file: Option<Arc<dyn StorageFile>>, segment: Segment },
    /// Into a new segment.
    New { predecessor: Option<Segment>, prepared: Option<(Arc<dyn StorageFile>, u64)>, size: u64 },
}

impl Target {
    /// The file's bytes that are part of [`State::bytes`] already.
    fn counted(&self) -> u64 {
        match self {
            Self::Active { segment, .. } => segment.len,
            Self::New { prepared, .. } => prepared.as_ref().map_or(0, |(_, size)| *size),
        }
    }

    /// The name a new segment has until its first commit is durable.
    fn temporary(&self) -> Option<&'static str> {
        match self {
            Self::Active { .. } => None,
            Self::New { prepared, .. } => Some(if prepared.is_some() { PREPARED } else { NEXT }),
        }
    }

    /// How much longer the file becomes.
    fn growth(&self, stored: u64) -> u64 {
        let used = match self {
            Self::Active { segment, .. } => segment.end_offset,
            Self::New { .. } => SEGMENT_HEADER as u64,
        };
        (used + stored).saturating_sub(self.counted())
    }
}

/// A commit that is written but not synced.
struct Staged {
    commit: Commit,
    file: Arc<dyn StorageFile>,
    /// As it will be when the commit is durable.
    segment: Segment,
}

/// A commit on its way.
struct Commit {
    log: Arc<Log>,
    chunk: Chunk,
    temporary: Option<&'static str>,
    counted: u64,
}

fn stage(log: &Arc<Log>) -> Option<Staged> {
    let (chunk, target) = take(log)?;
    let (temporary, counted) = (target.temporary(), target.counted());
    match retention::make_room(log, target.growth(chunk.stored)) {
        Ok(()) => {}
        // What is carried over was acknowledged. It goes in beyond the bound, once: the segment's name proves it from then on.
        Err(AppendError::Full) if chunk.carried => {}
        Err(error) => {
            refuse(log, chunk, target, &error);
            return None;
        }
    }
    let written = write(log, &chunk, target);
    let commit = Commit { log: Arc::clone(log), chunk, temporary, counted };
    match written {
        Ok((file, segment)) => Some(Staged { commit, file, segment }),
        Err(failure) => {
            commit.abandon(failure);
            None
        }
    }
}

/// Takes the next chunk off the queue and decides where it goes.
fn take(log: &Log) -> Option<(Chunk, Target)> {
    let mut state = lock(&log.state);
    let first_len = match state.queue.front() {
        // All at once, however much it is: it was one commit before.
        _ if !state.carried.is_empty() => state.carried.iter().map(|carried| stored_len(&carried.entry)).sum(),
        Some(pending) => stored_len(&pending.entry),
        None => return None,
    };
    if std::mem::take(&mut state.seal) {
        seal(&mut state);
    }
    let active = state.segments.back().filter(|last| !last.sealed && last.end_offset + first_len <= last.capacity);
    let (target, room) = match active.cloned() {
        Some(segment) => {
            let room = segment.capacity - segment.end_offset;
            (Target::Active { file: state.active.clone(), segment }, room)
        }
        None => {
            roll(log, &mut state);
            let needed = SEGMENT_HEADER as u64 + first_len;
            let prepared = take_prepared(&mut state, needed);
            let size = prepared.as_ref().map_or_else(|| state.target.max(needed), |(_, size)| *size);
            let predecessor = state.segments.back().cloned();
            (Target::New { predecessor, prepared, size }, size - SEGMENT_HEADER as u64)
        }
    };
    state.committing = true;
    Some((take_chunk(&mut state, room), target))
}

fn take_chunk(state: &mut State, room: u64) -> Chunk {
    let mut chunk = Chunk { items: Vec::new(), stored: 0, carried: !state.carried.is_empty() };
    if chunk.carried {
        for carried in &state.carried {
            chunk.stored += stored_len(&carried.entry);
            let (position, totals) = (carried.position, carried.totals);
            chunk.items.push(Item { position, totals, entry: carried.entry.clone(), done: None });
        }
        return chunk;
    }
    let (mut position, mut totals) = (state.head, state.totals);
    while let Some(pending) = state.queue.front() {
        let stored = stored_len(&pending.entry);
        let fits = chunk.stored + stored <= room.min(MAX_COMMIT) && chunk.items.len() < MAX_RECORDS;
        if !chunk.items.is_empty() && !fits {
            break;
        }
        let Some(Pending { entry, done }) = state.queue.pop_front() else { break };
        chunk.stored += stored;
        let after = counts::add(totals, entry.counts);
        chunk.items.push(Item { position, totals, entry, done: Some(done) });
        position += 1;
        totals = after;
    }
    chunk
}

fn stored_len(entry: &Entry) -> u64 {
    format::stored_len(entry.meta.len() as u64 + entry.body.len() as u64)
}

/// Nothing is appended to the last segment any more.
pub(crate) fn seal(state: &mut State) {
    state.active = None;
    if let Some(last) = state.segments.back_mut() {
        last.sealed = true;
    }
}

/// Seals a full segment, and learns from the time it took how large the next one shall be.
fn roll(log: &Log, state: &mut State) {
    let Some(last) = state.segments.back().filter(|last| !last.sealed) else { return };
    let took_ms = last.last_received_ms.saturating_sub(last.first_received_ms);
    state.target = next_target(log, state, took_ms);
    seal(state);
}

pub(crate) fn next_target(log: &Log, state: &State, took_ms: i64) -> u64 {
    let target = if took_ms < FAST_MS {
        state.target.saturating_mul(2)
    } else if took_ms > SLOW_MS {
        state.target / 2
    } else {
        state.target
    };
    // A log that is bounded to little gives way in small pieces.
    let (smallest, largest) = (*log.shared.segment_bytes.start(), *log.shared.segment_bytes.end());
    let bound = state.max_size.unwrap_or(lock(&log.shared.limits).max_size);
    target.min(largest).min(bound / 8).max(smallest)
}

/// The file written ahead, if it is large enough for what is at hand. The rate may have changed since: the one after it will
/// have the size that suits.
fn take_prepared(state: &mut State, needed: u64) -> Option<(Arc<dyn StorageFile>, u64)> {
    match &state.prepared {
        Prepared::Ready { size, .. } if needed <= *size => {}
        _ => return None,
    }
    match std::mem::replace(&mut state.prepared, Prepared::None) {
        Prepared::Ready { file, size } => Some((file, size)),
        _ => None,
    }
}

fn write(log: &Log, chunk: &Chunk, target: Target) -> Result<(Arc<dyn StorageFile>, Segment), IoFailure> {
    let storage = &log.shared.storage;
    let (file, mut segment, header, path) = match target {
        Target::Active { file, segment } => {
            let path = segment.file.path.clone();
            let file = file.map_or_else(|| storage.open(&path, Access::Write).at("open", &path), Ok)?;
            (file, segment, None, path)
        }
        Target::New { predecessor, prepared, size } => {
            let header = SegmentHeader {
                epoch: new_epoch(),
                first: chunk.items.first().map_or(0, |item| item.position),
                totals: chunk.items.first().map_or([0; 3], |item| item.totals),
                predecessor: predecessor.as_ref().map(Segment::as_predecessor),
                written_ahead: prepared.as_ref().map_or(0, |(_, size)| *size),
            };
            let mut segment = Segment::empty(SegmentFile::new(&log.dir, &header));
            segment.capacity = size;
            segment.sealed = false;
            let path = log.dir.join(if prepared.is_some() { PREPARED } else { NEXT });
            let file = match prepared {
                Some((file, size)) => {
                    segment.len = size;
                    file
                }
                None => storage.open(&path, Access::Create).at("create", &path)?,
            };
            (file, segment, Some(header), path)
        }
    };
    write_records(file.as_ref(), &segment, header.as_ref(), chunk).at("write", &path)?;
    advance(&mut segment, chunk);
    Ok((file, segment))
}

/// Writes the header of a new segment and the chunk's records with as few calls as possible, straight from the entries'
/// memory.
fn write_records(
    file: &dyn StorageFile,
    segment: &Segment,
    header: Option<&SegmentHeader>,
    chunk: &Chunk,
) -> std::io::Result<()> {
    const PADDING: [u8; ALIGN as usize] = [0; ALIGN as usize];
    let seed = segment.file.seed;
    let durable = chunk.items.first().map_or(0, |item| item.position);
    let mut headers = Vec::with_capacity(chunk.items.len() * RECORD_HEADER);
    for item in &chunk.items {
        let Entry { received_ms, counts, meta, body } = &item.entry;
        let header = RecordHeader {
            data_crc: format::data_crc(seed, meta, body),
            meta_len: meta.len() as u32,
            body_len: body.len() as u32,
            position: item.position,
            durable,
            received_ms: *received_ms,
            totals: item.totals,
            counts: *counts,
        };
        headers.extend_from_slice(&header.encode(seed));
    }
    let segment_header = header.map(SegmentHeader::encode);
    let mut slices = Vec::with_capacity(chunk.items.len() * 4 + 1);
    if let Some(bytes) = &segment_header {
        slices.push(IoSlice::new(bytes));
    }
    for (item, header) in chunk.items.iter().zip(headers.chunks_exact(RECORD_HEADER)) {
        let Entry { meta, body, .. } = &item.entry;
        let padding = stored_len(&item.entry) as usize - RECORD_HEADER - meta.len() - body.len();
        let parts = [header, meta, body, &PADDING[..padding]];
        slices.extend(parts.into_iter().filter(|part| !part.is_empty()).map(IoSlice::new));
    }
    let offset = if header.is_some() { 0 } else { segment.end_offset };
    write_all(file, &mut slices, offset)
}

/// The segment as it is with the chunk in it.
fn advance(segment: &mut Segment, chunk: &Chunk) {
    for item in &chunk.items {
        segment.end = item.position + 1;
        segment.end_totals = counts::add(item.totals, item.entry.counts);
        segment.first_received_ms = segment.first_received_ms.min(item.entry.received_ms);
        segment.last_received_ms = segment.last_received_ms.max(item.entry.received_ms);
    }
    segment.end_offset += chunk.stored;
    segment.len = segment.len.max(segment.end_offset);
}

impl Staged {
    fn finish(self) {
        let began = Instant::now();
        if let Err(failure) = self.sync() {
            return self.commit.abandon(failure);
        }
        let Self { commit: Commit { log, chunk, counted, .. }, file, segment } = self;
        let records = records(&chunk, &segment);
        let memory = records.iter().map(|record| record.memory()).sum();
        log.shared.count_commit(began.elapsed(), &records);
        let (head, number) = (segment.end, records.len());
        publish(&log, Published { segment, file, records, carried: chunk.carried, counted });
        log.shared.tail.add(&log, number, memory);
        for item in chunk.items {
            if let Some(done) = item.done {
                done(Ok(item.position));
            }
        }
        let listeners = lock(&log.listeners).clone();
        for listener in listeners {
            listener(head);
        }
    }

    fn sync(&self) -> Result<(), IoFailure> {
        let log = &self.commit.log;
        let path = &self.segment.file.path;
        let Some(temporary) = self.commit.temporary else { return self.file.sync().at("sync", path) };
        let from = log.dir.join(temporary);
        self.file.sync().at("sync", &from)?;
        // Only a file whose header and first commit are durable gets a segment's name.
        log.shared.storage.rename(&from, path).at("rename", &from)?;
        let directory = log.shared.storage.sync_dir(&log.dir).at("sync", &log.dir);
        if directory.is_err() {
            // Best effort: if the name stays, the next new segment begins at the same position and replaces it.
            drop(log.shared.storage.remove(path));
        }
        directory
    }
}

impl Commit {
    /// After a failed write or sync: nothing of the chunk is acknowledged, and its segment is not touched again.
    fn abandon(self, failure: IoFailure) {
        let Self { log, chunk, temporary, counted } = self;
        lock(&log.shared.stats).failures += 1;
        if let Some(temporary) = temporary {
            // Best effort: recovery removes it, and the next new segment overwrites it.
            drop(log.shared.storage.remove(&log.dir.join(temporary)));
        }
        let mut state = lock(&log.state);
        let (before, after) = match (temporary, &state.active) {
            (Some(_), _) => (counted, 0),
            (None, Some(file)) => (counted, file.size().unwrap_or(counted)),
            (None, None) => (counted, counted),
        };
        state.bytes = state.bytes + after - before;
        log.shared.bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        if temporary.is_none() {
            if let Some(last) = state.segments.back_mut() {
                last.len = after;
            }
            seal(&mut state);
        }
        end_failed(state, chunk, &AppendError::from(failure));
    }
}

/// Gives a chunk back for which there is no room; nothing was written.
fn refuse(log: &Log, chunk: Chunk, target: Target, error: &AppendError) {
    let mut state = lock(&log.state);
    if let Target::New { prepared: Some((file, size)), .. } = target {
        state.prepared = Prepared::Ready { file, size };
    }
    end_failed(state, chunk, error);
}

/// Answers a failed chunk, and all that is queued behind it if that would only fail again.
fn end_failed(mut state: MutexGuard<'_, State>, chunk: Chunk, error: &AppendError) {
    state.committing = false;
    let again = matches!(error, AppendError::Io(_)) && !chunk.carried;
    let queued = if again { VecDeque::new() } else { std::mem::take(&mut state.queue) };
    if !again {
        state.blocked = Some(error.clone());
    }
    drop(state);
    let items = chunk.items.into_iter().filter_map(|item| item.done);
    for done in items.chain(queued.into_iter().map(|pending| pending.done)) {
        done(Err(error.clone()));
    }
}

/// The chunk's records as readers get them.
fn records(chunk: &Chunk, segment: &Segment) -> Vec<Arc<Record>> {
    let mut offset = segment.end_offset - chunk.stored;
    let records = chunk.items.iter().map(|item| {
        let Entry { received_ms, counts, meta, body } = item.entry.clone();
        offset += stored_len(&item.entry);
        let place = (segment.file.first, offset);
        Arc::new(Record { position: item.position, received_ms, counts, meta, body, totals: item.totals, place })
    });
    records.collect()
}

/// A durable commit.
struct Published {
    segment: Segment,
    file: Arc<dyn StorageFile>,
    records: Vec<Arc<Record>>,
    carried: bool,
    counted: u64,
}

/// Makes it visible.
fn publish(log: &Arc<Log>, published: Published) {
    let Published { segment, file, records, carried, counted } = published;
    let grown = segment.len - counted;
    log.shared.bytes.fetch_add(grown, Ordering::Relaxed);
    let mut state = lock(&log.state);
    state.bytes += grown;
    state.head = segment.end;
    state.totals = segment.end_totals;
    let is_new = state.segments.back().is_none_or(|last| !Arc::ptr_eq(&last.file, &segment.file));
    match state.segments.back_mut() {
        Some(last) if !is_new => *last = segment,
        _ => state.segments.push_back(segment),
    }
    state.active = Some(file);
    state.committing = false;
    if carried {
        state.carried.clear();
    }
    for record in records {
        // Carried records may leave out positions; the tail has no hole.
        if state.tail.back().is_some_and(|last| last.position + 1 != record.position) {
            state.tail.clear();
        }
        state.tail.push_back(record);
    }
    write_ahead(log, &mut state);
    drop(state);
    if is_new {
        log.shared.janitor.push(Job::Bounds);
    }
}

/// Has the next segment written ahead when this one is half full, so that a log that falls idle holds none.
fn write_ahead(log: &Arc<Log>, state: &mut State) {
    let Some(last) = state.segments.back() else { return };
    if last.end_offset < last.capacity / 2 || !matches!(state.prepared, Prepared::None) {
        return;
    }
    let took_ms = last.last_received_ms.saturating_sub(last.first_received_ms);
    let size = next_target(log, state, took_ms.saturating_mul(2));
    if size >= log.shared.write_ahead_from {
        state.prepared = Prepared::Requested;
        log.shared.janitor.push(Job::Prepare(Arc::clone(log), size));
    }
}
