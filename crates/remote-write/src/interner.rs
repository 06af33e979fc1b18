//! The symbol table of a v2 request while it is written: each string once, in the order of its first use.
//! It grows by interning only; [`crate::encode::V2Encoder`] puts it in front of the series.

use std::hash::{BuildHasher, RandomState};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::wire::{WireType, put_tag, put_varint};

/// Field of `Request` that holds a symbol.
const SYMBOLS: u32 = 4;

/// Slots of an empty table; at most half of a table's slots are taken.
const MIN_SLOTS: usize = 1024;

/// Strings by reference and references by string. Reference 0 is always the empty string (remote write 2.0, "Symbols").
#[derive(Debug)]
pub(crate) struct Interner {
    /// As on the wire: every symbol with its tag and length.
    encoded: Vec<u8>,
    /// Where each symbol's bytes are in `encoded`: start and end.
    bounds: Vec<(usize, usize)>,
    /// Open addressing with linear probing; a power of two.
    slots: Vec<Slot>,
    /// Counts how often strings were forgotten: references are good for one epoch.
    epoch: u64,
    /// Senders choose the strings: without a secret they could choose them to collide.
    seed: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// The low half of the hash, to compare before the bytes are.
    hash: u32,
    /// 0: the slot is free, since the empty string is never looked up.
    reference: u32,
}

impl Interner {
    pub(crate) fn new() -> Self {
        let seed = RandomState::new().hash_one(0);
        let slots = vec![Slot::default(); MIN_SLOTS];
        let mut symbols = Self { encoded: Vec::new(), bounds: Vec::new(), slots, epoch: 0, seed };
        symbols.append(b"");
        symbols
    }

    /// Forgets all strings. The slots shrink towards what the last request needed, so that one large request does not
    /// make every later one pay for clearing them.
    pub(crate) fn clear(&mut self) {
        let wanted = (self.bounds.len() * 2).next_power_of_two().max(MIN_SLOTS);
        if self.slots.len() > wanted * 4 {
            self.slots.truncate(wanted);
            self.slots.shrink_to_fit();
            self.bounds.shrink_to(wanted);
            self.encoded.shrink_to(self.encoded.len());
        }
        self.epoch += 1;
        self.slots.fill(Slot::default());
        self.encoded.clear();
        self.bounds.clear();
        self.append(b"");
    }

    /// All symbols as fields of the request.
    pub(crate) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// How many there are, the empty one included.
    pub(crate) fn len(&self) -> usize {
        self.bounds.len()
    }

