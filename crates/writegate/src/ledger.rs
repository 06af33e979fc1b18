//! The books: for each tenant and endpoint, where every accepted data point is.
//!
//! A [`Row`] couples the log's cursor (accepted, pending, expired) with the [`Books`] that are stored in the same
//! settle record (delivered, dropped, dead-lettered), so that both always tell the same story, also after a crash.

mod books;
mod plan;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use remote_write::Counts;
use segment_log::{Cursor, GapCause, Position, SettleError};

pub(crate) use self::books::{Booking, Books, Dropped, Fate, Refusal, Total};
pub(crate) use self::plan::{ReplayPlan, ReplayState};
use crate::record;
use crate::tenant::TenantName;

/// The outcome of one record, ready to be settled.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    pub(crate) position: Position,
    pub(crate) counts: Counts,
    pub(crate) booking: Booking,
}

/// The books of one tenant at one endpoint, or of one replay there.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) tenant: TenantName,
    pub(crate) endpoint: String,
    cursor: Arc<Cursor>,
    books: Mutex<Books>,
    /// When the record at a position was received, in milliseconds since 1970: where a cursor stands still it is asked for again
    /// and again.
    received: Mutex<(Position, i64)>,
}

/// Samples of a row at a glance: what is looked at all the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Glance {
    pub(crate) delivered: u64,
    /// Also those that are no dead letters any more.
    pub(crate) dead_lettered: u64,
    pub(crate) expired: u64,
    /// Dropped though nobody asked for it: not written by the endpoint, or evicted from the dead letters.
    pub(crate) lost: u64,
}

/// A moment of a row: `accepted = delivered + pending + dropped + dead-lettered + expired`, kind by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Balance {
    pub(crate) accepted: Counts,
    pub(crate) pending: Counts,
    /// By age, and by what left the log too early.
    pub(crate) expired: Counts,
    pub(crate) books: Books,
}

impl Balance {
    /// Whether every accepted data point is in exactly one place.
    pub(crate) fn balances(&self) -> bool {
        let gone = self.books.dropped_total() + self.books.dead_lettered_total() + self.expired;
        self.accepted == self.books.delivered + self.pending + gone
    }
}

/// What the names of replays' cursors begin with: no endpoint's name has a control character.
const REPLAY: &str = "\u{1}replay ";

impl Row {
    /// The row of a cursor, with the books it stored.
    pub(crate) fn new(tenant: TenantName, cursor: Arc<Cursor>) -> Self {
        let books = Books::decode(&cursor.books()).unwrap_or_else(|| {
            tracing::error!(%tenant, endpoint = cursor.name(), "the stored books cannot be read; they begin anew");
            Books::default()
        });
        let name = cursor.name();
        let endpoint = match name.strip_prefix(REPLAY) {
            Some(replay) => replay.split_once(' ').map_or(replay, |(_id, endpoint)| endpoint),
            None => name,
        };
        Self {
            tenant,
            endpoint: endpoint.to_owned(),
            cursor,
            books: Mutex::new(books),
            received: Mutex::new((Position::MAX, 0)),
        }
    }

    /// The name of a replay's cursor.
    pub(crate) fn replay_name(id: u64, endpoint: &str) -> String {
        format!("{REPLAY}{id} {endpoint}")
    }

    /// Whether a cursor of that name is a replay's.
    pub(crate) fn is_replay_name(name: &str) -> bool {
        name.starts_with(REPLAY)
    }

    /// The plan, if this is the row of a replay.
    pub(crate) fn plan(&self) -> Option<ReplayPlan> {
        self.books().plan.clone()
    }

    /// Stores another plan: a replay begins or ends.
    ///
    /// # Errors
    /// When it could not be written; the plan is as before then.
    pub(crate) fn set_plan(&self, plan: ReplayPlan) -> Result<(), SettleError> {
        self.change(&[], |books, _| {
            books.plan = Some(plan);
            true
        })
        .map(drop)
    }

    /// Books outcomes and moves the cursor: one act, on disk when this returns. Gives the positions that were settled before,
    /// of which nothing was booked.
    ///
    /// # Errors
    /// When it could not be written; nothing is booked then, and settling again is safe.
    pub(crate) fn settle(&self, settled: &[Settled]) -> Result<Vec<Position>, SettleError> {
        let mut before = Vec::new();
        let positions: Vec<_> =
            settled.iter().map(|settled| (settled.position, record::to_array(settled.counts))).collect();
        self.change(&positions, |books, newly| {
            // What expired meanwhile is booked as expired, even though it was sent after all.
            for (settled, newly) in settled.iter().zip(newly) {
                if !newly {
                    before.push(settled.position);
                    continue;
                }
                debug_assert_eq!(settled.booking.total(), settled.counts, "a booking must cover its record");
                books.book(&settled.booking);
            }
            true
        })?;
        Ok(before)
    }

