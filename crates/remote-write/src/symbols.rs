//! The symbol table of a v2 request as it is read: where each string is, at four bytes a symbol however the request
//! is made. Writing one is `interner`'s.

use std::hash::{BuildHasher, RandomState};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::wire::{Malformed, Reader, WireType};

/// `Request.symbols` of remote write 2.0.
pub(crate) const SYMBOLS: u32 = 4;
/// `Request.timeseries` of remote write 2.0.
pub(crate) const TIMESERIES: u32 = 5;

/// Finds symbols by reference; the strings stay in the request. Keeps its memory from one request to the next.
#[derive(Debug)]
pub(crate) struct Symbols {
    /// Where each symbol's length is: a two-byte symbol then costs four bytes here, not sixteen.
    positions: Vec<u32>,
    /// Hashes of the strings met so far, open addressing; 0 is free.
    hashes: Vec<u64>,
    /// Senders choose the strings: without a secret they could choose them to collide.
    seed: u64,
}

impl Default for Symbols {
    fn default() -> Self {
        Self { positions: Vec::new(), hashes: Vec::new(), seed: RandomState::new().hash_one(0) }
    }
}

impl Symbols {
    /// Forgets the previous request and finds the symbols of `decoded`, wherever they are in it.
    ///
    /// Returns whether all of them stand before the first series, as every known sender writes them.
    ///
    /// # Errors
    /// When the fields of the request cannot be told apart, or it is larger than 4 GiB.
    pub(crate) fn find(&mut self, decoded: &[u8]) -> Result<bool, Malformed> {
        self.positions.clear();
        let mut reader = Reader::new(decoded);
        if u32::try_from(decoded.len()).is_err() {
            return Err(reader.malformed("message is larger than 4 GiB"));
        }
        let mut seen_series = false;
        let mut in_front = true;
        while !reader.is_empty() {
            let before = reader;
            let tag = reader.tag()?;
            match (tag.field, tag.wire) {
                (SYMBOLS, WireType::Len) => {
                    in_front &= !seen_series;
                    self.positions.push(reader.position() as u32);
                    reader.bytes()?;
                }
                (TIMESERIES, WireType::Len) => {
                    seen_series = true;
                    reader.bytes()?;
                }
                (SYMBOLS | TIMESERIES, _) => return Err(before.malformed("field has the wrong wire type")),
                _ => reader.skip(tag)?,
            }
        }
        Ok(in_front)
    }

    /// The string behind `reference`, in the same `decoded` that [`Self::find`] saw; `None` when out of range.
    #[inline]
    pub(crate) fn get<'a>(&self, decoded: &'a [u8], reference: u32) -> Option<&'a [u8]> {
        let at_length = self.at_length(decoded, reference)?;
        match at_length.split_first() {
            Some((&length, rest)) if length < 0x80 => rest.get(..usize::from(length)),
            _ => Reader::new(at_length).bytes().ok(),
        }
    }

    /// The string as in [`Self::get`], but from its length on, to the end of `decoded`.
    #[inline]
    pub(crate) fn at_length<'a>(&self, decoded: &'a [u8], reference: u32) -> Option<&'a [u8]> {
        let position = *self.positions.get(reference as usize)?;
        decoded.get(position as usize..)
    }

    /// Whether a string stands in the table twice. Once in 2⁶⁴ pairs it says so of two that differ.
    pub(crate) fn repeat(&mut self, decoded: &[u8]) -> bool {
        self.hashes.clear();
        self.hashes.resize((self.positions.len() * 2).next_power_of_two(), 0);
        let mask = self.hashes.len() - 1;
        for reference in 0..self.positions.len() as u32 {
            let hash = xxh3_64_with_seed(self.get(decoded, reference).unwrap_or_default(), self.seed).max(1);
            let mut slot = hash as usize & mask;
            while self.hashes[slot] != 0 {
                if self.hashes[slot] == hash {
                    return true;
                }
                slot = (slot + 1) & mask;
            }
            self.hashes[slot] = hash;
        }
        false
    }

    /// How many symbols there are.
    pub(crate) const fn len(&self) -> usize {
        self.positions.len()
    }

    /// All symbols in order.
    pub(crate) fn iter<'a>(&self, decoded: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        (0..self.positions.len() as u32).map(move |reference| self.get(decoded, reference).unwrap_or_default())
    }

    /// Forgets the request and gives back memory beyond `symbols` entries.
    pub(crate) fn shrink_to(&mut self, symbols: usize) {
        self.positions.clear();
        self.positions.shrink_to(symbols);
        self.hashes.clear();
        self.hashes.shrink_to(symbols * 2);
    }
}
