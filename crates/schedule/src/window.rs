//! Which records may be sent now: those that wait for no earlier one that is not settled. Pure: knows records only by their
//! position and what must come before them. Two records that are both free share no series, or one would wait for the
//! other: they may travel together, or beside each other.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::Position;
use crate::order::Predecessors;

/// From the first record to the last there are no more positions.
pub const MOST_RECORDS: usize = 1024;

/// The records that were read and are not settled.
#[derive(Debug)]
pub struct Window<T> {
    records: BTreeMap<Position, Entry<T>>,
    /// Those that wait for none and are not under way.
    free: BTreeSet<Position>,
}

#[derive(Debug)]
struct Entry<T> {
    /// How many earlier records it waits for.
    waits_for: usize,
    /// The records that wait for it.
    awaited_by: Vec<Position>,
    /// With what is needed to send it; `None`: it is under way.
    item: Option<T>,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Window<T> {
    /// An empty one.
    pub const fn new() -> Self {
        Self { records: BTreeMap::new(), free: BTreeSet::new() }
    }

    /// From the first record to behind the last, if there is one.
    pub fn open(&self) -> Option<Range<Position>> {
        let ((first, _), (last, _)) = (self.records.first_key_value()?, self.records.last_key_value()?);
        Some(*first..*last + 1)
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether records up to before `end` may be admitted.
    pub fn has_room(&self, end: Position) -> bool {
        self.records.first_key_value().is_none_or(|(first, _)| end.saturating_sub(*first) <= MOST_RECORDS as u64)
    }

    /// Whether a record waits for none and is not under way.
    pub fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// Whether a record was taken and is not settled.
    pub fn is_under_way(&self, position: Position) -> bool {
        self.records.get(&position).is_some_and(|entry| entry.item.is_none())
    }

    /// What waits for none and is not under way.
    pub fn free(&self) -> impl Iterator<Item = &T> {
        self.free.iter().filter_map(|position| self.records.get(position)?.item.as_ref())
    }

    /// Adds the next record of the log.
    pub fn admit(&mut self, position: Position, item: T, predecessors: &Predecessors) {
        let mut waits_for = 0;
        let mut wait_for = |earlier: &mut Entry<T>| {
            earlier.awaited_by.push(position);
            waits_for += 1;
        };
        for earlier in predecessors.records() {
            self.records.get_mut(&earlier).into_iter().for_each(&mut wait_for);
        }
        let unknown = ..predecessors.known_from.min(position);
        self.records.range_mut(unknown).for_each(|(_, earlier)| wait_for(earlier));
        if waits_for == 0 {
            self.free.insert(position);
        }
        self.records.insert(position, Entry { waits_for, awaited_by: Vec::new(), item: Some(item) });
    }

    /// Takes free records in order as long as `fits` says so; they are under way then. `fits` is asked about each free record
    /// in turn, and the first that does not fit ends it.
    pub fn take_free(&mut self, mut fits: impl FnMut(&T) -> bool) -> Vec<(Position, T)> {
        let mut taken = Vec::new();
        while let Some(position) = self.free.first().copied() {
            let Some(entry) = self.records.get_mut(&position) else { break };
            let Some(item) = entry.item.take_if(|item| fits(item)) else { break };
            self.free.remove(&position);
            taken.push((position, item));
        }
        taken
    }

    /// The records at these positions are settled: who waited for them is free.
    pub fn settle(&mut self, positions: impl IntoIterator<Item = Position>) {
        for position in positions {
            let Some(settled) = self.records.remove(&position) else { continue };
            for waiting in settled.awaited_by {
                let Some(entry) = self.records.get_mut(&waiting) else { continue };
                entry.waits_for -= 1;
                if entry.waits_for == 0 {
                    self.free.insert(waiting);
                }
            }
        }
    }

    /// Forgets the records that are not under way: they are admitted again when there is time for them. Gives the position
    /// of the first.
    pub fn forget_waiting(&mut self) -> Option<Position> {
        let first = self.records.iter().find(|(_, entry)| entry.item.is_some()).map(|(position, _)| *position);
        self.records.retain(|_, entry| {
            // Those under way share no series with each other: none of them waits.
            entry.awaited_by.clear();
            entry.item.is_none()
        });
        self.free.clear();
        first
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::*;
    use crate::order::DeliveryOrder;

    struct Delivery {
        window: Window<()>,
        order: DeliveryOrder,
    }

    impl Delivery {
        fn new() -> Self {
            Self { window: Window::new(), order: DeliveryOrder::new(std::sync::Arc::default()) }
        }

        fn admit(&mut self, position: Position, footprint: &[u32]) {
            let open = self.window.open();
            let predecessors = self.order.as_it_came(position, footprint.iter().copied(), open);
            self.window.admit(position, (), &predecessors);
        }

        fn take(&mut self) -> Vec<Position> {
            self.window.take_free(|()| true).into_iter().map(|(position, ())| position).collect()
        }
    }

    #[test]
    fn a_record_waits_for_the_last_one_of_each_of_its_series_and_for_no_other() {
        let mut delivery = Delivery::new();
        for (position, footprint) in [[1, 2], [3, 4], [2, 3], [5, 6], [1, 5]].iter().enumerate() {
            delivery.admit(position as Position, footprint);
        }
        assert_eq!(delivery.take(), [0, 1, 3]);
        delivery.window.settle([1]);
        assert!(!delivery.window.has_free(), "2 still waits for 0, and 4 for 0 and 3");
        delivery.window.settle([0]);
        assert_eq!(delivery.take(), [2]);
        delivery.window.settle([3]);
        assert_eq!(delivery.take(), [4]);
    }

    #[test]
    fn what_does_not_fit_stays_and_keeps_later_ones_behind_it() {
        let mut delivery = Delivery::new();
        (0..4).for_each(|position| delivery.admit(position, &[position as u32]));
        let mut asked = 0;
        let fitting = delivery.window.take_free(|()| {
            asked += 1;
            asked < 3
        });
        assert_eq!(fitting.len(), 2);
        assert_eq!(delivery.take(), [2, 3]);
    }

    #[test]
    fn what_is_forgotten_is_admitted_anew_and_waits_for_what_is_under_way() {
        let mut delivery = Delivery::new();
        delivery.admit(7, &[1]);
        assert_eq!(delivery.take(), [7]);
        delivery.admit(9, &[1]);
        delivery.admit(12, &[2]);
        assert_eq!(delivery.window.forget_waiting(), Some(9));
        delivery.admit(9, &[1]);
        assert!(delivery.take().is_empty());
        delivery.window.settle([7]);
        assert_eq!(delivery.take(), [9]);
    }

    #[test]
    fn a_record_that_only_others_could_read_does_not_break_the_chain() {
        let shared = std::sync::Arc::default();
        let delivery = || Delivery { window: Window::new(), order: DeliveryOrder::new(std::sync::Arc::clone(&shared)) };
        let (mut other, mut this) = (delivery(), delivery());
        (0..4).for_each(|position| other.admit(position, &[7]));
        this.admit(0, &[7]);
        // 1 is damaged here, so that 2 seems to wait for nothing.
        for position in [2, 3] {
            let found = this.order.as_it_came(position, [7].into_iter(), this.window.open());
            this.window.admit(position, (), &found.without_what_is_before(2));
        }
        assert_eq!(this.take(), [0]);
        this.window.settle([0]);
        assert_eq!(this.take(), [2]);
        assert!(this.take().is_empty(), "3 waits for 2");
    }

    #[test]
    fn positions_from_the_first_record_to_the_last_are_bounded() {
        let mut delivery = Delivery::new();
        assert!(delivery.window.has_room(1_000_000));
        delivery.admit(5, &[]);
        let most = MOST_RECORDS as Position;
        assert!(delivery.window.has_room(5 + most) && !delivery.window.has_room(6 + most));
        delivery.window.settle([5]);
        assert!(delivery.window.has_room(6 + most));
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// This delivery reads so many records.
        Read(usize, usize),
        Take(usize, usize),
        /// Settles one of those under way.
        Settle(usize, usize),
        /// Forgets what waits; it is read again.
        Forget(usize),
        /// Lets go of what it knows, as when its endpoint is down.
        Rest(usize),
    }

    const DELIVERIES: usize = 3;

    fn step() -> impl Strategy<Value = Step> {
        let which = || 0..DELIVERIES;
        prop_oneof![
            4 => (which(), 1_usize..4).prop_map(|(which, records)| Step::Read(which, records)),
            3 => (which(), 1_usize..4).prop_map(|(which, records)| Step::Take(which, records)),
            3 => (which(), 0_usize..8).prop_map(|(which, record)| Step::Settle(which, record)),
            1 => which().prop_map(Step::Forget),
            1 => which().prop_map(Step::Rest),
        ]
    }

    /// One delivery beside what a naive one would know.
    struct Observed {
        delivery: Delivery,
        next: usize,
        settled: BTreeSet<usize>,
        under_way: BTreeSet<usize>,
        /// Always read in order from the beginning, and never forgot or rested.
        is_plain: bool,
    }

    impl Observed {
        /// Those that share no series with an earlier one that is not settled, of what was read.
        fn may_go(&self, log: &[BTreeSet<u32>]) -> Vec<usize> {
            let open = || (0..self.next).filter(|record| !self.settled.contains(record));
            let is_free = |record: &usize| {
                open().take_while(|earlier| earlier < record).all(|earlier| log[earlier].is_disjoint(&log[*record]))
            };
            open().filter(|record| !self.under_way.contains(record)).filter(is_free).collect()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn none_overtakes_an_earlier_one_of_its_series_and_all_are_settled_in_the_end(
            log in vec(btree_set(0_u32..12, 0..4), 1..40),
            steps in vec(step(), 1..120),
            is_edited in vec(any::<bool>(), DELIVERIES),
            before in vec(vec(any::<bool>(), 40), DELIVERIES),
        ) {
            let shared = std::sync::Arc::default();
            let mut deliveries: Vec<Observed> = before.iter().map(|before| {
                let delivery = Delivery { window: Window::new(), order: DeliveryOrder::new(std::sync::Arc::clone(&shared)) };
                let mut observed =
                    Observed { delivery, next: log.len(), settled: BTreeSet::new(), under_way: BTreeSet::new(), is_plain: true };
                // What an earlier process has settled: nothing before what it waited for.
                for (record, was_settled) in before.iter().enumerate().take(log.len()) {
                    if *was_settled && observed.may_go(&log).contains(&record) {
                        observed.settled.insert(record);
                    }
                }
                Observed { next: 0, ..observed }
            }).collect();
            // In the end each reads, takes and settles until all is done.
            let rounds = (0..2 * log.len() + 2).flat_map(|_| (0..DELIVERIES).flat_map(|which| {
                [Step::Read(which, 4), Step::Take(which, 40)].into_iter().chain((0..8).map(move |_| Step::Settle(which, 0)))
            }));
            for step in steps.into_iter().chain(rounds) {
                let (Step::Read(which, _) | Step::Take(which, _) | Step::Settle(which, _) | Step::Forget(which) | Step::Rest(which)) = step;
                let observed = &mut deliveries[which];
                match step {
                    Step::Read(_, records) => for _ in 0..records.min(log.len() - observed.next) {
                        let record = observed.next;
                        observed.next += 1;
                        if observed.settled.contains(&record) || observed.under_way.contains(&record) {
                            continue;
                        }
                        let (position, footprint) = (record as Position, log[record].iter().copied().collect::<Vec<_>>());
                        let Delivery { window, order } = &mut observed.delivery;
                        let footprint = footprint.iter().copied();
                        let predecessors = if is_edited[which] {
                            order.edited(position, footprint, window.open())
                        } else {
                            order.as_it_came(position, footprint, window.open())
                        };
                        window.admit(position, (), &predecessors);
                    },
                    Step::Take(_, most) => {
                        let may_go = observed.may_go(&log);
                        let mut left = most;
                        let taken = observed.delivery.window.take_free(|()| {
                            left = left.saturating_sub(1);
                            left > 0 || most == 1
                        });
                        let taken: Vec<usize> = taken.into_iter().map(|(position, ())| position as usize).collect();
                        prop_assert!(taken.iter().all(|record| may_go.contains(record)), "{:?} of {:?}", taken, may_go);
                        if observed.is_plain && is_edited[which] {
                            prop_assert!(may_go.starts_with(&taken), "{:?} of {:?}", taken, may_go);
                            prop_assert_eq!(observed.delivery.window.has_free(), taken.len() < may_go.len());
                        }
                        observed.under_way.extend(taken);
                        let is_stuck = observed.under_way.is_empty() && !observed.delivery.window.is_empty();
                        prop_assert!(!is_stuck || observed.delivery.window.has_free(), "nothing to wait for");
                    }
                    Step::Settle(_, one) => {
                        let under_way: Vec<usize> = observed.under_way.iter().copied().collect();
                        if let Some(record) = under_way.get(one % under_way.len().max(1)) {
                            observed.under_way.remove(record);
                            observed.settled.insert(*record);
                            observed.delivery.window.settle([*record as Position]);
                        }
                    }
                    Step::Forget(_) => if let Some(first) = observed.delivery.window.forget_waiting() {
                        observed.next = first as usize;
                        observed.is_plain = false;
                    },
                    Step::Rest(_) => {
                        observed.delivery.order.rest();
                        observed.is_plain = false;
                    }
                }
            }
            for observed in &deliveries {
                prop_assert_eq!(observed.settled.len(), log.len());
            }
        }
    }
}
