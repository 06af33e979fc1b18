//! All cursors of one log: their states, how they change, and how states become entries of the cursor files. Knows
//! totals only as they are handed in.

use std::collections::BTreeMap;

use crate::cursor_files::{self, CursorFiles, Entry, Kind};
use crate::format::u64_at;
use crate::ranges::{MOST_BYTES, Range, Ranges, put_varint, take_varint};
use crate::storage::IoFailure;
use crate::{Counts, OnFull, Position, counts};

/// Most bytes of a cursor's books.
pub const MAX_BOOKS: usize = 8 << 10;
/// Most bytes of a cursor's entry: books, ranges, name and fixed fields.
const MOST_STATE: u64 = (MAX_BOOKS + MOST_BYTES + 512) as u64;

/// Where everything below was durable, and the totals there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) durable: Position,
    pub(crate) totals: Counts,
}

/// On which side of a position a place with known totals is looked for, if there is none at the position itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

/// One cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Whether it holds segments back.
    pub(crate) attached: bool,
    pub(crate) start: Position,
    pub(crate) start_totals: Counts,
    pub(crate) settled: Counts,
    pub(crate) expired: Counts,
    pub(crate) ranges: Ranges,
    pub(crate) books: Vec<u8>,
    /// Not stored: the configuration says it at every start.
    pub(crate) on_full: Option<OnFull>,
    /// Behind the last position that was booked as expired. Not stored: at a start nothing is under way.
    pub(crate) expired_until: Position,
}

impl State {
    pub(crate) fn new(start: Position, start_totals: Counts) -> Self {
        Self {
            attached: true,
            start,
            start_totals,
            settled: [0; 3],
            expired: [0; 3],
            ranges: Ranges::new(start),
            books: Vec::new(),
            on_full: None,
            expired_until: 0,
        }
    }

    /// The log's totals at the low-water mark.
    fn low_totals(&self) -> Counts {
        let booked = counts::add(self.settled, self.expired);
        counts::sub(counts::add(self.start_totals, booked), self.ranges.counts_above())
    }

    /// Books as expired what is not settled in `from..to`, and in whatever damage lies at the far ends of settled ranges that
    /// reach in there: what a part of such a range held is not known, so ranges are always dealt with as a whole. `sound`
    /// finds the nearest place with known totals. Returns what is newly expired, or `None` if all was settled already.
    pub(crate) fn expire<E>(
        &mut self,
        from: Position,
        to: Position,
        sound: &mut dyn FnMut(Side, Position) -> Result<(Position, Counts), E>,
    ) -> Result<Option<Counts>, E> {
        let low = self.ranges.low();
        let (mut start, mut end) = (from.max(low), to);
        if start >= end || self.ranges.covers(start, end) {
            return Ok(None);
        }
        let (inside, held) = loop {
            let overlapping = |range: &&Range| range.start < end && range.end > start;
            let inside: Vec<Range> = self.ranges.touching(start, end).iter().filter(overlapping).copied().collect();
            let outer_start = inside.first().map_or(start, |range| range.start.min(start));
            let outer_end = inside.last().map_or(end, |range| range.end.max(end));
            let before = if outer_start == low { (low, self.low_totals()) } else { sound(Side::Before, outer_start)? };
            let after = sound(Side::After, outer_end)?;
            let is_exact = before.0 >= outer_start && after.0 <= outer_end;
            (start, end) = (before.0.clamp(low, outer_start), after.0.max(outer_end));
            if is_exact {
                break (inside, counts::sub(after.1, before.1));
            }
        };
        let settled = inside.iter().fold([0; 3], |sum, range| counts::add(sum, range.counts));
        let expired = counts::sub(held, settled);
        self.expired = counts::add(self.expired, expired);
        self.ranges.cover(Range { start, end, counts: counts::add(settled, expired) });
        self.expired_until = self.expired_until.max(end);
        Ok(Some(expired))
    }

