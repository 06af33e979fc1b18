//! Random histories against a naive model: puts, both steps of leaving, removals, evictions, faults, power cuts, restarts.
//!
//! Claims: what was acknowledged is there, whole, under its id; a put or mark that failed changed nothing, unless the power
//! goes before another call succeeds; totals are the sums over the list; every index finds the same letters; ids rise for ever.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use dead_letters::testing::Operation;
use dead_letters::{Filter, Id, Leaving, Letter};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};

use crate::rig::{Rig, ids, letter};

const TENANTS: [&str; 3] = ["a", "b", "ab"];
const ENDPOINTS: [&str; 2] = ["x", "y"];

#[derive(Clone, Debug)]
enum Action {
    /// Puts letters of these rows and sizes.
    Put(Vec<(usize, usize)>),
    /// Marks the letters whose bit is set, counted from the oldest.
    Begin(u64),
    Finish(u64),
    Cancel(u64),
    /// Of a row, the positions whose bit is set are settled.
    RemoveUnsettled(usize, u64),
    Evict(u8),
    /// One operation fails.
    Fail(Operation, u8, bool),
    /// The power goes after so many operations and, at the end of the next action, comes back.
    Crash(u8, u64),
    Reopen,
}

fn action() -> impl Strategy<Value = Action> {
    let operation =
        prop_oneof![Just(Operation::Read), Just(Operation::Write), Just(Operation::Sync), Just(Operation::SetSize)];
    prop_oneof![
        6 => vec((0usize..6, prop_oneof![0usize..200, 3_000usize..30_000]), 1..5).prop_map(Action::Put),
        3 => any::<u64>().prop_map(Action::Begin),
        2 => any::<u64>().prop_map(Action::Finish),
        2 => any::<u64>().prop_map(Action::Cancel),
        2 => (0usize..6, any::<u64>()).prop_map(|(row, bits)| Action::RemoveUnsettled(row, bits)),
        1 => any::<u8>().prop_map(Action::Evict),
        3 => (operation, 0u8..30, any::<bool>()).prop_map(|(operation, after, full)| Action::Fail(operation, after, full)),
        3 => (0u8..40, any::<u64>()).prop_map(|(after, seed)| Action::Crash(after, seed)),
        1 => Just(Action::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 5_000, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_what_a_map_would_be_whatever_happens(actions in vec(action(), 1..40)) {
        let mut world = World { rig: Rig::new(), kept: BTreeMap::new(), doubts: Vec::new(), next: 0, last_id: 0, power: None };
        for action in actions {
            world.run(&action);
        }
        world.check();
    }
}

type Kept = BTreeMap<Id, (Letter, Option<Leaving>)>;

struct World {
    rig: Rig,
    kept: Kept,
    /// What may be there instead if the power goes: calls that failed may have been done, until one succeeds.
    doubts: Vec<Kept>,
    /// Tells letters apart; also their position.
    next: u64,
    last_id: Id,
    /// The seed of a power cut that is due.
    power: Option<u64>,
}

impl World {
    fn run(&mut self, action: &Action) {
        match action {
            Action::Fail(operation, after, full) => {
                let kind = if *full { ErrorKind::StorageFull } else { ErrorKind::Other };
                return self.rig.storage.fail(*operation, u64::from(*after), 1, kind);
            }
            Action::Crash(after, seed) => {
                self.rig.storage.cut_power_after(u64::from(*after));
                self.power = Some(*seed);
                return;
            }
            Action::Reopen if self.power.is_none() => {
                self.rig.storage.clear_faults();
                self.rig.reopen();
                self.doubts.clear();
            }
            other => self.change(other),
        }
        if let Some(seed) = self.power.take() {
            self.rig.power_cut(seed);
            self.take_what_is_there();
            self.doubts.clear();
        }
        self.check();
    }

    /// Does something to the store and to the map.
    fn change(&mut self, action: &Action) {
        let mut after = self.kept.clone();
        let done = match action {
            Action::Put(rows) => self.put(rows, &mut after),
            Action::Begin(bits) => {
                let chosen = self.chosen(*bits);
                mark(&mut after, &chosen, Leaving::Dropped);
                let marked = self.rig.store().begin_leaving(&chosen, Leaving::Dropped);
                marked
                    .map(|marked| marked.iter().for_each(|summary| assert!(self.kept[&summary.id].1.is_none())))
                    .is_ok()
            }
            Action::Finish(bits) => {
                let chosen = self.chosen(*bits);
                after.retain(|id, (_, leaving)| leaving.is_none() || !chosen.contains(id));
                self.rig.store().finish_leaving(&chosen).is_ok()
            }
            Action::Cancel(bits) => {
                let chosen = self.chosen(*bits);
                after.iter_mut().filter(|(id, _)| chosen.contains(id)).for_each(|(_, (_, leaving))| *leaving = None);
                self.rig.store().cancel_leaving(&chosen).is_ok()
            }
            Action::RemoveUnsettled(row, bits) => {
                let (tenant, endpoint) = (TENANTS[row % 3], ENDPOINTS[row / 3]);
                let is_settled = |position: u64| bits >> (position % 64) & 1 == 1;
                after.retain(|_, (letter, _)| {
                    let envelope = &letter.envelope;
                    envelope.tenant != tenant || envelope.endpoint != endpoint || is_settled(envelope.position)
                });
                self.rig.store().remove_unsettled(tenant, endpoint, 0, &mut { is_settled }).is_ok()
            }
            Action::Evict(share) => self.evict(*share, &mut after),
            Action::Fail(..) | Action::Crash(..) | Action::Reopen => return,
        };
        if done {
            self.kept = after;
            self.doubts.clear();
            return;
        }
        // What adds to the store is undone; what only takes away may be repeated, and may be done already.
        let is_undone = matches!(action, Action::Put(_) | Action::Begin(_) | Action::Evict(_));
        self.doubts.push(after);
        if self.power.is_none() && !is_undone {
            self.doubts.push(self.kept.clone());
            self.rig.storage.clear_faults();
            self.take_what_is_there();
        }
    }

    fn put(&mut self, rows: &[(usize, usize)], after: &mut Kept) -> bool {
        let letters: Vec<Letter> = rows
            .iter()
            .map(|(row, bytes)| {
                self.next += 1;
                letter(self.next, TENANTS[row % 3], ENDPOINTS[row / 3], *bytes)
            })
            .collect();
        let put = self.rig.store().put(&letters);
        let ids = put.as_ref().map_or_else(|_| (self.last_id + 1..).take(letters.len()).collect(), Clone::clone);
        assert!(ids[0] > self.last_id, "an id was used twice");
        after.extend(ids.iter().copied().zip(letters.into_iter().map(|letter| (letter, None))));
        if put.is_ok() {
            self.last_id = ids[ids.len() - 1];
        }
        put.is_ok()
    }

    fn evict(&mut self, share: u8, after: &mut Kept) -> bool {
        let store = self.rig.store();
        store.set_max_bytes(store.bytes() * u64::from(share) / 256);
        let over = store.over(usize::MAX);
        store.set_max_bytes(u64::MAX);
        let Ok(over) = over else { return false };
        let over = ids(&over);
        assert!(
            self.kept
                .iter()
                .filter(|(_, (_, leaving))| leaving.is_none())
                .map(|(id, _)| id)
                .zip(&over)
                .all(|(a, b)| a == b)
        );
        mark(after, &over, Leaving::Evicted);
        self.rig.store().begin_leaving(&over, Leaving::Evicted).is_ok()
    }

    /// Each call that failed was done or not; nothing between.
    fn take_what_is_there(&mut self) {
        let marked: BTreeMap<Id, Leaving> = self.rig.marked().into_iter().collect();
        let ids = self.rig.ids().into_iter().chain(marked.keys().copied());
        let store = self.rig.store();
        let seen: Kept = ids.map(|id| (id, (store.get(id).unwrap().unwrap(), marked.get(&id).copied()))).collect();
        // Which ids a put would have got that failed is not known.
        let key = |id: &Id| (*id).min(self.last_id + 1);
        let same = |kept: &Kept| {
            kept.iter().map(|(id, kept)| (key(id), kept)).eq(seen.iter().map(|(id, kept)| (key(id), kept)))
        };
        assert!(same(&self.kept) || self.doubts.iter().any(same), "{:?} {marked:?}", seen.keys());
        self.last_id = seen.keys().next_back().copied().unwrap_or(0).max(self.last_id);
        self.kept = seen;
    }

    fn chosen(&self, bits: u64) -> Vec<Id> {
        (0u32..64).zip(self.kept.keys()).filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, id)| *id).collect()
    }

    fn check(&mut self) {
        self.rig.storage.clear_faults();
        self.rig.assert_summed_up();
        let store = self.rig.store();
        let marked: Vec<_> = self.kept.iter().filter_map(|(id, (_, leaving))| leaving.map(|to| (*id, to))).collect();
        assert_eq!(self.rig.marked(), marked);
        for tenant in [None, Some("a"), Some("b"), Some("ab")] {
            for endpoint in [None, Some("x"), Some("y")] {
                let filter = Filter { tenant: tenant.map(str::to_owned), endpoint: endpoint.map(str::to_owned) };
                let expected = self.kept.iter().filter(|(_, (letter, leaving))| {
                    let envelope = &letter.envelope;
                    leaving.is_none()
                        && tenant.is_none_or(|tenant| envelope.tenant == tenant)
                        && endpoint.is_none_or(|endpoint| envelope.endpoint == endpoint)
                });
                let expected: Vec<Id> = expected.map(|(id, _)| *id).collect();
                assert_eq!(ids(&store.list(&filter, None, usize::MAX).unwrap()), expected, "{filter:?}");
            }
        }
        for (id, (letter, _)) in &self.kept {
            assert!(store.get(*id).unwrap().as_ref() == Some(letter), "{id}");
        }
        assert!(store.take_set_aside().is_empty());
    }
}

fn mark(kept: &mut Kept, ids: &[Id], to: Leaving) {
    for (_, (_, leaving)) in kept.iter_mut().filter(|(id, _)| ids.contains(id)) {
        leaving.get_or_insert(to);
    }
}
