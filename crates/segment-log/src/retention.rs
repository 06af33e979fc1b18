//! What a log keeps and what goes: what some attached cursor still needs, and the last while for replay; within the
//! bounds of the log, of all logs, and of the disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::cursors::{self, Cursors, Mark};
use crate::format::PREPARED;
use crate::log::{Log, Prepared, State, lock};
use crate::record::AppendError;
use crate::segment::Segment;
use crate::shared::{Expired, Shared};
use crate::storage::{Access, At, IoFailure};
use crate::{Counts, Position};

/// What a full log does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// The oldest segment goes; each cursor that still needs it books the rest of it as expired.
    DropOldest,
    /// Appends are refused until there is room.
    Refuse,
}

/// How long and how much logs keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionLimits {
    /// How long records that no cursor needs are kept, in milliseconds.
    pub retain_ms: i64,
    /// Bytes of one log on disk.
    pub max_size: u64,
    /// Bytes of all logs on disk.
    pub max_total: u64,
    /// Bytes of the file system that stay free.
    pub min_free: u64,
    /// What a full log does. `max_total` and `min_free` never take what this or a cursor's own policy refuses to drop.
    pub on_full: OnFull,
}

impl Default for RetentionLimits {
    fn default() -> Self {
        Self {
            retain_ms: 2 * 60 * 60 * 1000,
            max_size: 20 << 30,
            max_total: u64::MAX,
            min_free: 1 << 30,
            on_full: OnFull::DropOldest,
        }
    }
}

/// What may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allow {
    /// A segment that no attached cursor needs and that was received before this time.
    UnneededBefore(i64),
    /// A segment that no attached cursor needs.
    Unneeded,
    /// Also one that is needed, where the policies allow it.
    Needed,
}

/// How one attempt to drop the oldest segment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dropped {
    /// So many bytes came free; none if the file is used again.
    Freed(u64),
    /// There is no sealed segment.
    Nothing,
    /// The oldest segment must stay.
    Kept,
}

/// What becomes of the file of a segment that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recycle {
    /// It is deleted.
    No,
    /// It is the next one written ahead, if none is there or being made.
    IfNone,
    /// The same, for the janitor, who is to make one.
    AsRequested,
}

/// Makes a log give way until it may grow by so many bytes.
pub(crate) fn make_room(log: &Log, growth: u64) -> Result<(), AppendError> {
    if growth == 0 {
        return Ok(());
    }
    loop {
        let state = lock(&log.state);
        let max_size = state.max_size.unwrap_or(lock(&log.shared.limits).max_size);
        let over = state.bytes + growth > max_size;
        drop(state);
        if !over {
            return Ok(());
        }
        match drop_oldest(log, Allow::Needed, Recycle::No).map_err(AppendError::from)? {
            Dropped::Freed(_) => {}
            Dropped::Kept if drop_prepared(log) > 0 => {}
            Dropped::Kept => return Err(AppendError::Full),
            Dropped::Nothing => return active_alone(log, max_size),
        }
    }
}

/// There is nothing but the active segment. It is sealed if it is as large as the whole bound, and goes in its turn; the
/// append that finds this out goes through, unless a cursor that needs the segment refuses. An empty log takes
/// any record, so that one larger than the bound is not refused for ever.
fn active_alone(log: &Log, max_size: u64) -> Result<(), AppendError> {
    let cursors = lock(&log.cursors);
    let mut state = lock(&log.state);
    let policy = state.on_full.unwrap_or(lock(&log.shared.limits).on_full);
    let refuses = |cursor: &cursors::State| {
        cursor.attached && cursor.ranges.low() < state.head && cursor.on_full.unwrap_or(policy) == OnFull::Refuse
    };
    let is_refused = cursors.iter().any(|(_, cursor)| refuses(cursor));
    let len = state.segments.back().map_or(0, |last| last.len);
    state.seal |= len >= max_size / 2;
    if is_refused && len > 0 { Err(AppendError::Full) } else { Ok(()) }
}