    fn encode(&self, name: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(name.len() + self.books.len() + 128);
        out.push(u8::from(self.attached));
        out.push(name.len() as u8);
        out.extend_from_slice(name.as_bytes());
        put_varint(&mut out, self.start);
        for n in [self.start_totals, self.settled, self.expired].as_flattened() {
            put_varint(&mut out, *n);
        }
        self.ranges.encode(&mut out);
        put_varint(&mut out, self.books.len() as u64);
        out.extend_from_slice(&self.books);
        out
    }

    fn decode(mut rest: &[u8]) -> Option<(String, Self)> {
        let rest = &mut rest;
        let (fixed, tail) = rest.split_first_chunk::<2>()?;
        let (name, tail) = tail.split_at_checked(usize::from(fixed[1]))?;
        *rest = tail;
        let start = take_varint(rest)?;
        let mut take_counts = || Some([take_varint(rest)?, take_varint(rest)?, take_varint(rest)?]);
        let (start_totals, settled, expired) = (take_counts()?, take_counts()?, take_counts()?);
        let ranges = Ranges::decode(rest)?;
        let size = usize::try_from(take_varint(rest)?).ok()?;
        let books = rest.get(..size)?.to_vec();
        let attached = fixed[0] & 1 == 1;
        let state =
            Self { attached, start, start_totals, settled, expired, ranges, books, on_full: None, expired_until: 0 };
        Some((String::from_utf8(name.to_vec()).ok()?, state))
    }
}

/// All cursors of a log and the files they are in.
#[derive(Debug)]
pub(crate) struct Cursors {
    files: CursorFiles,
    states: BTreeMap<String, State>,
    mark: Mark,
    /// The store is closed: another process may have the files.
    pub(crate) closed: bool,
}

impl Cursors {
    /// Takes what was loaded from the files; `None`: there was nothing sound.
    pub(crate) fn new(files: CursorFiles, entries: Option<Vec<Entry>>) -> Self {
        let mut entries = entries.unwrap_or_default();
        entries.sort_by_key(|entry| entry.sequence);
        let mut cursors = Self { files, states: BTreeMap::new(), mark: Mark::default(), closed: false };
        for Entry { kind, payload, .. } in entries {
            match kind {
                Kind::Cursor => cursors.states.extend(State::decode(&payload)),
                Kind::Forgotten => {
                    cursors.states.remove(String::from_utf8_lossy(&payload).as_ref());
                }
                Kind::Mark if payload.len() == 32 => {
                    let totals = std::array::from_fn(|i| u64_at(&payload, 8 + i * 8));
                    cursors.mark = Mark { durable: u64_at(&payload, 0), totals };
                }
                Kind::Mark => {}
            }
        }
        cursors
    }

    pub(crate) fn get(&self, name: &str) -> Option<&State> {
        self.states.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &State)> {
        self.states.iter().map(|(name, state)| (name.as_str(), state))
    }

    /// Below this everything has been durable, by what the mark says and by what was settled.
    pub(crate) fn proven(&self) -> Position {
        self.states.values().fold(self.mark.durable, |proven, state| proven.max(state.ranges.end()))
    }

    /// Where the log ends if its last records can be read up to `end`: there, or further, where what was settled beyond is
    /// lost. The totals are then at least what the books need. `totals_at` is asked only for positions below `end`, and
    /// answers rather too little than too much.
    pub(crate) fn head<E>(
        &self,
        end: Mark,
        totals_at: &mut dyn FnMut(Position) -> Result<Counts, E>,
    ) -> Result<Mark, E> {
        let known = if self.mark.durable > end.durable { self.mark } else { end };
        let mut head = known;
        for state in self.states.values().filter(|state| state.ranges.end() > known.durable) {
            let is_behind = state.ranges.low() <= known.durable;
            let mut totals = if is_behind { known.totals } else { state.low_totals() };
            for range in state.ranges.beyond(known.durable) {
                if range.start < end.durable {
                    totals = totals_at(range.start)?;
                }
                totals = counts::add(totals, range.counts);
            }
            head.durable = head.durable.max(state.ranges.end());
            head.totals = counts::max(head.totals, totals);
        }
        for state in self.states.values() {
            let booked = counts::add(state.settled, state.expired);
            head.totals = counts::max(head.totals, counts::add(state.start_totals, booked));
        }
        Ok(head)
    }

