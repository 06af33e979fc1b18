//! Which records must be settled before which: for each record the last earlier ones that touch one of its series. Found once
//! for all endpoints that take a log's series as they are; a delivery that is far behind, or whose rules make other series
//! of them, has one of its own.

mod index;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use index::Index;

use crate::Position;

/// So many records back predecessors are told apart.
const HORIZON: u64 = 1024;
/// At least so many records back, so that a delivery with little open does not have to wait for what it does not know.
const LEAST_SPAN: u64 = 32;
/// Series known at once: a table of 2 MiB, and room for a few footprints more.
const MOST_SERIES: usize = 120_000;
/// How many places of the index are asked of memory at once.
const LOOK_AHEAD: usize = 16;

/// The earlier records that a record waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predecessors {
    /// What is before this may share series with it or not: nobody knows.
    pub known_from: Position,
    /// From `known_from` on: the last one of each of its series.
    near: Distances,
    position: Position,
}

impl Predecessors {
    /// As before, for a delivery that lacks a record before `position`: what the others found through that one is not known
    /// here.
    #[must_use]
    pub fn without_what_is_before(self, position: Position) -> Self {
        Self { known_from: self.known_from.max(position), ..self }
    }

    /// The known ones, from the nearest to the farthest.
    pub fn records(&self) -> impl Iterator<Item = Position> + '_ {
        self.near.iter().map(|distance| self.position - distance)
    }
}

/// A set of distances in records, from 1 to [`HORIZON`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Distances([u64; HORIZON as usize / 64]);

impl Distances {
    #[inline]
    fn insert(&mut self, distance: u64) {
        let bit = distance - 1;
        if let Some(word) = self.0.get_mut((bit / 64) as usize) {
            *word |= 1 << (bit % 64);
        }
    }

    fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().zip((1..).step_by(64)).flat_map(|(&word, first)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = u64::from(left.trailing_zeros());
                (left != 0).then(|| {
                    left &= left - 1;
                    first + bit
                })
            })
        })
    }
}

/// Finds predecessors, record by record.
#[derive(Debug, Default)]
struct Search {
    /// The last record that touches a series, of those from `from` on.
    last: Index,
    from: Position,
    /// Behind the last one that was added.
    next: Position,
    /// What was found lately, in order.
    recent: VecDeque<Predecessors>,
}

/// What the deliveries of one log have found together; nothing while none of them has anything open.
#[derive(Debug, Default)]
pub struct LogOrder {
    search: Search,
    /// Who looks, and how far back what it has read was not settled when it looked last. Not from where on: a delivery that is
    /// behind the others would have them know all that lies between.
    users: Vec<(UserId, u64)>,
    last_user: UserId,
}

type UserId = u64;

impl LogOrder {
    /// `None`: that is too long ago. `low`: from there on the user has records that are not settled.
    fn find<F>(&mut self, id: UserId, low: Position, position: Position, footprint: F) -> Option<Predecessors>
    where
        F: ExactSizeIterator<Item = u32>,
    {
        let known = if position < self.search.next { Some(self.search.recall(position)?) } else { None };
        let span = position - low;
        match self.users.iter_mut().find(|(user, _)| *user == id) {
            Some(user) => user.1 = span,
            None => self.users.push((id, span)),
        }
        if known.is_some() {
            return known;
        }
        if position > self.search.next {
            // What was left out may matter to others.
            self.search.begin(position);
        }
        let widest = self.users.iter().map(|(_, span)| *span).max().unwrap_or_default();
        // Twice: the others may have more open when they come here.
        let low = position.saturating_sub(LEAST_SPAN.max(2 * widest));
        Some(self.search.add(position, low, footprint))
    }

    fn leave(&mut self, id: UserId) {
        self.users.retain(|(user, _)| *user != id);
        if self.users.is_empty() {
            self.search = Search { from: self.search.next, next: self.search.next, ..Search::default() };
        }
    }
}

/// One delivery's way to ask about records: in their order, leaving out what is settled and what is under way already.
#[derive(Debug)]
pub struct DeliveryOrder {
    shared: Arc<Mutex<LogOrder>>,
    id: UserId,
    own: Option<Search>,
}

