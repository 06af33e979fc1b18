//! Merges requests without decoding them: blocks of v1 requests by concatenation, v2 requests by rewriting references.

use crate::Protocol;
use crate::encode::V2Encoder;
use crate::source::{SeriesParts, Source};
use crate::wire::{Malformed, Reader, put_varint};

/// The most bytes that one snappy block can hold (snappy format description, §1: the length is a 32-bit number).
pub const MAX_SNAPPY_DECODED: u64 = u32::MAX as u64;

/// What stands in front of the elements of a snappy block: the decoded length, as a varint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnappyPreamble {
    bytes: [u8; 10],
    len: usize,
}

impl SnappyPreamble {
    /// As it is to be sent.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The preamble of a block that decodes to `decoded_total` bytes.
///
/// Copies in a snappy block point back by a relative offset, so the elements of several blocks, one after the other, are
/// the elements of the concatenation; and v1 requests, being repeated fields, concatenate. So one preamble and the
/// elements of many blocks are one valid request. No decoder takes more than [`MAX_SNAPPY_DECODED`] bytes.
pub fn snappy_preamble(decoded_total: u64) -> SnappyPreamble {
    let mut written = Vec::with_capacity(10);
    put_varint(&mut written, decoded_total);
    let mut bytes = [0; 10];
    bytes.iter_mut().zip(&written).for_each(|(to, from)| *to = *from);
    SnappyPreamble { bytes, len: written.len() }
}

/// How many bytes a snappy block decodes to, and its elements. The elements are not looked at: the block must be one that
/// was decoded before.
///
/// # Errors
/// When the block does not begin with a length of at most [`MAX_SNAPPY_DECODED`].
pub fn snappy_elements(block: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    let mut reader = Reader::new(block);
    let decoded = reader.varint()?;
    if decoded > MAX_SNAPPY_DECODED {
        return Err(Malformed { offset: 0, what: "snappy length is larger than 4 GiB" });
    }
    Ok((decoded, reader.rest()))
}

/// Writes one v2 request with the series of all `parts` in order, in place of what `out` holds: one symbol table with
/// each string once, and the references to it rewritten. Data points are copied.
///
/// # Errors
/// When a part is not a v2 request or has a symbol reference out of range; the offset is within that part. `out` is empty
/// then.
pub fn merge_v2(parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), Malformed> {
    out.clear();
    let mut encoder = V2Encoder::new();
    for decoded in parts {
        let mut source = Source::new(Protocol::V2, decoded)?;
        let mut series_parts = SeriesParts::default();
        for series in source.series() {
            source.take_apart(series?.0, &mut series_parts)?;
            encoder.put_parts(&mut source, &series_parts)?;
        }
    }
    encoder.finish(out);
    Ok(())
}