/// Deletes what has been kept long enough, and what is over the log's bound.
pub(crate) fn enforce(log: &Log, now_ms: i64) -> Result<(), IoFailure> {
    let limits = log.shared.limits();
    let before = now_ms.saturating_sub(limits.retain_ms);
    while let Dropped::Freed(_) = drop_oldest(log, Allow::UnneededBefore(before), Recycle::IfNone)? {}
    loop {
        let state = lock(&log.state);
        let over = state.bytes > state.max_size.unwrap_or(limits.max_size);
        drop(state);
        if !over {
            return Ok(());
        }
        match drop_oldest(log, Allow::Needed, Recycle::No)? {
            Dropped::Freed(_) => {}
            Dropped::Kept => return Ok(()),
            Dropped::Nothing => {
                seal_active(log);
                return Ok(());
            }
        }
    }
}

/// Makes room for a segment that is to be written ahead. `true`: a file was recycled, so that nothing needs to be written.
pub(crate) fn make_room_ahead(log: &Log, size: u64) -> Result<bool, IoFailure> {
    let before = log.shared.now_ms.load(Ordering::Relaxed).saturating_sub(log.shared.limits().retain_ms);
    while let Dropped::Freed(bytes) = drop_oldest(log, Allow::UnneededBefore(before), Recycle::AsRequested)? {
        if bytes == 0 {
            return Ok(true);
        }
    }
    loop {
        let state = lock(&log.state);
        let over = state.bytes + size > state.max_size.unwrap_or(lock(&log.shared.limits).max_size);
        drop(state);
        if !over {
            return Ok(false);
        }
        match drop_oldest(log, Allow::Needed, Recycle::AsRequested)? {
            Dropped::Freed(0) => return Ok(true),
            Dropped::Freed(_) => {}
            Dropped::Kept | Dropped::Nothing => return Ok(false),
        }
    }
}

/// Keeps all logs together within their bound and the disk's: the largest gives way first, and everywhere what nobody
/// needs before what somebody needs. Where that is not enough, appends are refused until it is.
pub(crate) fn enforce_total(shared: &Shared, logs: &[Arc<Log>]) -> Result<(), IoFailure> {
    // The janitor and a tick come here at the same time: each would free all that is over.
    let _alone = lock(&shared.bounds);
    let limits = shared.limits();
    let free = shared.storage.free_space(&shared.root).at("measure the free space of", &shared.root)?;
    let total = shared.bytes.load(Ordering::Relaxed);
    // Without any space nothing could be appended, nor anything old give way to what is new.
    let min_free = limits.min_free.max(shared.segment_bytes.start().saturating_mul(4));
    let mut over = total.saturating_sub(limits.max_total).max(min_free.saturating_sub(free));
    if over > 0 {
        over = logs.iter().fold(over, |over, log| over.saturating_sub(drop_prepared(log)));
    }
    for allow in [Allow::Unneeded, Allow::Needed] {
        let mut candidates: Vec<(u64, &Arc<Log>)> = logs.iter().map(|log| (log.bytes(), log)).collect();
        while over > 0 {
            let Some(largest) = (0..candidates.len()).max_by_key(|index| candidates[*index].0) else { break };
            let log = candidates[largest].1;
            match drop_oldest(log, allow, Recycle::No) {
                Ok(Dropped::Freed(bytes)) => {
                    over = over.saturating_sub(bytes);
                    candidates[largest].0 = log.bytes();
                    continue;
                }
                Ok(Dropped::Kept | Dropped::Nothing) => {}
                Err(failure) => shared.report_error(log, failure),
            }
            candidates.swap_remove(largest);
        }
    }
    if over > 0 {
        // Active segments are all that may still go: the largest is sealed, and goes with the next tick.
        if let Some(largest) = logs.iter().max_by_key(|log| log.bytes()) {
            seal_active(largest);
        }
    }
    shared.full.store(over > 0, Ordering::Relaxed);
    Ok(())
}

