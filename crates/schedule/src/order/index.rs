//! For each series hash the last record that touches it. Looked up once per series and record: the table has one word a
//! series, in the order of the hashes, so that a footprint, which is sorted, goes through it from front to back.

use std::cell::RefCell;
use std::ops::Range;

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
/// A larger table is not kept for the next use: 1 MiB.
const MOST_SPARE: usize = 128 * 1024;

thread_local! {
    /// Tables that are out of use. Fresh memory costs more than looking at it.
    static SPARE: RefCell<Vec<Vec<u64>>> = const { RefCell::new(Vec::new()) };
}
/// Tables kept by each thread.
const SPARE_TABLES: usize = 3;

impl Index {
    /// Whether so many more series find a place.
    pub(super) const fn has_room(&self, footprint: usize) -> bool {
        (self.used + footprint) * 2 <= self.slots.len()
    }

    /// How many series were last touched by one of `records`.
    pub(super) fn count(&self, records: Range<u64>) -> usize {
        self.slots.iter().filter(|slot| is_of(**slot, &records)).count()
    }

    /// Makes room for a footprint, and forgets what is not of `records`.
    pub(super) fn make_room(&mut self, footprint: usize, records: Range<u64>) {
        let kept: Vec<u64> = self.slots.iter().copied().filter(|slot| is_of(*slot, &records)).collect();
        let size = ((kept.len() + footprint) * 2 + footprint * 6).next_power_of_two();
        if self.slots.len() != size {
            // The old one first: both at once would be the most memory that is ever taken.
            *self = Self::default();
            self.slots = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
        }
        self.slots.clear();
        self.slots.resize(size, FREE);
        self.used = 0;
        kept.into_iter().for_each(|slot| self.put(slot));
    }

    fn put(&mut self, new: u64) {
        let mut at = self.home((new >> 32) as u32);
        while let Some(slot) = self.slots.get_mut(at) {
            if *slot == FREE {
                *slot = new;
                self.used += 1;
                return;
            }
            at = self.behind(at);
        }
    }

    /// Looks at the places of hashes that are to be replaced next, all at once: one after the other each would wait for memory.
    #[inline]
    pub(super) fn look_ahead(&self, hashes: &[u32]) {
        for hash in hashes {
            std::hint::black_box(self.slots.get(self.home(*hash)).copied());
        }
    }

    /// Makes a record the last one of a series; gives how much later than `first` the one was that is replaced, if it is one
    /// of `first..number`.
    #[inline]
    pub(super) fn replace(&mut self, hash: u32, number: u64, first: u64) -> Option<u64> {
        let new = u64::from(hash) << 32 | u64::from(number as u32 | IN_USE);
        let mut at = self.home(hash);
        while let Some(slot) = self.slots.get_mut(at) {
            let old = *slot;
            if old == FREE {
                *slot = new;
                self.used += 1;
                return None;
            }
            if (old >> 32) as u32 == hash {
                *slot = new;
                let since_first = since(first, old);
                return (since_first < number - first).then_some(since_first);
            }
            at = self.behind(at);
        }
        None
    }

    #[cfg(test)]
    pub(super) const fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Where a hash belongs: larger hashes farther behind.
    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.slots.len() as u64) >> 32) as usize
    }

    #[inline]
    const fn behind(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        if (1..=MOST_SPARE).contains(&self.slots.capacity()) {
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < SPARE_TABLES {
                    spare.push(std::mem::take(&mut self.slots));
                }
            });
        }
    }
}

fn is_of(slot: u64, records: &Range<u64>) -> bool {
    slot != FREE && since(records.start, slot) < records.end - records.start
}

/// How much later a slot's number is than `first`. Numbers wrap: one from long ago that seems to matter makes a record wait
/// for another without need, no more.
#[inline]
fn since(first: u64, slot: u64) -> u64 {
    u64::from((slot as u32).wrapping_sub(first as u32) & !IN_USE)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::collection::{btree_set, vec};
    use proptest::prelude::{any, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    proptest! {
        #[test]
        fn the_last_record_of_each_series_is_found_as_long_as_it_matters(
            footprints in vec(btree_set(prop_oneof![0_u32..20, any::<u32>(), u32::MAX - 5..=u32::MAX], 0..40), 1..60),
            ahead in 1_u64..70,
            before in prop_oneof![0_u64..3, u64::from(IN_USE) - 30..u64::from(IN_USE), (1 << 32) - 30..1_u64 << 32],
        ) {
            let (mut index, mut last) = (Index::default(), HashMap::new());
            for (number, footprint) in (before + 1..).zip(&footprints) {
                let first = number.saturating_sub(ahead).max(before + 1);
                if !index.has_room(footprint.len()) {
                    let known: HashSet<_> = last.iter().filter(|(_, last)| **last >= first).collect();
                    prop_assert_eq!(index.count(first..number), known.len());
                    index.make_room(footprint.len(), first..number);
                }
                for &hash in footprint {
                    let expected = last.insert(hash, number).filter(|&last| last >= first);
                    prop_assert_eq!(index.replace(hash, number, first).map(|since| first + since), expected);
                }
            }
        }
    }

    #[test]
    fn a_table_that_is_used_again_knows_nothing_of_its_former_use() {
        for hashes in [1_000, 2_000, 500, 100_000, 10] {
            let mut index = Index::default();
            index.make_room(hashes, 0..0);
            let spread = u32::MAX / hashes as u32;
            (0..hashes as u32).for_each(|hash| assert_eq!(index.replace(hash * spread, 1, 1), None));
        }
        SPARE.with_borrow(|spare| {
            assert!(!spare.is_empty() && spare.len() <= SPARE_TABLES);
            assert!(spare.iter().all(|table| table.capacity() <= MOST_SPARE));
        });
    }
}
