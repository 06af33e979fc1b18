//! For each series hash the last record that touches it. Looked up once per series, record and endpoint: the table has one
//! word a series, in the order of the hashes, so that a footprint, which is sorted, goes through it from front to back.

/// Records by series. A record is known by its number; those before the oldest that matters count as absent, and are never
/// taken out one by one.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Hash in the high half, the number in the low one as far as it fits behind [`IN_USE`]; open addressing.
    slots: Vec<u64>,
    /// Slots that are not [`FREE`], those of records that do not matter any more among them.
    used: usize,
}

const FREE: u64 = 0;
const IN_USE: u32 = 1 << 31;
/// The table of a window that is empty is kept for the next record up to this size, in slots.
const KEPT_SLOTS: usize = 4096;

impl Index {
    /// Makes room for a footprint; `known` hashes at most are of records that matter, from `first` on.
    pub(super) fn reserve(&mut self, footprint: usize, known: usize, first: u64) {
        if (self.used + footprint) * 2 <= self.slots.len() {
            return;
        }
        let slots = ((known + footprint) * 3).next_power_of_two();
        let old = std::mem::replace(&mut self.slots, vec![FREE; slots]);
        self.used = 0;
        for slot in old {
            if slot != FREE && since(first, slot) < MOST_AHEAD {
                self.put(slot);
            }
        }
    }

    fn put(&mut self, slot: u64) {
        let mut at = self.home((slot >> 32) as u32);
        while let Some(place) = self.slots.get_mut(at) {
            if *place == FREE {
                *place = slot;
                self.used += 1;
                return;
            }
            at = self.behind(at);
        }
    }

    /// Makes a record the last one of a series; gives the number of the one that was, if it is one of `first..number`.
    #[inline]
    pub(super) fn replace(&mut self, hash: u32, number: u64, first: u64) -> Option<u64> {
        let new = u64::from(hash) << 32 | u64::from(number as u32 | IN_USE);
        let mut at = self.home(hash);
        while let Some(place) = self.slots.get_mut(at) {
            if *place == FREE {
                *place = new;
                self.used += 1;
                return None;
            }
            if (*place >> 32) as u32 == hash {
                let since_first = since(first, *place);
                *place = new;
                return (since_first < number - first).then_some(first + since_first);
            }
            at = self.behind(at);
        }
        None
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        if self.slots.len() > KEPT_SLOTS {
            self.slots = Vec::new();
        }
        self.slots.fill(FREE);
        self.used = 0;
    }

    /// Where a hash belongs: larger hashes farther behind.
    #[inline]
    fn home(&self, hash: u32) -> usize {
        (u64::from(hash) * self.slots.len() as u64 >> 32) as usize
    }

    #[inline]
    fn behind(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }
}

/// How much later a slot's number is than `first`. Numbers wrap: one from long ago that seems to matter makes a record wait
/// for another without need, no more.
#[inline]
fn since(first: u64, slot: u64) -> u64 {
    u64::from((slot as u32).wrapping_sub(first as u32) & !IN_USE)
}

/// More than a window holds.
const MOST_AHEAD: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::{btree_set, vec};
    use proptest::prelude::{any, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    proptest! {
        #[test]
        fn the_last_record_of_each_series_is_found_as_long_as_it_matters(
            footprints in vec(btree_set(prop_oneof![0_u32..20, any::<u32>(), u32::MAX - 5..=u32::MAX], 0..40), 1..60),
            ahead in 1_usize..10,
            before in prop_oneof![0_u64..3, u64::from(IN_USE) - 30..u64::from(IN_USE), (1 << 32) - 30..1_u64 << 32],
        ) {
            let (mut index, mut last) = (Index::default(), HashMap::new());
            for (count, footprint) in footprints.iter().enumerate() {
                let number = before + 1 + count as u64;
                let first = number.saturating_sub(ahead as u64).max(before + 1);
                let known = &footprints[count.saturating_sub(ahead)..count];
                index.reserve(footprint.len(), known.iter().map(|known| known.len()).sum(), first);
                for &hash in footprint {
                    let expected = last.insert(hash, number).filter(|&last| last >= first);
                    prop_assert_eq!(index.replace(hash, number, first), expected);
                }
            }
        }
    }

    #[test]
    fn an_index_that_is_cleared_knows_nothing_and_keeps_little() {
        let mut index = Index::default();
        index.reserve(100_000, 0, 1);
        (0..100_000).for_each(|hash| assert_eq!(index.replace(hash * 42_949, 1, 1), None));
        index.clear();
        assert!(index.slots.len() <= KEPT_SLOTS);
        index.reserve(1, 0, 1);
        assert_eq!(index.replace(42_949, 2, 1), None);
    }
}
