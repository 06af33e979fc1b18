//! Which records may be sent now: those that share no series with an earlier one that is not settled. Pure: knows records
//! only by their position and footprint.
//!
//! Each series hash leads to the last record that touches it, so that a record waits for at most one record for each of its
//! series, and looking at a record once is enough. Two records that are both free share no series, or one would wait for
//! the other: they may travel together, or beside each other.

mod index;

use std::collections::VecDeque;

use index::Index;
use segment_log::Position;

/// Records known at once.
pub(super) const MOST_RECORDS: usize = 1024;
/// Hashes known at once; beyond, one record at a time.
const MOST_HASHES: usize = 256 * 1024;
/// How many places of the index are asked of memory at once.
const LOOK_AHEAD: usize = 16;

/// The records from the oldest that is not settled on, as far as they were read.
#[derive(Debug)]
pub(super) struct Window<T> {
    records: VecDeque<Entry<T>>,
    /// The number of the first of them: numbers count records, whatever their positions.
    first: u64,
    /// The last record that touches a series. A number below `first` is of a record that is settled.
    last: Index,
    /// Records before this one are in `last`: a record that is alone needs no index.
    indexed: usize,
    /// Hashes of all records.
    hashes: usize,
    /// How many records wait for none and are not under way.
    free: usize,
}

#[derive(Debug)]
struct Entry<T> {
    position: Position,
    /// Empty once it is settled.
    footprint: Box<[u32]>,
    /// How many earlier records it waits for.
    waits_for: usize,
    /// The numbers of records that wait for it.
    awaited_by: Vec<u64>,
    state: State<T>,
}

#[derive(Debug)]
enum State<T> {
    /// With what is needed to send it.
    Here(T),
    UnderWay,
    Settled,
}

impl<T> Window<T> {
    pub(super) fn new() -> Self {
        Self { records: VecDeque::new(), first: 0, last: Index::default(), indexed: 0, hashes: 0, free: 0 }
    }

    /// Whether another record may be admitted. One always may.
    pub(super) fn has_room(&self) -> bool {
        self.records.is_empty() || (self.records.len() < MOST_RECORDS && self.hashes < MOST_HASHES)
    }

    /// Whether a record waits for none and is not under way.
    pub(super) const fn has_free(&self) -> bool {
        self.free > 0
    }

    /// What waits for none and is not under way.
    pub(super) fn free(&self) -> impl Iterator<Item = &T> {
        self.records.iter().filter(|entry| entry.waits_for == 0).filter_map(|entry| match &entry.state {
            State::Here(item) => Some(item),
            State::UnderWay | State::Settled => None,
        })
    }

    /// Adds the next record of the log. `footprint`: distinct hashes of what it touches.
    pub(super) fn admit(&mut self, position: Position, item: T, footprint: Box<[u32]>) {
        self.hashes += footprint.len();
        let state = State::Here(item);
        self.records.push_back(Entry { position, footprint, waits_for: 0, awaited_by: Vec::new(), state });
        if self.records.len() == 1 {
            self.free += 1;
            return;
        }
        while self.indexed < self.records.len() {
            self.index(self.indexed);
            self.indexed += 1;
        }
        if self.records.back().is_some_and(|entry| entry.waits_for == 0) {
            self.free += 1;
        }
    }

    /// Lets a record wait for the last ones that touch its series, and makes it the last one.
    fn index(&mut self, index: usize) {
        let number = self.first + index as u64;
        let Some(entry) = self.records.get_mut(index) else { return };
        let footprint = std::mem::take(&mut entry.footprint);
        let (first, mut waits_for) = (self.first, 0);
        let records = &self.records;
        self.last.reserve(footprint.len(), first, |ahead| {
            let earlier =
                usize::try_from(ahead).ok().filter(|ahead| *ahead < index).and_then(|ahead| records.get(ahead));
            earlier.is_some_and(|earlier| !matches!(earlier.state, State::Settled))
        });
        for few in footprint.chunks(LOOK_AHEAD) {
            self.last.look_ahead(few);
            for &hash in few {
                if let Some(earlier) =
                    self.last.replace(hash, number, first).and_then(|earlier| self.by_number(earlier))
                    && !matches!(earlier.state, State::Settled)
                    && earlier.awaited_by.last() != Some(&number)
                {
                    earlier.awaited_by.push(number);
                    waits_for += 1;
                }
            }
        }
        if let Some(entry) = self.records.get_mut(index) {
            entry.footprint = footprint;
            entry.waits_for = waits_for;
        }
    }

