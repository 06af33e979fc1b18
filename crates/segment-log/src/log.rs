//! One log: its state in memory, and the doors to it. What happens behind them is in `commit.rs` (append), `reader.rs`,
//! `cursor.rs` and `retention.rs`.
//!
//! Two locks: `cursors`, then `state`; never the other way round. No I/O happens under `state`.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cursor::{Cursor, CursorError, Start};
use crate::cursors::{self, Cursors, Side};
use crate::format;
use crate::names;
use crate::ranges::{Range, Ranges};
use crate::reader::{ReadError, Reader};
use crate::record::{AppendError, Completion, Entry, Record};
use crate::segment::Segment;
use crate::shared::Shared;
use crate::storage::{IoFailure, StorageFile};
use crate::{Counts, OnFull, Position};

/// Called on a writer thread with the new head, after each commit; must not block.
pub type CommitListener = Box<dyn Fn(Position) + Send + Sync>;

/// A durable sequence of records.
pub struct Log {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) shared: Arc<Shared>,
    /// Which writer thread commits it.
    pub(crate) writer: usize,
    pub(crate) cursors: Mutex<Cursors>,
    pub(crate) state: Mutex<State>,
    pub(crate) listeners: Mutex<Vec<Arc<CommitListener>>>,
}

/// A record on its way to the writer.
pub(crate) struct Pending {
    pub(crate) entry: Entry,
    pub(crate) done: Completion,
}

/// A record that an earlier process wrote, and of which nobody knows whether it is durable: it is to be written again, at
/// its own position.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    pub(crate) position: Position,
    pub(crate) totals: Counts,
    pub(crate) entry: Entry,
}

/// The file written ahead for the next segment.
#[derive(Debug)]
pub(crate) enum Prepared {
    None,
    /// The janitor is at work.
    Requested,
    Ready {
        file: Arc<dyn StorageFile>,
        size: u64,
    },
}

/// What changes.
pub(crate) struct State {
    pub(crate) segments: VecDeque<Segment>,
    /// Where the next durable record goes.
    pub(crate) head: Position,
    pub(crate) totals: Counts,
    /// The file of the last segment, unless it is sealed or the log is idle.
    pub(crate) active: Option<Arc<dyn StorageFile>>,
    pub(crate) queue: VecDeque<Pending>,
    pub(crate) carried: Vec<Carried>,
    /// The writer knows that there is something to do.
    pub(crate) scheduled: bool,
    /// The writer is writing into the active segment.
    pub(crate) committing: bool,
    /// The active segment is to be sealed before the next commit.
    pub(crate) seal: bool,
    pub(crate) closed: bool,
    /// Appends are refused at once, until the next tick tries again.
    pub(crate) blocked: Option<AppendError>,
    /// The newest records, without a hole.
    pub(crate) tail: VecDeque<Arc<Record>>,
    pub(crate) prepared: Prepared,
    /// Size of the next segment.
    pub(crate) target: u64,
    /// Bytes of all segment files and of the prepared one.
    pub(crate) bytes: u64,
    pub(crate) max_size: Option<u64>,
    pub(crate) on_full: Option<OnFull>,
    /// Positions that a reader found damaged: each is counted once.
    pub(crate) damaged: Ranges,
    /// The head at the last tick, and when it last moved.
    pub(crate) ticked: Option<(Position, i64)>,
}

impl State {
    pub(crate) fn oldest(&self) -> Position {
        self.segments.front().map_or(self.head, |segment| segment.file.first)
    }
}

/// Locks; a thread that panicked while it held the lock has left nothing half done that recovery would not mend.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("name", &self.name).field("head", &self.head()).finish_non_exhaustive()
    }
}

impl Log {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the next durable record goes: all below are durable.
    pub fn head(&self) -> Position {
        lock(&self.state).head
    }

    /// The oldest position that is kept; the head when there is none.
    pub fn oldest(&self) -> Position {
        lock(&self.state).oldest()
    }

    /// The sums of the counts of all records below the head.
    pub fn totals(&self) -> Counts {
        lock(&self.state).totals
    }

    /// Bytes of its segment files, those written ahead included.
    pub fn bytes(&self) -> u64 {
        lock(&self.state).bytes
    }

    /// How many positions readers found damaged since the store was opened, each counted once.
    pub fn damaged_records(&self) -> u64 {
        lock(&self.state).damaged.total_len()
    }

    pub(crate) fn note_damage(&self, from: Position, to: Position) {
        lock(&self.state).damaged.cover(Range { start: from, end: to, counts: [0; 3] });
    }

    /// Bounds of this log in place of the store's; `None`: the store's.
    pub fn set_limits(&self, max_size: Option<u64>, on_full: Option<OnFull>) {
        let mut state = lock(&self.state);
        state.max_size = max_size;
        state.on_full = on_full;
    }

    /// Bytes that it may take on disk: its own bound, else the store's.
    pub fn max_size(&self) -> u64 {
        let own = lock(&self.state).max_size;
        own.unwrap_or_else(|| self.shared.limits().max_size)
    }