/// Seals the active segment, now or before the next commit.
pub(crate) fn seal_active(log: &Log) {
    let mut state = lock(&log.state);
    if state.committing {
        state.seal = true;
    } else {
        crate::commit::seal(&mut state);
    }
}

/// Gives back the segment written ahead; returns how many bytes came free.
pub(crate) fn drop_prepared(log: &Log) -> u64 {
    let mut state = lock(&log.state);
    let Prepared::Ready { size, .. } = state.prepared else { return 0 };
    state.prepared = Prepared::None;
    state.bytes -= size;
    log.shared.bytes.fetch_sub(size, Ordering::Relaxed);
    // Under the lock, so that the janitor does not begin another one under the same name before this is gone.
    let path = log.dir.join(PREPARED);
    if let Err(failure) = log.shared.storage.remove(&path).at("remove", &path) {
        log.shared.report_error(log, failure);
    }
    size
}

/// Deletes the oldest segment if that is allowed. Before the file goes, the cursors' books are durable.
fn drop_oldest(log: &Log, allow: Allow, recycle: Recycle) -> Result<Dropped, IoFailure> {
    let mut cursors = lock(&log.cursors);
    let Some((segment, to, to_totals, head)) = oldest_sealed(&lock(&log.state)) else { return Ok(Dropped::Nothing) };
    if cursors.closed || !may_go(log, &cursors, &segment, to, allow) {
        return Ok(Dropped::Kept);
    }
    // No segment says any more where the log is.
    let mark = (to == head.durable).then_some(head);
    expire(log, &mut cursors, to, to_totals, mark)?;

    let mut state = lock(&log.state);
    if !state.segments.front().is_some_and(|oldest| Arc::ptr_eq(&oldest.file, &segment.file)) {
        return Ok(Dropped::Kept);
    }
    state.segments.pop_front();
    // The list's and ours: no reader has it open.
    let unread = Arc::strong_count(&segment.file) == 1;
    let wanted = state.target / 2..=state.target.saturating_mul(2);
    let large = segment.len >= log.shared.write_ahead_from && wanted.contains(&segment.len);
    let is_free = match recycle {
        Recycle::No => false,
        Recycle::IfNone => matches!(state.prepared, Prepared::None),
        Recycle::AsRequested => matches!(state.prepared, Prepared::Requested),
    };
    let recycled = is_free && unread && large;
    if recycled {
        state.prepared = Prepared::Requested;
    } else {
        state.bytes -= segment.len;
        log.shared.bytes.fetch_sub(segment.len, Ordering::Relaxed);
    }
    drop(state);
    // The cursors stay locked, so that nothing younger goes before this one has gone.
    let freed = if recycled { reuse(log, &segment) } else { remove(log, &segment) }?;
    let mut report = lock(&log.shared.report);
    report.deleted_segments += 1;
    report.recycled_segments += u64::from(recycled);
    Ok(Dropped::Freed(freed))
}

fn remove(log: &Log, segment: &Segment) -> Result<u64, IoFailure> {
    let path = &segment.file.path;
    let removed = log.shared.storage.remove(path).at("remove", path);
    if removed.is_err() {
        let mut state = lock(&log.state);
        state.bytes += segment.len;
        log.shared.bytes.fetch_add(segment.len, Ordering::Relaxed);
        state.segments.push_front(segment.clone());
    }
    removed.map(|()| segment.len)
}