    /// Moves what was dead-lettered for a reason to another fate; `first` is the first of the letters. `false` if the books
    /// have less; what they have is moved.
    ///
    /// # Errors
    /// When it could not be written; nothing is moved then.
    pub(crate) fn move_dead_letters(
        &self,
        reason: &str,
        counts: Counts,
        to: Fate,
        first: u64,
    ) -> Result<bool, SettleError> {
        self.change(&[], |books, _| books.move_dead_letters(reason, counts, to, first))
    }

    /// The first of the dead letters that moved last.
    pub(crate) fn last_moved(&self) -> u64 {
        self.books().last_moved
    }

    fn change(
        &self,
        positions: &[(Position, [u64; 3])],
        edit: impl FnOnce(&mut Books, &[bool]) -> bool,
    ) -> Result<bool, SettleError> {
        let mut books = self.books();
        let mut after = books.clone();
        let mut edit = Some(edit);
        let mut edited = false;
        self.cursor.settle(positions, &mut |newly, stored| {
            edited = edit.take().is_some_and(|edit| edit(&mut after, newly));
            after.encode(stored);
        })?;
        *books = after;
        Ok(edited)
    }

    /// Books a gap in the log; what was lost to damage expires. Returns how much that was.
    ///
    /// # Errors
    /// When it could not be written.
    pub(crate) fn gap(&self, from: Position, to: Position, cause: GapCause) -> Result<Counts, SettleError> {
        match cause {
            GapCause::Expired => Ok(Counts::default()),
            GapCause::Damaged => self.cursor.expire(from, to).map(record::from_array),
        }
    }

    /// Everything below is settled.
    pub(crate) fn low(&self) -> Position {
        self.cursor.low()
    }

    /// Behind the last position that has expired since the start; a request may still have what came before.
    pub(crate) fn expired_until(&self) -> Position {
        self.cursor.expired_until()
    }

    pub(crate) fn is_settled(&self, position: Position) -> bool {
        self.cursor.is_settled(position)
    }

    /// Nothing newer may be started: too much is settled above what is not.
    pub(crate) fn is_full(&self) -> bool {
        self.cursor.ranges_full()
    }

    /// Whether an endpoint of the configuration moves this row.
    pub(crate) fn is_active(&self) -> bool {
        self.cursor.is_attached()
    }

    pub(crate) fn cursor(&self) -> &Arc<Cursor> {
        &self.cursor
    }

    /// Whether a reason has an example already.
    pub(crate) fn has_example(&self, fate: Fate) -> bool {
        self.books().has_example(fate)
    }

    /// The row at a glance.
    pub(crate) fn glance(&self) -> Glance {
        let books = self.books();
        let by_age = books.expired.samples;
        let left_the_log = record::from_array(self.cursor.balance().expired).samples;
        let lost = [Dropped::NotWritten, Dropped::LetterEvicted].map(Dropped::as_str);
        let ever = |total: &Total| total.counts.samples + total.left.samples;
        Glance {
            delivered: books.delivered.samples,
            dead_lettered: books.dead_lettered.iter().map(ever).sum(),
            expired: by_age + left_the_log,
            lost: books.dropped.iter().filter(|total| lost.contains(&&*total.reason)).map(ever).sum(),
        }
    }

    /// When the record at a position was received; `read` is asked where that is not known from the last time.
    pub(crate) fn received_ms(&self, position: Position, read: impl FnOnce() -> Option<i64>) -> Option<i64> {
        let known = *self.received.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 == position {
            return Some(known.1);
        }
        let received_ms = read()?;
        *self.received.lock().unwrap_or_else(PoisonError::into_inner) = (position, received_ms);
        Some(received_ms)
    }

    /// The row at this moment.
    pub(crate) fn balance(&self) -> Balance {
        // Settling changes the books and the cursor under this lock, so both are of the same moment.
        let books = self.books();
        let cursor = self.cursor.balance();
        let (settled, lost) = (record::from_array(cursor.settled), record::from_array(cursor.expired));
        let (accepted, lost) = match &books.plan {
            None => (record::from_array(cursor.accepted), lost),
            Some(plan) if plan.state == ReplayState::Running => {
                (plan.until_totals - record::from_array(self.cursor.start_totals()), lost)
            }
            // What was not sent of a replay that ended was never a part of it.
            Some(plan) => (settled + plan.lost, plan.lost),
        };
        let balance = Balance {
            accepted,
            pending: accepted - settled - lost,
            expired: lost + books.expired,
            books: books.clone(),
        };
        debug_assert!(balance.balances(), "{}/{}: {balance:?}", self.tenant, self.endpoint);
        balance
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