impl DeliveryOrder {
    /// Of a delivery from the log to which the shared part belongs.
    pub fn new(shared: Arc<Mutex<LogOrder>>) -> Self {
        let mut locked = lock(&shared);
        locked.last_user += 1;
        let id = locked.last_user;
        drop(locked);
        Self { shared, id, own: None }
    }

    /// The predecessors of a record that goes as it came. `footprint`: the distinct hashes of its series, sorted. `open`: where
    /// the delivery has records that it has read and not settled, if it has any.
    pub fn as_it_came<F>(&mut self, position: Position, footprint: F, open: Option<Range<Position>>) -> Predecessors
    where
        F: ExactSizeIterator<Item = u32> + Clone,
    {
        let low = open.as_ref().map_or(position, |open| open.start.min(position));
        let mut shared = lock(&self.shared);
        if let Some(found) = shared.find(self.id, low, position, footprint.clone()) {
            // What is found there is not known here.
            self.own = None;
            return found;
        }
        shared.leave(self.id);
        drop(shared);
        self.edited(position, footprint, open)
    }

    /// The predecessors of a record of which rules made other series, to which `footprint` belongs.
    pub fn edited<F>(&mut self, position: Position, footprint: F, open: Option<Range<Position>>) -> Predecessors
    where
        F: ExactSizeIterator<Item = u32>,
    {
        let open = open.unwrap_or(position..position);
        let behind_open = position.max(open.end);
        let own = self.own.get_or_insert_with(|| Search { from: behind_open, next: position, ..Search::default() });
        if position < own.next {
            if let Some(known) = own.recall(position) {
                return known;
            }
            own.begin(behind_open);
        }
        own.add(position, open.start.min(position), footprint)
    }

    /// Nothing that was read is still open, or it will be asked about again: lets go of the memory.
    pub fn rest(&mut self) {
        self.own = None;
        lock(&self.shared).leave(self.id);
    }
}

impl Drop for DeliveryOrder {
    fn drop(&mut self) {
        self.rest();
    }
}

