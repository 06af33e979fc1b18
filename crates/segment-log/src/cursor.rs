//! A cursor as its owner sees it: what is settled, what is pending, and the books, changed together in one act.

use std::sync::Arc;

use crate::cursors::{MAX_BOOKS, State};
use crate::log::{Log, lock};
use crate::storage::IoFailure;
use crate::{Counts, OnFull, Position, counts};

/// Where a cursor begins that does not exist yet. One that exists goes on where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The oldest record the log has.
    Oldest,
    /// The next record that becomes durable.
    Head,
    /// The first record received at or after this time, in milliseconds since 1970.
    Since(i64),
    /// That position, or the nearest the log has.
    At(Position),
}

/// Why a cursor was not created, detached or forgotten.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CursorError {
    /// Names have 1 to 255 bytes.
    #[error("create a cursor with a name of {0} bytes (1 to 255 are allowed)")]
    Name(usize),
    /// The store is closed.
    #[error("change a cursor of a closed log")]
    Closed,
    /// The storage failed.
    #[error(transparent)]
    Io(#[from] IoFailure),
}

/// Why nothing was settled: cursor and books are as they were.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SettleError {
    /// The books have grown beyond [`MAX_BOOKS`].
    #[error("settle: the books have {bytes} bytes (at most {MAX_BOOKS})")]
    BooksTooLarge {
        /// Their size.
        bytes: usize,
    },
    /// More than twice the ranges at which [`Cursor::ranges_full`] says to start nothing newer.
    #[error("settle: too many ranges are settled above the low-water mark")]
    TooManyRanges,
    /// The cursor has been forgotten.
    #[error("settle with a cursor that was forgotten")]
    Forgotten,
    /// The store is closed.
    #[error("settle in a closed log")]
    Closed,
    /// The storage failed.
    #[error(transparent)]
    Io(#[from] IoFailure),
}

/// A consistent view of a cursor: `accepted = settled + expired + pending`, and the books that belong to `settled`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Counts of all durable records from the cursor's start on.
    pub accepted: Counts,
    /// Counts handed to [`Cursor::settle`].
    pub settled: Counts,
    /// Counts of what went before it was settled: by retention, or by damage.
    pub expired: Counts,
    /// The rest.
    pub pending: Counts,
    /// The owner's bytes.
    pub books: Vec<u8>,
}

/// One reader's durable progress through a log. Handles are cheap; all handles of a name are the same cursor.
#[derive(Debug)]
pub struct Cursor {
    log: Arc<Log>,
    name: String,
}

impl Cursor {
    pub(crate) fn new(log: Arc<Log>, name: String) -> Self {
        Self { log, name }
    }

    /// Its name: unique within the log, and all that ties it to its owner.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The log it belongs to.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Everything below is settled or expired.
    pub fn low(&self) -> Position {
        self.state(|state| state.ranges.low())
    }

    /// Behind the highest position that is settled or expired; some below may not be.
    pub fn settled_until(&self) -> Position {
        self.state(|state| state.ranges.end())
    }

    /// Whether a position is settled or expired.
    pub fn is_settled(&self, position: Position) -> bool {
        self.state(|state| state.ranges.contains(position))
    }

    /// Where it began.
    pub fn start(&self) -> Position {
        self.state(|state| state.start)
    }

    /// The log's totals where it began.
    pub fn start_totals(&self) -> Counts {
        self.state(|state| state.start_totals)
    }

    /// Counts of all durable records from its start on.
    pub fn accepted(&self) -> Counts {
        self.balance().accepted
    }

    /// Counts that are neither settled nor expired.
    pub fn pending(&self) -> Counts {
        self.balance().pending
    }

    /// Counts of what went before it was settled.
    pub fn expired(&self) -> Counts {
        self.state(|state| state.expired)
    }

    /// Behind the last position that this process has booked as expired. Whatever came before may still be in flight: its reader
    /// had it before it was gone.
    pub fn expired_until(&self) -> Position {
        self.state(|state| state.expired_until)
    }

    /// The owner's bytes, as the last settle left them.
    pub fn books(&self) -> Vec<u8> {
        self.state(|state| state.books.clone())
    }

    /// Whether it holds segments back.
    pub fn is_attached(&self) -> bool {
        self.state(|state| state.attached)
    }

    /// All sums at one moment.
    pub fn balance(&self) -> Balance {
        let cursors = lock(&self.log.cursors);
        let Some(state) = cursors.get(&self.name) else { return Balance::default() };
        // The totals are taken last: they only grow, so nothing that is settled is missing from them.
        let accepted = counts::sub(self.log.totals(), state.start_totals);
        let booked = counts::add(state.settled, state.expired);
        Balance {
            accepted,
            settled: state.settled,
            expired: state.expired,
            pending: counts::sub(accepted, booked),
            books: state.books.clone(),
        }
    }

    /// Start nothing newer: 1,024 ranges are settled above [`Cursor::low`], or as many as their space holds. What is in
    /// flight may still be settled.
    pub fn ranges_full(&self) -> bool {
        self.state(|state| state.ranges.is_full())
    }

    /// What a full log does while this cursor still needs its oldest segment; `None`: the log's own policy. Not kept over a
    /// restart.
    pub fn set_on_full(&self, on_full: Option<OnFull>) {
        lock(&self.log.cursors).set_on_full(&self.name, on_full);
    }

    /// Settles records, each with its counts, and edits the books: one act, written before this returns and synced by the
    /// next tick. `book` is told which of `settled` are settled by this call; the others were settled or have expired
    /// before and must not be booked again. Needs no space on disk.
    ///
    /// # Errors
    /// When nothing was changed. After an I/O error the change may still be found after a restart.
    pub fn settle(
        &self,
        settled: &[(Position, Counts)],
        book: &mut dyn FnMut(&[bool], &mut Vec<u8>),
    ) -> Result<(), SettleError> {
        self.change(|state| {
            let mut newly = Vec::with_capacity(settled.len());
            for (position, counts) in settled {
                let is_new = state.ranges.insert(*position, *counts);
                if is_new {
                    state.settled = counts::add(state.settled, *counts);
                }
                newly.push(is_new);
            }
            book(&newly, &mut state.books);
            Ok(())
        })
    }

    /// Books as expired what is not settled in a damaged gap, and settles the gap. Returns how much that was.
    ///
    /// # Errors
    /// As [`Cursor::settle`]; also when the log cannot be read to learn what the gap held.
    pub fn expire(&self, from: Position, to: Position) -> Result<Counts, SettleError> {
        let mut expired = [0; 3];
        self.change(|state| {
            let to = to.min(self.log.head());
            let found = state.expire(from, to, &mut |side, position| self.log.sound(side, position))?;
            expired = found.unwrap_or_default();
            Ok(())
        })?;
        Ok(expired)
    }

    fn change(&self, edit: impl FnOnce(&mut State) -> Result<(), IoFailure>) -> Result<(), SettleError> {
        let mut cursors = lock(&self.log.cursors);
        if cursors.closed {
            return Err(SettleError::Closed);
        }
        let mut state = cursors.get(&self.name).cloned().ok_or(SettleError::Forgotten)?;
        edit(&mut state)?;
        if state.books.len() > MAX_BOOKS {
            return Err(SettleError::BooksTooLarge { bytes: state.books.len() });
        }
        if !state.ranges.fits() {
            return Err(SettleError::TooManyRanges);
        }
        cursors.put(&self.name, state)?;
        Ok(())
    }

    fn state<T: Default>(&self, get: impl FnOnce(&State) -> T) -> T {
        lock(&self.log.cursors).get(&self.name).map(get).unwrap_or_default()
    }
}
