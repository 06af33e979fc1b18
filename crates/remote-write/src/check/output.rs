//! The mended request: what was right is copied through in as few pieces as possible, between what was replaced.

use super::labels::{Table, is_utf8};
use crate::symbols::SYMBOLS;
use crate::wire::put_len_delimited;

/// Writes nothing as long as nothing is cut.
pub(super) struct Output<'a, 'o> {
    decoded: &'a [u8],
    out: &'o mut Vec<u8>,
    /// What of `decoded` is copied or cut already.
    taken: usize,
    mended: bool,
}

impl<'a, 'o> Output<'a, 'o> {
    pub(super) fn new(decoded: &'a [u8], out: &'o mut Vec<u8>) -> Self {
        Self { decoded, out, taken: 0, mended: false }
    }

    /// Leaves out `start..end` of the request; what replaces it is to be appended to [`Self::bytes`] next.
    pub(super) fn cut(&mut self, start: usize, end: usize) {
        if !self.mended {
            self.mended = true;
            self.out.reserve(self.decoded.len());
        }
        self.out.extend_from_slice(self.decoded.get(self.taken..start).unwrap_or_default());
        self.taken = end;
    }

    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Writes the symbols first, after `shift` empty ones. Symbols that are not UTF-8 become empty: a series that
    /// uses one is refused, and others must not fail in a decoder because of it.
    pub(super) fn replace_symbols(&mut self, table: Table<'_, '_>, shift: u32) {
        self.cut(0, 0);
        for _ in 0..shift {
            put_len_delimited(self.out, SYMBOLS, b"");
        }
        for symbol in table.symbols() {
            put_len_delimited(self.out, SYMBOLS, if is_utf8(symbol) { symbol } else { b"" });
        }
    }

    /// Copies the rest. Returns whether anything was cut, and the request is therefore in the output.
    pub(super) fn finish(mut self) -> bool {
        if self.mended {
            self.cut(self.decoded.len(), self.decoded.len());
        }
        self.mended
    }
}