    /// Changes a cursor, or adds it, once the change is written. Not synced.
    pub(crate) fn put(&mut self, name: &str, state: State) -> Result<(), IoFailure> {
        if !self.states.contains_key(name) {
            // Space for its largest state is taken here, so that no settle needs any.
            self.reserve(self.states.len() as u64 + 1)?;
        }
        self.write(Kind::Cursor, &state.encode(name))?;
        self.states.insert(name.to_owned(), state);
        Ok(())
    }

    /// Takes back changes that were to be durable and may not be. What was written of them may still be found after a restart.
    pub(crate) fn restore(&mut self, states: Vec<(String, State)>) {
        self.states.extend(states);
    }

    /// Sets a cursor's policy, which is not stored.
    pub(crate) fn set_on_full(&mut self, name: &str, on_full: Option<OnFull>) {
        if let Some(state) = self.states.get_mut(name) {
            state.on_full = on_full;
        }
    }

    pub(crate) fn forget(&mut self, name: &str) -> Result<(), IoFailure> {
        if self.states.contains_key(name) {
            self.write(Kind::Forgotten, name.as_bytes())?;
            self.states.remove(name);
        }
        Ok(())
    }

    /// Writes down what is durable. Not synced.
    pub(crate) fn set_mark(&mut self, mark: Mark) -> Result<(), IoFailure> {
        if self.mark != mark {
            self.write(Kind::Mark, &encode_mark(mark))?;
            self.mark = mark;
        }
        Ok(())
    }

    /// Creates the files, or leaves them if they are there.
    pub(crate) fn create(&mut self) -> Result<(), IoFailure> {
        if self.files.capacity() == 0 {
            self.files.switch(&self.snapshot(), cursor_files::MIN_CAPACITY)?;
            self.files.reserve_other()?;
        }
        Ok(())
    }

    /// Syncs what was written, while the lock is held.
    pub(crate) fn sync(&mut self) -> Result<(), IoFailure> {
        if self.files.is_dirty() && !self.switch_if_wanted()? {
            let file = self.files.start_sync()?;
            let result = file.sync();
            self.files.synced(&file, result)?;
        }
        Ok(())
    }

    /// The files, for a sync that does not hold the lock; `None` when there is nothing to sync.
    pub(crate) fn files_to_sync(&mut self) -> Result<Option<&mut CursorFiles>, IoFailure> {
        let wanted = self.files.is_dirty() && !self.switch_if_wanted()?;
        Ok(wanted.then_some(&mut self.files))
    }

    pub(crate) fn files(&mut self) -> &mut CursorFiles {
        &mut self.files
    }

    fn switch_if_wanted(&mut self) -> Result<bool, IoFailure> {
        if !self.files.wants_switch() {
            return Ok(false);
        }
        self.files.switch(&self.snapshot(), 0)?;
        Ok(true)
    }

    fn write(&mut self, kind: Kind, payload: &[u8]) -> Result<(), IoFailure> {
        if !self.files.has_room(payload.len()) {
            self.files.switch(&self.snapshot(), 0)?;
        }
        self.files.append(kind, payload)
    }

    fn reserve(&mut self, cursors: u64) -> Result<(), IoFailure> {
        // All states, and one more, which is the settle that follows a switch.
        let needed = 256 + (cursors + 1) * cursor_files::stored_len(MOST_STATE as usize);
        if needed > self.files.capacity() {
            self.files.switch(&self.snapshot(), needed)?;
            self.files.reserve_other()?;
        }
        Ok(())
    }

    fn snapshot(&self) -> Vec<(Kind, Vec<u8>)> {
        let states = self.states.iter().map(|(name, state)| (Kind::Cursor, state.encode(name)));
        states.chain([(Kind::Mark, encode_mark(self.mark))]).collect()
    }
}

fn encode_mark(mark: Mark) -> Vec<u8> {
    [mark.durable].iter().chain(&mark.totals).flat_map(|n| n.to_le_bytes()).collect()
}
