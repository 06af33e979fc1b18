//! What is settled above a cursor's low-water mark: disjoint ranges of positions, each with the sum of its records'
//! counts. Knows no file and no totals.

use crate::{Counts, Position, counts};

/// A cursor starts nothing newer while it has this many ranges.
pub(crate) const FULL: usize = 1024;
/// No more than this are kept: what was in flight when [`FULL`] was reached may still be settled.
const MOST: usize = 2 * FULL;
/// Most bytes of the encoding, and where [`Ranges::is_full`] begins.
pub(crate) const MOST_BYTES: usize = 12 << 10;
const FULL_BYTES: usize = 8 << 10;

/// Positions from `start` up to, not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: Position,
    pub(crate) end: Position,
    pub(crate) counts: Counts,
}

/// Everything settled: all below `low`, and the ranges above it, rising, disjoint and not touching each other or `low`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    low: Position,
    above: Vec<Range>,
}

impl Ranges {
    pub(crate) fn new(low: Position) -> Self {
        Self { low, above: Vec::new() }
    }

    pub(crate) fn low(&self) -> Position {
        self.low
    }

    /// Behind the highest settled position.
    pub(crate) fn end(&self) -> Position {
        self.above.last().map_or(self.low, |range| range.end)
    }

    pub(crate) fn contains(&self, position: Position) -> bool {
        if position < self.low {
            return true;
        }
        let after = self.above.partition_point(|range| range.start <= position);
        after > 0 && position < self.above[after - 1].end
    }

    /// Whether all of `from..to` is settled; `from` is not below `low`.
    pub(crate) fn covers(&self, from: Position, to: Position) -> bool {
        self.touching(from, to).iter().any(|range| range.start <= from && range.end >= to)
    }

    /// How many positions are settled.
    pub(crate) fn total_len(&self) -> u64 {
        self.above.iter().fold(self.low, |sum, range| sum + (range.end - range.start))
    }

    /// The sum of the counts of all ranges above `low`.
    pub(crate) fn counts_above(&self) -> Counts {
        self.above.iter().fold([0; 3], |sum, range| counts::add(sum, range.counts))
    }

    /// The ranges above `low` that reach beyond a position.
    pub(crate) fn beyond(&self, position: Position) -> &[Range] {
        &self.above[self.above.partition_point(|range| range.end <= position)..]
    }

    pub(crate) fn is_full(&self) -> bool {
        self.above.len() >= FULL || (self.above.len() >= FULL / 8 && self.encoded_len() >= FULL_BYTES)
    }

    /// Whether the encoding fits its reserved space.
    pub(crate) fn fits(&self) -> bool {
        // A range takes at most 50 bytes, so that a few need not be added up.
        self.above.len() <= MOST && (self.above.len() < MOST_BYTES / 50 || self.encoded_len() <= MOST_BYTES)
    }

    /// Adds one position; `false` if it is settled already.
    pub(crate) fn insert(&mut self, position: Position, counts: Counts) -> bool {
        if self.contains(position) {
            return false;
        }
        self.cover(Range { start: position, end: position + 1, counts });
        true
    }

    /// The ranges that overlap or touch `from..to`.
    pub(crate) fn touching(&self, from: Position, to: Position) -> &[Range] {
        let first = self.above.partition_point(|range| range.end < from);
        let last = self.above.partition_point(|range| range.start <= to);
        &self.above[first..last.max(first)]
    }

    /// Makes a range settled. Those it touches must lie within it or be adjacent; overlapped ones are replaced, adjacent
    /// ones merged.
    pub(crate) fn cover(&mut self, mut new: Range) {
        let first = self.above.partition_point(|range| range.end < new.start);
        let mut last = first;
        while let Some(range) = self.above.get(last).filter(|range| range.start <= new.end) {
            if range.end == new.start || range.start == new.end {
                new.counts = counts::add(new.counts, range.counts);
            }
            new.start = new.start.min(range.start);
            new.end = new.end.max(range.end);
            last += 1;
        }
        if new.start <= self.low {
            self.low = self.low.max(new.end);
            self.above.drain(..last);
        } else {
            self.above.splice(first..last, [new]);
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.low);
        put_varint(out, self.above.len() as u64);
        let mut previous = self.low;
        for range in &self.above {
            put_varint(out, range.start - previous);
            put_varint(out, range.end - range.start);
            for n in range.counts {
                put_varint(out, n);
            }
            previous = range.end;
        }
    }