/// The oldest segment if it is sealed, where the log begins without it, and the head.
fn oldest_sealed(state: &State) -> Option<(Segment, Position, Counts, Mark)> {
    let segment = state.segments.front().filter(|segment| segment.sealed)?.clone();
    let head = Mark { durable: state.head, totals: state.totals };
    // A log that is still to write what it carries over has its last segment's end for it.
    let next = state.segments.get(1).map(|next| (next.file.first, next.file.totals));
    if next.is_none() && (state.committing || !state.carried.is_empty()) {
        return None;
    }
    let (to, to_totals) = next.unwrap_or((head.durable, head.totals));
    Some((segment, to, to_totals, head))
}

fn may_go(log: &Log, cursors: &Cursors, segment: &Segment, to: Position, allow: Allow) -> bool {
    let mut needing = cursors.iter().filter(|(_, state)| state.attached && state.ranges.low() < to).peekable();
    match allow {
        Allow::UnneededBefore(before) => needing.peek().is_none() && segment.last_received_ms < before,
        Allow::Unneeded => needing.peek().is_none(),
        Allow::Needed => {
            let policy = lock(&log.state).on_full.unwrap_or(lock(&log.shared.limits).on_full);
            needing.all(|(_, state)| state.on_full.unwrap_or(policy) == OnFull::DropOldest)
        }
    }
}

/// Books what goes, for detached cursors too: durably, or not at all. Who reads goes on behind what has expired; were that
/// pending again after a power cut, it would come after what is newer.
fn expire(
    log: &Log,
    cursors: &mut Cursors,
    to: Position,
    to_totals: Counts,
    mark: Option<Mark>,
) -> Result<(), IoFailure> {
    let behind = cursors.iter().filter(|(_, state)| state.ranges.low() < to);
    let behind: Vec<(String, cursors::State)> = behind.map(|(name, state)| (name.to_owned(), state.clone())).collect();
    let mut book = || -> Result<Vec<Expired>, IoFailure> {
        let mut booked = Vec::new();
        for (name, state) in &behind {
            let mut state = state.clone();
            let mut sound = |side, position| {
                if position == to { Ok((to, to_totals)) } else { log.sound(side, position) }
            };
            let expired = state.expire(0, to, &mut sound)?;
            cursors.put(name, state)?;
            if let Some(counts) = expired.filter(|counts| *counts != [0; 3]) {
                booked.push(Expired { log: log.name.clone(), cursor: name.clone(), counts });
            }
        }
        if let Some(mark) = mark {
            cursors.set_mark(mark)?;
        }
        cursors.sync()?;
        Ok(booked)
    };
    match book() {
        Ok(booked) => lock(&log.shared.report).expired.extend(booked),
        Err(failure) => {
            cursors.restore(behind);
            return Err(failure);
        }
    }
    Ok(())
}

/// Renames a segment's file to be the next one written ahead. Returns how many bytes came free: none, unless that failed
/// half way.
fn reuse(log: &Log, segment: &Segment) -> Result<u64, IoFailure> {
    let storage = log.shared.storage.as_ref();
    let path = log.dir.join(PREPARED);
    if let Err(failure) = storage.rename(&segment.file.path, &path).at("rename", &segment.file.path) {
        let mut state = lock(&log.state);
        state.prepared = Prepared::None;
        state.segments.push_front(segment.clone());
        return Err(failure);
    }
    // Under its old name the file must never be seen with another segment's bytes, so the directory is synced first.
    let synced = storage.sync_dir(&log.dir).at("sync", &log.dir);
    let opened = synced.and_then(|()| storage.open(&path, Access::Write).at("open", &path));
    let mut state = lock(&log.state);
    match opened {
        Ok(file) => {
            state.prepared = Prepared::Ready { file, size: segment.len };
            Ok(0)
        }
        Err(failure) => {
            state.prepared = Prepared::None;
            state.bytes -= segment.len;
            log.shared.bytes.fetch_sub(segment.len, Ordering::Relaxed);
            log.shared.report_error(log, failure);
            // Best effort: recovery removes it, and the next one written ahead overwrites it.
            drop(storage.remove(&path));
            Ok(segment.len)
        }
    }
}