    /// Changes whenever a reference may have lost its meaning.
    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The reference of `text`. If `hint` is a reference to the same text, as it often is to the text at the same place
    /// of the series before, nothing is hashed; any other hint is harmless.
    #[inline]
    pub(crate) fn intern(&mut self, hint: u32, text: &[u8]) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if self.get(hint) == Some(text) {
            return hint;
        }
        self.find_or_append(text)
    }

    /// Forgets the symbols from reference `len` on. The empty one stays.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.epoch += 1;
        // Last in, first out: what is looked up past a slot was put there after it, so the slot can be freed.
        while self.bounds.len() > len.max(1) {
            let reference = self.bounds.len() - 1;
            if let Some(text) = u32::try_from(reference).ok().and_then(|reference| self.get(reference)) {
                let (index, _) = self.probe(text);
                self.slots[index] = Slot::default();
            }
            let before = self.bounds.len() - 2;
            self.encoded.truncate(self.bounds[before].1);
            self.bounds.pop();
        }
    }

    fn get(&self, reference: u32) -> Option<&[u8]> {
        let &(start, end) = self.bounds.get(reference as usize)?;
        self.encoded.get(start..end)
    }

    fn find_or_append(&mut self, text: &[u8]) -> u32 {
        let (index, hash) = self.probe(text);
        let found = self.slots[index].reference;
        if found != 0 {
            return found;
        }
        // A request of 4 GiB would be needed for more references than a u32 can tell apart.
        let reference = u32::try_from(self.bounds.len()).unwrap_or(u32::MAX);
        self.slots[index] = Slot { hash, reference };
        self.append(text);
        if self.bounds.len() * 2 > self.slots.len() {
            self.grow();
        }
        reference
    }

    /// The slot of `text`, or the free one where it belongs, and the low half of its hash.
    fn probe(&self, text: &[u8]) -> (usize, u32) {
        let hash = xxh3_64_with_seed(text, self.seed);
        let [low, high] = [hash & u64::from(u32::MAX), hash >> 32].map(|half| u32::try_from(half).unwrap_or_default());
        let mask = self.slots.len() - 1;
        let mut index = high as usize & mask;
        loop {
            let slot = self.slots[index];
            if slot.reference == 0 || (slot.hash == low && self.get(slot.reference) == Some(text)) {
                return (index, low);
            }
            index = (index + 1) & mask;
        }
    }

    /// In the order of the references, which [`Self::truncate`] relies on.
    fn grow(&mut self) {
        let slots = self.slots.len() * 2;
        self.slots.clear();
        self.slots.resize(slots, Slot::default());
        for reference in 1..u32::try_from(self.bounds.len()).unwrap_or(u32::MAX) {
            let Some(text) = self.get(reference) else { break };
            let (index, hash) = self.probe(text);
            self.slots[index] = Slot { hash, reference };
        }
    }

    fn append(&mut self, text: &[u8]) {
        put_tag(&mut self.encoded, SYMBOLS, WireType::Len);
        put_varint(&mut self.encoded, text.len() as u64);
        let start = self.encoded.len();
        self.encoded.extend_from_slice(text);
        self.bounds.push((start, self.encoded.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::Interner;

    fn name(number: usize) -> Vec<u8> {
        format!("symbol_{number}").into_bytes()
    }

    #[test]
    fn equal_strings_share_a_reference_whatever_the_hint() {
        let mut symbols = Interner::new();
        assert_eq!(symbols.intern(7, b""), 0);
        let [job, instance] = [symbols.intern(0, b"job"), symbols.intern(0, b"instance")];
        assert_eq!((job, instance), (1, 2));
        for hint in [0, job, instance, u32::MAX] {
            assert_eq!(symbols.intern(hint, b"job"), job);
        }
        assert_eq!(symbols.encoded(), b"\x22\x00\x22\x03job\x22\x08instance");
    }

    #[test]
    fn references_stay_when_the_table_grows() {
        let mut symbols = Interner::new();
        let references: Vec<u32> = (0..10_000).map(|number| symbols.intern(0, &name(number))).collect();
        assert_eq!(references, (1..=10_000).collect::<Vec<u32>>());
        for (number, &reference) in references.iter().enumerate() {
            assert_eq!(symbols.intern(0, &name(number)), reference);
        }
    }

    #[test]
    fn truncation_forgets_the_newest_and_keeps_the_rest() {
        for keep in [0, 1, 300, 511, 512, 2_000, 5_000] {
            let mut symbols = Interner::new();
            for number in 1..3_000 {
                symbols.intern(0, &name(number));
            }
            let kept = symbols.len().min(keep.max(1));
            symbols.truncate(keep);
            assert_eq!(symbols.len(), kept);
            for number in 1..kept {
                assert_eq!(symbols.intern(0, &name(number)) as usize, number, "kept {keep}");
            }
            assert_eq!(symbols.intern(0, b"another") as usize, kept);
        }
    }

    #[test]
    fn a_cleared_table_is_as_new_and_gives_back_what_a_large_request_took() {
        let mut symbols = Interner::new();
        for number in 0..100_000 {
            symbols.intern(0, &name(number));
        }
        symbols.clear();
        symbols.intern(0, b"one");
        symbols.clear();
        assert_eq!(symbols.slots.len(), super::MIN_SLOTS);
        assert_eq!(symbols.encoded(), b"\x22\x00");
        assert_eq!(symbols.intern(1, b"two"), 1);
    }
}