    pub(crate) fn decode(rest: &mut &[u8]) -> Option<Self> {
        let mut ranges = Self::new(take_varint(rest)?);
        let number = usize::try_from(take_varint(rest)?).ok().filter(|number| *number <= MOST)?;
        let mut previous = ranges.low;
        for _ in 0..number {
            let start = previous.checked_add(take_varint(rest)?)?;
            let end = start.checked_add(take_varint(rest)?)?;
            let counts = [take_varint(rest)?, take_varint(rest)?, take_varint(rest)?];
            ranges.above.push(Range { start, end, counts });
            previous = end;
        }
        Some(ranges)
    }

    fn encoded_len(&self) -> usize {
        let mut previous = self.low;
        let mut bytes = 0;
        for range in &self.above {
            bytes += varint_len(range.start - previous) + varint_len(range.end - range.start);
            bytes += range.counts.iter().map(|n| varint_len(*n)).sum::<usize>();
            previous = range.end;
        }
        bytes
    }
}

/// Appends an LEB128 varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes an LEB128 varint of at most ten bytes off the front.
pub(crate) fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn ranges_are_the_set_of_what_was_inserted(start in 0u64..3, positions in vec(0u64..60, 0..60)) {
            let mut ranges = Ranges::new(start);
            let mut set = BTreeSet::new();
            for position in positions {
                prop_assert_eq!(ranges.insert(position, [position, 1, 0]), position >= start && set.insert(position));
            }
            for position in 0..62 {
                prop_assert_eq!(ranges.contains(position), position < start || set.contains(&position));
            }
            let above = set.iter().filter(|p| **p >= ranges.low());
            prop_assert_eq!(ranges.counts_above(), above.fold([0; 3], |sum, p| counts::add(sum, [*p, 1, 0])));
            let mut bytes = Vec::new();
            ranges.encode(&mut bytes);
            prop_assert_eq!(Ranges::decode(&mut bytes.as_slice()), Some(ranges));
        }

        #[test]
        fn varints_read_back_and_have_the_length_foreseen(value in proptest::num::u64::ANY, shift in 0u32..64) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value >> shift);
            prop_assert_eq!(bytes.len(), varint_len(value >> shift));
            prop_assert_eq!(take_varint(&mut bytes.as_slice()), Some(value >> shift));
        }
    }

    #[test]
    fn covering_replaces_what_it_overlaps_and_merges_what_it_meets() {
        let mut ranges = Ranges::new(0);
        for position in [3, 5, 7, 9] {
            assert!(ranges.insert(position, [1, 0, 0]));
        }
        assert_eq!(ranges.touching(4, 7).iter().map(|r| r.start).collect::<Vec<_>>(), [3, 5, 7]);
        // 4 to 6, with 5 in it: 3 and 7 are adjacent and keep their counts.
        ranges.cover(Range { start: 4, end: 7, counts: [3, 0, 0] });
        assert_eq!(ranges.touching(0, 9)[0], Range { start: 3, end: 8, counts: [5, 0, 0] });
        ranges.cover(Range { start: 0, end: 3, counts: [3, 0, 0] });
        assert_eq!((ranges.low(), ranges.counts_above()), (8, [1, 0, 0]));
    }

    #[test]
    fn at_1024_ranges_nothing_newer_is_to_be_started() {
        let mut ranges = Ranges::new(0);
        for i in 0..1024 {
            assert!(!ranges.is_full());
            assert!(ranges.insert(2 * i + 1, [1, 1, 1]));
        }
        assert!(ranges.is_full() && ranges.fits());
        for i in 1024..2049 {
            assert!(ranges.fits());
            assert!(ranges.insert(2 * i + 1, [1, 1, 1]));
        }
        assert!(!ranges.fits());
        assert!(ranges.insert(0, [1, 1, 1]) && ranges.fits());
    }
}