fn lock(shared: &Mutex<LogOrder>) -> MutexGuard<'_, LogOrder> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Search {
    /// Nothing is known before `from`.
    fn begin(&mut self, from: Position) {
        self.from = from;
        self.recent.clear();
    }

    fn recall(&self, position: Position) -> Option<Predecessors> {
        let at = self.recent.partition_point(|known| known.position < position);
        self.recent.get(at).filter(|known| known.position == position).cloned()
    }

    /// The next record's. Nobody asks about what is before `low`. `footprint`: the distinct hashes of what it touches, sorted.
    fn add<F>(&mut self, position: Position, low: Position, footprint: F) -> Predecessors
    where
        F: ExactSizeIterator<Item = u32>,
    {
        self.from = self.from.max(low).max(position.saturating_sub(HORIZON));
        if !self.last.has_room(footprint.len()) {
            self.make_room(position, footprint.len());
        }
        let (from, mut near) = (self.from, Distances::default());
        let mut few = [0; LOOK_AHEAD];
        let mut rest = footprint;
        loop {
            let count = few.iter_mut().zip(&mut rest).map(|(place, hash)| *place = hash).count();
            let Some(few) = few.get(..count).filter(|few| !few.is_empty()) else { break };
            self.last.look_ahead(few);
            for &hash in few {
                if let Some(since) = self.last.replace(hash, position, from.min(position)) {
                    near.insert(position - from - since);
                }
            }
        }
        self.next = position + 1;
        let found = Predecessors { known_from: from, near, position };
        if self.recent.len() == HORIZON as usize {
            self.recent.pop_front();
        }
        self.recent.push_back(found.clone());
        found
    }

    fn make_room(&mut self, position: Position, footprint: usize) {
        let mut from = self.from.min(position);
        while from < position && self.last.count(from..position) + footprint > MOST_SERIES {
            from += (position - from).div_ceil(2);
        }
        self.from = self.from.max(from);
        self.last.make_room(footprint, from..position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(search: &mut Search, position: Position, low: Position, footprint: &[u32]) -> (Position, Vec<Position>) {
        let found = search.add(position, low, footprint.iter().copied());
        (found.known_from, found.records().collect())
    }

    #[test]
    fn the_last_record_of_each_series_comes_before_and_no_other() {
        let mut search = Search::default();
        assert_eq!(find(&mut search, 0, 0, &[1, 2]), (0, vec![]));
        assert_eq!(find(&mut search, 1, 0, &[3, 4]), (0, vec![]));
        assert_eq!(find(&mut search, 2, 0, &[2, 3]), (0, vec![1, 0]));
        assert_eq!(find(&mut search, 3, 0, &[1, 2, 9]), (0, vec![2, 0]));
        assert_eq!(find(&mut search, 4, 2, &[1, 4, 9]), (2, vec![3]), "before 2 all is settled");
    }

    #[test]
    fn distances_are_told_apart_up_to_the_horizon() {
        let mut search = Search::default();
        for position in 0..=HORIZON {
            assert_eq!(find(&mut search, position, 0, &[position as u32]), (0, vec![]));
        }
        let all: Vec<u32> = (0..=HORIZON as u32).collect();
        let (known_from, records) = find(&mut search, HORIZON + 1, 0, &all);
        assert_eq!((known_from, records), (1, (1..=HORIZON).rev().collect()));
    }

    #[test]
    fn a_log_with_many_series_is_known_less_far_back_in_bounded_memory() {
        let mut search = Search::default();
        let each = 20_000;
        for position in 0..100 {
            let footprint: Vec<u32> = (0..each).map(|series| series * 200_000 + position * 7).collect();
            let (known_from, records) = find(&mut search, position.into(), 0, &footprint);
            assert!(records.is_empty());
            let far = MOST_SERIES as u64 / u64::from(each) / 3;
            assert!(known_from <= u64::from(position).saturating_sub(far), "{known_from} at {position}");
            assert!(search.last.slots() <= MOST_SERIES * 8);
        }
    }

    #[test]
    fn one_that_is_behind_makes_nobody_look_farther_back() {
        let shared = Arc::<Mutex<LogOrder>>::default();
        let (mut ahead, mut behind) =
            (DeliveryOrder::new(Arc::clone(&shared)), DeliveryOrder::new(Arc::clone(&shared)));
        let mut known_from = 0;
        for position in 0..500 {
            let footprint = [position as u32];
            known_from = ahead
                .as_it_came(position, footprint.into_iter(), Some(position.saturating_sub(4)..position))
                .known_from;
            if let Some(late) = position.checked_sub(400) {
                behind.as_it_came(late, [late as u32].into_iter(), Some(late.saturating_sub(4)..late));
            }
        }
        assert_eq!(known_from, 499 - LEAST_SPAN);
    }

    #[test]
    fn who_reads_on_alone_makes_what_was_left_out_unknown() {
        let shared = Arc::<Mutex<LogOrder>>::default();
        let (mut one, mut other) = (DeliveryOrder::new(Arc::clone(&shared)), DeliveryOrder::new(Arc::clone(&shared)));
        let ask = |user: &mut DeliveryOrder, position, open| {
            let found = user.as_it_came(position, [7].into_iter(), open);
            (found.known_from, found.records().collect::<Vec<_>>())
        };
        assert_eq!(ask(&mut one, 3, None), (3, vec![]));
        assert_eq!(ask(&mut one, 5, Some(3..4)), (5, vec![]), "4 may wait at the other");
        assert_eq!(ask(&mut other, 3, None), (3, vec![]), "by itself");
        assert_eq!(ask(&mut other, 4, Some(3..4)), (3, vec![3]), "by itself, with what it has read before");
        assert_eq!(ask(&mut other, 5, Some(3..5)), (5, vec![]), "found by the one");
        assert_eq!(ask(&mut other, 6, Some(3..6)), (5, vec![5]));
        one.rest();
        drop(other);
        assert_eq!(lock(&shared).search.last.slots(), 0, "nobody has anything open");
        assert_eq!(ask(&mut one, 7, None), (7, vec![]));
    }
}
