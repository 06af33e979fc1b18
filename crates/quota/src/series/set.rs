//! A set of 32-bit hashes: open addressing with linear probing, four bytes a place, three quarters of which are in use at most.

/// The least places of a table.
const LEAST_PLACES: usize = 8;
/// The mark of a free place; as a hash it is taken for 1.
const FREE: u32 = 0;

#[derive(Debug)]
pub(super) struct HashSet {
    /// More than there are hashes: every search ends at a free one.
    places: Box<[u32]>,
    len: usize,
    /// Spreads the hashes over the places. Odd, and unknown to who chooses the series: otherwise one could choose many that
    /// begin at the same place.
    factor: u64,
}

impl HashSet {
    pub(super) fn new(seed: u64) -> Self {
        Self { places: free_places(LEAST_PLACES), len: 0, factor: factor(seed) }
    }

    /// An empty one with room for as many as this one has.
    pub(super) fn empty_of_same_size(&self) -> Self {
        Self { places: free_places(places_for(self.len)), len: 0, factor: self.factor }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.places.iter().copied().filter(|hash| *hash != FREE)
    }

    #[inline]
    pub(super) fn contains(&self, hash: u32) -> bool {
        self.places[self.find(hash.max(1))] != FREE
    }

    /// Adds a hash. The table grows if it must, but as long as there are no more than `expected`, to no more than these need.
    pub(super) fn insert(&mut self, hash: u32, expected: usize) {
        let hash = hash.max(1);
        if places_for(self.len + 1) > self.places.len() {
            self.grow(expected);
        }
        let place = self.find(hash);
        self.len += usize::from(self.places[place] == FREE);
        self.places[place] = hash;
    }

    /// The place of a hash, or the free one where it would be.
    #[inline]
    fn find(&self, hash: u32) -> usize {
        let spread = u64::from(hash).wrapping_mul(self.factor) >> 32;
        // The upper half of a product: below the number of places, without a division.
        let mut place = ((spread * self.places.len() as u64) >> 32) as usize;
        loop {
            let found = self.places[place];
            if found == hash || found == FREE {
                return place;
            }
            place += 1;
            if place == self.places.len() {
                place = 0;
            }
        }
    }

    #[cold]
    fn grow(&mut self, expected: usize) {
        let (twice, enough) = (self.places.len() * 2, places_for(expected));
        let places = if enough > self.places.len() { twice.min(enough) } else { twice };
        let old = std::mem::replace(&mut self.places, free_places(places));
        for hash in old.into_iter().filter(|hash| *hash != FREE) {
            let place = self.find(hash);
            self.places[place] = hash;
        }
    }

    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.places)
    }
}

/// An odd number with bits everywhere, whatever the seed (the end of `SplitMix64`).
const fn factor(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) | 1
}

/// How many places so many hashes need.
fn places_for(hashes: usize) -> usize {
    hashes.saturating_mul(4).div_ceil(3).max(LEAST_PLACES)
}

fn free_places(count: usize) -> Box<[u32]> {
    vec![FREE; count].into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most places that a search in this set looks at.
    fn longest_search(set: &HashSet) -> usize {
        let (mut longest, mut run) = (0, 0);
        for hash in set.places.iter().chain(&set.places) {
            run = if *hash == FREE { 0 } else { run + 1 };
            longest = longest.max(run);
        }
        longest
    }

    #[test]
    fn hashes_that_begin_alike_are_spread_by_the_seed() {
        for step in [1_u32, 1 << 16, 0x9e37_79b9] {
            for seed in 0..8 {
                let mut set = HashSet::new(seed);
                (0..20_000).for_each(|n: u32| set.insert(n.wrapping_mul(step), 20_000));
                assert!(longest_search(&set) < 1000, "{step}, {seed}: {}", longest_search(&set));
            }
        }
    }

    #[test]
    fn it_grows_to_what_is_expected_and_beyond_it_by_doubling() {
        let mut set = HashSet::new(5);
        (1..=900).for_each(|hash| set.insert(hash * 7919, 900));
        assert_eq!(set.memory_bytes(), 900 * 4 / 3 * 4);
        (1..=1000).for_each(|hash| set.insert(hash * 7919, 900));
        assert_eq!((set.memory_bytes(), set.len()), (900 * 4 / 3 * 4 * 2, 1000));
        assert!((1..=1000).all(|hash| set.contains(hash * 7919)));
        assert!(!set.contains(3));
        assert_eq!(set.iter().count(), 1000);
    }
}
