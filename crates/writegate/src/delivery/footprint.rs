//! Which series a batch touches: two records may be merged, or fly together, when their footprints are disjoint.

/// A set of series hashes that is emptied in constant time.
#[derive(Debug)]
pub(super) struct Footprint {
    /// Open addressing; a slot holds a generation (high half) and a hash (low half).
    slots: Box<[u64]>,
    generation: u32,
    len: usize,
}

/// Enough for a batch of 10,000 series at half load.
const SLOTS: usize = 32 * 1024;

impl Footprint {
    pub(super) fn new() -> Self {
        Self { slots: vec![0; SLOTS].into_boxed_slice(), generation: 1, len: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            // The marks of four billion uses ago would be valid again.
            self.slots.fill(0);
            self.generation = 1;
        }
    }

    /// Adds hashes. False if one was there already: the set is then spoilt and must be cleared. A set that is half
    /// full takes no more, which costs a smaller batch.
    pub(super) fn add(&mut self, hashes: impl ExactSizeIterator<Item = u32>) -> bool {
        if self.len + hashes.len() > self.slots.len() / 2 {
            return false;
        }
        self.len += hashes.len();
        hashes.into_iter().all(|hash| self.insert(hash))
    }

    fn insert(&mut self, hash: u32) -> bool {
        let mark = (u64::from(self.generation) << 32) | u64::from(hash);
        let mask = self.slots.len() - 1;
        let mut index = hash as usize & mask;
        loop {
            let slot = &mut self.slots[index];
            if *slot == mark {
                return false;
            }
            if (*slot >> 32) != u64::from(self.generation) {
                *slot = mark;
                return true;
            }
            index = (index + 1) & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_common_series_makes_footprints_overlap() {
        let mut footprint = Footprint::new();
        assert!(footprint.add([1, 2, 3].into_iter()));
        // The same slot, another series.
        assert!(footprint.add([1 + 32 * 1024].into_iter()));
        assert!(!footprint.add([7, 3].into_iter()));
    }

    #[test]
    fn a_cleared_set_has_forgotten_everything_even_after_the_generation_wrapped() {
        let mut footprint = Footprint::new();
        footprint.add([5].into_iter());
        footprint.generation = u32::MAX;
        footprint.add([5].into_iter());
        footprint.clear();
        assert!(footprint.add([5].into_iter()));
    }

    #[test]
    fn a_set_that_is_half_full_takes_no_more() {
        let mut footprint = Footprint::new();
        assert!(footprint.add(0..16_000));
        assert!(!footprint.add(20_000..21_000));
    }
}