    /// Takes free records in order as long as `fits` says so; they are under way then. `fits` is asked about each free record
    /// in turn, and the first that does not fit ends it.
    pub(super) fn take_free(&mut self, mut fits: impl FnMut(Position, &T) -> bool) -> Vec<(Position, T)> {
        let mut taken = Vec::new();
        for entry in &mut self.records {
            if self.free == taken.len() {
                break;
            }
            match &entry.state {
                State::Here(item) if entry.waits_for == 0 => {
                    if !fits(entry.position, item) {
                        break;
                    }
                }
                State::Here(_) | State::UnderWay | State::Settled => continue,
            }
            if let State::Here(item) = std::mem::replace(&mut entry.state, State::UnderWay) {
                taken.push((entry.position, item));
            }
        }
        self.free -= taken.len();
        taken
    }

    /// The records at these positions are settled: who waited for them is free.
    pub(super) fn settle(&mut self, positions: impl IntoIterator<Item = Position>) {
        for position in positions {
            let Some(entry) = self.by_position(position) else { continue };
            entry.state = State::Settled;
            let (footprint, awaited_by) = (std::mem::take(&mut entry.footprint), std::mem::take(&mut entry.awaited_by));
            self.hashes -= footprint.len();
            for waiting in awaited_by {
                let Some(waiting) = self.by_number(waiting) else { continue };
                waiting.waits_for -= 1;
                if waiting.waits_for == 0 {
                    self.free += 1;
                }
            }
        }
        while self.records.front().is_some_and(|entry| matches!(entry.state, State::Settled)) {
            self.records.pop_front();
            self.first += 1;
            self.indexed = self.indexed.saturating_sub(1);
        }
        if self.records.is_empty() {
            self.forget_index();
        }
    }

    /// Forgets the records that are not under way, and the index: they are admitted again when there is time for them.
    /// Gives the position of the first.
    pub(super) fn forget_waiting(&mut self) -> Option<Position> {
        let is_here = |entry: &Entry<T>| matches!(entry.state, State::Here(_));
        let position = self.records.iter().find(|entry| is_here(entry)).map(|entry| entry.position);
        self.first += self.records.len() as u64;
        self.records.retain_mut(|entry| {
            // Those under way share no series with each other: none of them waits.
            entry.awaited_by.clear();
            matches!(entry.state, State::UnderWay)
        });
        self.hashes = self.records.iter().map(|entry| entry.footprint.len()).sum();
        self.free = 0;
        self.forget_index();
        position
    }

    fn forget_index(&mut self) {
        self.last.clear();
        self.indexed = 0;
    }

    fn by_position(&mut self, position: Position) -> Option<&mut Entry<T>> {
        // Usually one after the other; but one that was forgotten comes again behind those that were under way meanwhile.
        let first = self.records.front()?.position;
        let guess = usize::try_from(position.saturating_sub(first)).ok()?;
        let is_there = self.records.get(guess).is_some_and(|entry| entry.position == position);
        let index = if is_there { guess } else { self.records.iter().position(|entry| entry.position == position)? };
        self.records.get_mut(index)
    }