    /// Appends a record. Never blocks on the disk: refuses at once, or queues it for the next commit. The caller bounds how
    /// much it has queued.
    pub fn append(self: &Arc<Self>, entry: Entry, done: Completion) {
        let bytes = entry.meta.len() as u64 + entry.body.len() as u64;
        if bytes > format::MAX_RECORD {
            return done(Err(AppendError::TooLarge { bytes, limit: format::MAX_RECORD }));
        }
        let mut state = lock(&self.state);
        let refusal = if state.closed {
            Some(AppendError::Closing)
        } else if self.shared.full.load(Ordering::Relaxed) {
            Some(AppendError::NoSpace)
        } else {
            state.blocked.clone()
        };
        if let Some(refusal) = refusal {
            drop(state);
            return done(Err(refusal));
        }
        state.queue.push_back(Pending { entry, done });
        self.schedule(state);
    }

    /// Tells the writer, unless it knows.
    pub(crate) fn schedule(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if !std::mem::replace(&mut state.scheduled, true) {
            drop(state);
            self.shared.writers[self.writer].push(Arc::clone(self));
        }
    }

    /// Calls `listener` after each commit.
    pub fn on_commit(&self, listener: CommitListener) {
        lock(&self.listeners).push(Arc::new(listener));
    }

    /// Reads from a position on. One below [`Log::oldest`] begins with a gap.
    pub fn reader(self: &Arc<Self>, from: Position) -> Reader {
        Reader::new(Arc::clone(self), from)
    }

    /// Attaches a cursor: from then on it holds back the segments it needs. One that exists goes on where it was;
    /// what the log does not have any more is booked as expired. Another begins at `start`.
    ///
    /// # Errors
    /// When its state cannot be written, which for a new one needs space.
    pub fn cursor(self: &Arc<Self>, name: &str, start: Start) -> Result<Arc<Cursor>, CursorError> {
        if !names::is_allowed(name) {
            return Err(CursorError::Name(name.len()));
        }
        let mut cursors = lock(&self.cursors);
        if cursors.closed {
            return Err(CursorError::Closed);
        }
        match cursors.get(name) {
            Some(existing) => {
                let mut state = existing.clone();
                state.attached = true;
                state.expire(0, self.oldest(), &mut |side, position| self.sound(side, position))?;
                if Some(&state) != cursors.get(name) {
                    cursors.put(name, state)?;
                }
            }
            None => {
                let (position, totals) = self.place_of(start)?;
                cursors.put(name, cursors::State::new(position, totals))?;
                // An endpoint must not come back at another place than the one it began at.
                cursors.sync()?;
            }
        }
        Ok(Arc::new(Cursor::new(Arc::clone(self), name.to_owned())))
    }

    /// A cursor that exists, attached or not.
    pub fn find_cursor(self: &Arc<Self>, name: &str) -> Option<Arc<Cursor>> {
        lock(&self.cursors).get(name)?;
        Some(Arc::new(Cursor::new(Arc::clone(self), name.to_owned())))
    }

    /// All cursors by name, those that are detached too.
    pub fn cursors(self: &Arc<Self>) -> Vec<Arc<Cursor>> {
        let cursors = lock(&self.cursors);
        cursors.iter().map(|(name, _)| Arc::new(Cursor::new(Arc::clone(self), name.to_owned()))).collect()
    }

    /// Lets a cursor hold nothing back any more; its state is kept. One that does not exist is fine.
    ///
    /// # Errors
    /// When the change cannot be written.
    pub fn detach_cursor(&self, name: &str) -> Result<(), CursorError> {
        let mut cursors = lock(&self.cursors);
        if cursors.closed {
            return Err(CursorError::Closed);
        }
        if let Some(state) = cursors.get(name).filter(|state| state.attached) {
            let state = cursors::State { attached: false, ..state.clone() };
            cursors.put(name, state)?;
        }
        Ok(())
    }

    /// Forgets a cursor and its books. One that does not exist is fine.
    ///
    /// # Errors
    /// When the change cannot be written.
    pub fn forget_cursor(&self, name: &str) -> Result<(), CursorError> {
        let mut cursors = lock(&self.cursors);
        if cursors.closed {
            return Err(CursorError::Closed);
        }
        Ok(cursors.forget(name)?)
    }

    fn place_of(&self, start: Start) -> Result<(Position, Counts), IoFailure> {
        match start {
            Start::Head => {
                let state = lock(&self.state);
                Ok((state.head, state.totals))
            }
            Start::Oldest => self.place_since(i64::MIN),
            Start::Since(received_ms) => self.place_since(received_ms),
            Start::At(position) => {
                let state = lock(&self.state);
                let position = position.clamp(state.oldest(), state.head);
                drop(state);
                self.sound(Side::After, position)
            }
        }
    }

    /// Where the first record received at or after a time is, in milliseconds since 1970; the head when there is none.
    /// Times are compared as they were when records were appended, so a clock that was set back can hide some.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn position_since(&self, received_ms: i64) -> Result<Position, IoFailure> {
        Ok(self.place_since(received_ms)?.0)
    }

    /// Syncs what was settled and booked, which the next tick would do as well.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn sync_cursors(&self) -> Result<(), IoFailure> {
        lock(&self.cursors).sync()
    }

    /// The sums of the counts of all records below a position. Damage next to it moves the answer to the nearest sound
    /// record.
    ///
    /// # Errors
    /// When the position is not within the log, or the storage fails.
    pub fn totals_at(&self, position: Position) -> Result<Counts, ReadError> {
        let state = lock(&self.state);
        let (oldest, head) = (state.oldest(), state.head);
        drop(state);
        if !(oldest..=head).contains(&position) {
            return Err(ReadError::Outside { position, oldest, head });
        }
        Ok(self.sound(Side::After, position)?.1)
    }
}
