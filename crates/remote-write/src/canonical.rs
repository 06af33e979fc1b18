//! Labels as remote write 1.0 writes them: what series hashes are taken of, and what 1.0 requests are made of.

use crate::wire::{WireType, put_len_delimited, put_tag, put_varint, varint_len};

/// Appends one label as remote write 1.0 writes it in a series.
pub(crate) fn put_label(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    if name.len() + value.len() < 0x80 - 4 {
        // Nearly all labels: every length is one byte.
        out.extend_from_slice(&[0x0a, (name.len() + value.len() + 4) as u8, 0x0a, name.len() as u8]);
        out.extend_from_slice(name);
        out.extend_from_slice(&[0x12, value.len() as u8]);
        out.extend_from_slice(value);
        return;
    }
    let length = |text: &[u8]| varint_len(text.len() as u64) + text.len();
    put_tag(out, 1, WireType::Len);
    put_varint(out, (2 + length(name) + length(value)) as u64);
    put_len_delimited(out, 1, name);
    put_len_delimited(out, 2, value);
}

/// Most labels of most series are no longer, and none is longer than twice this with few exceptions: copied whole, they cost
/// two instructions, or four, instead of a call.
const WIDE: usize = 32;

/// A series' labels as remote write 1.0 writes them: what is hashed, and what a mended v1 series starts with.
#[derive(Debug, Default)]
pub(crate) struct Canonical {
    /// Initialised memory; what is behind `length` means nothing.
    bytes: Vec<u8>,
    length: usize,
}

impl Canonical {
    pub(crate) const fn clear(&mut self) {
        self.length = 0;
    }

    pub(crate) const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    pub(crate) fn put(&mut self, name: &[u8], value: &[u8]) {
        self.bytes.truncate(self.length);
        put_label(&mut self.bytes, name, value);
        self.length = self.bytes.len();
    }

    /// Appends what `label`, which may go on behind it, has in its first `length` bytes; at most [`LONGEST`].
    #[inline]
    fn put_wide(&mut self, label: &[u8], length: usize) -> Option<()> {
        put_wide(self.room()?, label, length)?;
        self.length += length;
        Some(())
    }

    /// Where the next label belongs, with room for a short one and for what is copied too much.
    #[inline]
    fn room(&mut self) -> Option<&mut [u8]> {
        const MOST: usize = LONGEST + 2 * WIDE;
        if self.bytes.len() < self.length + MOST {
            self.bytes.resize((self.length + MOST).next_power_of_two(), 0);
        }
        self.bytes.get_mut(self.length..)
    }
}

/// The labels of a 2.0 request, each written once: a value hardly ever stands behind more than one name, and stands there in
/// series after series.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    /// By the reference of the value.
    known: Vec<Pair>,
    /// The labels; what is behind `length` means nothing.
    bytes: Vec<u8>,
    length: usize,
}

/// The first label with a value.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    name: u32,
    start: u32,
    /// 0: there was none.
    length: u8,
}

/// Of larger tables nothing is kept: their symbols hardly come again, and memory stays within 16 bytes for each of so many.
pub(crate) const MOST_SYMBOLS: usize = 1 << 16;
/// The longest label that is kept, with tag and length.
const LONGEST: usize = 2 + 0x7f;

impl Pairs {
    /// Forgets the request before; the next one has so many symbols.
    pub(crate) fn begin(&mut self, symbols: usize) {
        self.known.clear();
        if symbols <= MOST_SYMBOLS {
            self.known.resize(symbols, Pair::default());
        }
        self.length = 0;
    }

    pub(crate) const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Whether a request with symbols, and not too many, was begun.
    pub(crate) const fn is_begun(&self) -> bool {
        !self.known.is_empty()
    }

    /// Appends the label of these symbols, if it is known.
    #[inline]
    pub(crate) fn put(&self, name: u32, value: u32, out: &mut Canonical) -> bool {
        let Some(pair) = self.known.get(value as usize).filter(|pair| pair.name == name && pair.length > 0) else {
            return false;
        };
        let label = self.bytes.get(pair.start as usize..).unwrap_or_default();
        out.put_wide(label, usize::from(pair.length)).is_some()
    }

    /// Keeps the label of these symbols, unless another one with the value is kept already.
    pub(crate) fn keep(&mut self, name: u32, value: u32, label: &[u8]) {
        let Some(pair) = self.known.get_mut(value as usize) else { return };
        if pair.length > 0 || label.len() > LONGEST {
            return;
        }
        *pair = Pair { name, start: self.length as u32, length: label.len() as u8 };
        self.bytes.truncate(self.length);
        self.bytes.extend_from_slice(label);
        self.length = self.bytes.len();
        self.bytes.resize(self.length + 2 * WIDE, 0);
    }
}

/// Copies `length` bytes of `source`, and perhaps more; returns what is behind the `length` in `out`.
#[inline]
fn put_wide<'o>(out: &'o mut [u8], source: &[u8], length: usize) -> Option<&'o mut [u8]> {
    match (out.first_chunk_mut::<WIDE>(), source.first_chunk::<WIDE>()) {
        (Some(out), Some(source)) if length <= WIDE => *out = *source,
        _ => match (out.first_chunk_mut::<{ 2 * WIDE }>(), source.first_chunk::<{ 2 * WIDE }>()) {
            (Some(out), Some(source)) if length <= 2 * WIDE => *out = *source,
            _ => out.get_mut(..length)?.copy_from_slice(source.get(..length)?),
        },
    }
    out.get_mut(length..)
}