    fn by_number(&mut self, number: u64) -> Option<&mut Entry<T>> {
        self.records.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::{btree_set, vec};
    use proptest::prelude::{Just, ProptestConfig, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    fn admit(window: &mut Window<()>, position: Position, footprint: &[u32]) {
        window.admit(position, (), footprint.into());
    }

    fn take(window: &mut Window<()>) -> Vec<Position> {
        window.take_free(|_, ()| true).into_iter().map(|(position, ())| position).collect()
    }

    #[test]
    fn a_record_waits_for_the_last_one_of_each_of_its_series_and_for_no_other() {
        let mut window = Window::new();
        for (position, footprint) in [[1, 2], [3, 4], [2, 3], [5, 6], [1, 5]].iter().enumerate() {
            admit(&mut window, position as Position, footprint);
        }
        assert_eq!(take(&mut window), [0, 1, 3]);
        window.settle([1]);
        assert!(!window.has_free(), "2 still waits for 0, and 4 for 0 and 3");
        window.settle([0]);
        assert_eq!(take(&mut window), [2]);
        window.settle([3]);
        assert_eq!(take(&mut window), [4]);
    }

    #[test]
    fn what_does_not_fit_stays_and_keeps_later_ones_behind_it() {
        let mut window = Window::new();
        (0..4).for_each(|position| admit(&mut window, position, &[position as u32]));
        let fitting = window.take_free(|position, ()| position != 2);
        assert_eq!(fitting.len(), 2);
        assert_eq!(take(&mut window), [2, 3]);
    }

    #[test]
    fn a_record_that_was_alone_when_it_went_is_waited_for() {
        let mut window = Window::new();
        admit(&mut window, 7, &[1]);
        assert_eq!(take(&mut window), [7]);
        admit(&mut window, 9, &[1]);
        admit(&mut window, 12, &[2]);
        assert_eq!(take(&mut window), [12]);
        assert_eq!(window.forget_waiting(), Some(9));
        admit(&mut window, 9, &[1]);
        assert!(take(&mut window).is_empty());
        window.settle([7]);
        assert_eq!(take(&mut window), [9]);
    }

    #[test]
    fn a_window_is_bounded_by_records_and_by_hashes_but_takes_one_of_any_size() {
        let mut window = Window::new();
        assert!(window.has_room());
        let huge: Vec<u32> = (0..MOST_HASHES as u32).collect();
        admit(&mut window, 0, &huge);
        assert!(!window.has_room());
        take(&mut window);
        window.settle([0]);
        assert!(window.has_room());
        (1..=MOST_RECORDS as Position).for_each(|position| admit(&mut window, position, &[]));
        assert!(!window.has_room());
    }

    #[test]
    fn behind_one_record_that_takes_long_any_number_of_series_may_settle() {
        let mut window = Window::new();
        admit(&mut window, 0, &[u32::MAX]);
        take(&mut window);
        for position in 1..MOST_RECORDS as Position {
            let footprint: Vec<u32> = (0..100).map(|series| position as u32 * 4_000_000 + series).collect();
            admit(&mut window, position, &footprint);
            assert_eq!(take(&mut window), [position]);
            window.settle([position]);
        }
        assert!(!window.has_room(), "as many records as it may hold");
        assert!(window.last.slots() < 4096, "what is settled is not kept in mind");
        window.settle([0]);
        assert!(window.records.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Admit(BTreeSet<u32>),
        Take(usize),
        /// Settles one of those under way.
        Settle(usize),
        Forget,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => btree_set(0_u32..12, 0..4).prop_map(Step::Admit),
            3 => (1_usize..4).prop_map(Step::Take),
            3 => (0_usize..8).prop_map(Step::Settle),
            1 => Just(Step::Forget),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn exactly_those_are_free_that_share_no_series_with_an_earlier_unsettled_one(steps in vec(step(), 1..60)) {
            let mut window = Window::new();
            // Naive: every record of the log, whether the window has it, whether it is settled.
            let mut log: Vec<(BTreeSet<u32>, bool)> = Vec::new();
            let mut admitted = 0;
            let mut under_way: Vec<usize> = Vec::new();
            let admit_next = |window: &mut Window<()>, log: &[(BTreeSet<u32>, bool)], admitted: &mut usize| {
                let footprint: Box<[u32]> = log[*admitted].0.iter().copied().collect();
                window.admit(*admitted as Position, (), footprint);
                *admitted += 1;
            };
            for step in steps {
                match step {
                    Step::Admit(footprint) => {
                        log.push((footprint, false));
                        admit_next(&mut window, &log, &mut admitted);
                    }
                    Step::Take(most) => {
                        let is_free = |index: &usize| {
                            let (footprint, settled) = &log[*index];
                            let blocked = log[..*index].iter().any(|(earlier, done)| !done && !earlier.is_disjoint(footprint));
                            !settled && !under_way.contains(index) && !blocked
                        };
                        let expected: Vec<usize> = (0..log.len()).filter(is_free).collect();
                        prop_assert_eq!(window.has_free(), !expected.is_empty());
                        let mut left = most;
                        let taken = window.take_free(|_, ()| {
                            left = left.saturating_sub(1);
                            left > 0 || most == 1
                        });
                        let taken: Vec<usize> = taken.into_iter().map(|(position, ())| position as usize).collect();
                        prop_assert!(expected.starts_with(&taken), "{:?} of {:?}", taken, expected);
                        under_way.extend(taken);
                    }
                    Step::Settle(which) if !under_way.is_empty() => {
                        let index = under_way.swap_remove(which % under_way.len());
                        log[index].1 = true;
                        window.settle([index as Position]);
                    }
                    Step::Settle(_) => {}
                    Step::Forget => {
                        let waiting = (0..log.len()).filter(|index| !log[*index].1 && !under_way.contains(index));
                        let waiting: Vec<usize> = waiting.collect();
                        prop_assert_eq!(window.forget_waiting(), waiting.first().map(|index| *index as Position));
                        // They are read again, as a delivery does: from the first on, without those under way or settled.
                        for index in waiting {
                            window.admit(index as Position, (), log[index].0.iter().copied().collect());
                        }
                    }
                }
            }
        }
    }
}
