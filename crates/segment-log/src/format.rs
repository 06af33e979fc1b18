//! Every byte of segments and records, and every file name in a log's directory. `docs/log-format.md` is the contract;
//! nothing else in this crate knows an offset.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::{Counts, Position};

/// The version this program writes, and the latest it reads.
pub(crate) const VERSION: u32 = 1;
pub(crate) const SEGMENT_HEADER: usize = 128;
pub(crate) const RECORD_HEADER: usize = 96;
pub(crate) const ALIGN: u64 = 8;
/// Most bytes of meta and body together: a record's size must fit the memory of who reads it.
pub(crate) const MAX_RECORD: u64 = 1 << 30;

pub(crate) const CURSOR_FILES: [&str; 2] = ["cursors.0", "cursors.1"];
pub(crate) const NAME_FILE: &str = "name";
pub(crate) const NEXT: &str = "next.tmp";
pub(crate) const PREPARED: &str = "prepared.tmp";
pub(crate) const TEMPORARY: &str = ".tmp";

const SEGMENT_MAGIC: [u8; 8] = *b"WGATESEG";
const RECORD_MAGIC: [u8; 4] = *b"WGRC";
const NO_PREDECESSOR: u64 = u64::MAX;

pub(crate) fn segment_name(first: Position) -> String {
    format!("{first:020}.seg")
}

pub(crate) fn damaged_name(first: Position) -> String {
    format!("{first:020}.damaged")
}

/// The first position of a segment file, if the name is one's.
pub(crate) fn parse_segment_name(name: &str) -> Option<Position> {
    parse_digits(name.strip_suffix(".seg")?)
}

/// The same for a segment that was set aside.
pub(crate) fn parse_damaged_name(name: &str) -> Option<Position> {
    parse_digits(name.strip_suffix(".damaged")?)
}

fn parse_digits(digits: &str) -> Option<Position> {
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// The initial CRC for everything in a file of this epoch.
pub(crate) fn seed(epoch: u64) -> u32 {
    crc32c::crc32c(&epoch.to_le_bytes())
}

/// A random number that marks one life of a file. Random by the standard library's hash keys, which differ in every
/// call: no clock, and nothing to open.
pub(crate) fn new_epoch() -> u64 {
    RandomState::new().hash_one(0u64)
}

/// Where a segment's predecessor ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Predecessor {
    pub(crate) first: Position,
    pub(crate) end_offset: u64,
    pub(crate) end: Position,
    pub(crate) end_totals: Counts,
    pub(crate) last_received_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) epoch: u64,
    pub(crate) first: Position,
    pub(crate) totals: Counts,
    pub(crate) predecessor: Option<Predecessor>,
    /// The file's length when this life of it began: up to there, what is not a record has no meaning.
    pub(crate) written_ahead: u64,
}

/// Why bytes are not a segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAHeader {
    Damaged,
    NewerVersion(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut out = [0; SEGMENT_HEADER];
        let none = Predecessor {
            first: NO_PREDECESSOR,
            end_offset: 0,
            end: self.first,
            end_totals: self.totals,
            last_received_ms: 0,
        };
        let predecessor = self.predecessor.unwrap_or(none);
        put(&mut out, 0, &SEGMENT_MAGIC);
        put(&mut out, 8, &VERSION.to_le_bytes());
        put(&mut out, 12, &(SEGMENT_HEADER as u32).to_le_bytes());
        put(&mut out, 16, &self.epoch.to_le_bytes());
        put(&mut out, 24, &self.first.to_le_bytes());
        put_counts(&mut out, 32, self.totals);
        put(&mut out, 56, &predecessor.first.to_le_bytes());
        put(&mut out, 64, &predecessor.end_offset.to_le_bytes());
        put(&mut out, 72, &predecessor.end.to_le_bytes());
        put_counts(&mut out, 80, predecessor.end_totals);
        put(&mut out, 104, &predecessor.last_received_ms.to_le_bytes());
        put(&mut out, 112, &self.written_ahead.to_le_bytes());
        let crc = crc32c::crc32c(&out[..SEGMENT_HEADER - 4]);
        put(&mut out, SEGMENT_HEADER - 4, &crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8; SEGMENT_HEADER]) -> Result<Self, NotAHeader> {
        // Magic, version and checksum stand at these places in every version, so that a later one is told from damage.
        let crc = crc32c::crc32c(&bytes[..SEGMENT_HEADER - 4]);
        if bytes[..8] != SEGMENT_MAGIC || crc != u32_at(bytes, SEGMENT_HEADER - 4) {
            return Err(NotAHeader::Damaged);
        }
        match u32_at(bytes, 8) {
            0 => Err(NotAHeader::Damaged),
            VERSION => Ok(Self::decode_v1(bytes)),
            newer => Err(NotAHeader::NewerVersion(newer)),
        }
    }

    fn decode_v1(bytes: &[u8; SEGMENT_HEADER]) -> Self {
        let first = u64_at(bytes, 56);
        let predecessor = Predecessor {
            first,
            end_offset: u64_at(bytes, 64),
            end: u64_at(bytes, 72),
            end_totals: counts_at(bytes, 80),
            last_received_ms: u64_at(bytes, 104).cast_signed(),
        };
        Self {
            epoch: u64_at(bytes, 16),
            first: u64_at(bytes, 24),
            totals: counts_at(bytes, 32),
            predecessor: (first != NO_PREDECESSOR).then_some(predecessor),
            written_ahead: u64_at(bytes, 112),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) data_crc: u32,
    pub(crate) meta_len: u32,
    pub(crate) body_len: u32,
    pub(crate) position: Position,
    pub(crate) durable: Position,
    pub(crate) received_ms: i64,
    pub(crate) totals: Counts,
    pub(crate) counts: Counts,
}

impl RecordHeader {
    pub(crate) fn encode(&self, seed: u32) -> [u8; RECORD_HEADER] {
        let mut out = [0; RECORD_HEADER];
        put(&mut out, 0, &RECORD_MAGIC);
        put(&mut out, 8, &self.data_crc.to_le_bytes());
        put(&mut out, 12, &self.meta_len.to_le_bytes());
        put(&mut out, 16, &self.body_len.to_le_bytes());
        put(&mut out, 24, &self.position.to_le_bytes());
        put(&mut out, 32, &self.durable.to_le_bytes());
        put(&mut out, 40, &self.received_ms.to_le_bytes());
        put_counts(&mut out, 48, self.totals);
        put_counts(&mut out, 72, self.counts);
        let crc = crc32c::crc32c_append(seed, &out[8..]);
        put(&mut out, 4, &crc.to_le_bytes());
        out
    }

    /// `None` unless the bytes are a header of this seed.
    pub(crate) fn decode(bytes: &[u8], seed: u32) -> Option<Self> {
        let bytes: &[u8; RECORD_HEADER] = bytes.first_chunk()?;
        if bytes[..4] != RECORD_MAGIC || crc32c::crc32c_append(seed, &bytes[8..]) != u32_at(bytes, 4) {
            return None;
        }
        Some(Self {
            data_crc: u32_at(bytes, 8),
            meta_len: u32_at(bytes, 12),
            body_len: u32_at(bytes, 16),
            position: u64_at(bytes, 24),
            durable: u64_at(bytes, 32),
            received_ms: u64_at(bytes, 40).cast_signed(),
            totals: counts_at(bytes, 48),
            counts: counts_at(bytes, 72),
        })
    }

    /// Size of meta and body.
    pub(crate) fn data_len(&self) -> u64 {
        u64::from(self.meta_len) + u64::from(self.body_len)
    }

    /// Bytes in the file, padding included.
    pub(crate) fn stored_len(&self) -> u64 {
        stored_len(self.data_len())
    }
}

/// Bytes in the file of a record with that much meta and body.
pub(crate) fn stored_len(data_len: u64) -> u64 {
    (RECORD_HEADER as u64 + data_len).next_multiple_of(ALIGN)
}

/// The checksum of meta and body.
pub(crate) fn data_crc(seed: u32, meta: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, meta), body)
}

pub(crate) fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

fn put_counts(out: &mut [u8], at: usize, counts: Counts) {
    for (i, n) in counts.iter().enumerate() {
        put(out, at + i * 8, &n.to_le_bytes());
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

fn counts_at(bytes: &[u8], at: usize) -> Counts {
    std::array::from_fn(|i| u64_at(bytes, at + i * 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> RecordHeader {
        RecordHeader {
            data_crc: 7,
            meta_len: 3,
            body_len: 10,
            position: 42,
            durable: 40,
            received_ms: -5,
            totals: [1, 2, u64::MAX],
            counts: [4, 5, 6],
        }
    }

    fn segment() -> SegmentHeader {
        let predecessor =
            Predecessor { first: 1, end_offset: 128, end: 9, end_totals: [1, 2, 3], last_received_ms: -1 };
        SegmentHeader { epoch: 77, first: 9, totals: [1, 2, 3], predecessor: Some(predecessor), written_ahead: 5 }
    }

    #[test]
    fn headers_read_back_as_written() {
        for header in [segment(), SegmentHeader { predecessor: None, ..segment() }] {
            assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
        }
        assert_eq!(RecordHeader::decode(&record().encode(9), 9), Some(record()));
        assert_eq!(record().stored_len(), 112);
    }

    #[test]
    fn any_flipped_bit_of_a_header_is_noticed() {
        for bit in 0..SEGMENT_HEADER * 8 {
            let mut bytes = segment().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&bytes).is_err(), "bit {bit}");
        }
        for bit in 0..RECORD_HEADER * 8 {
            let mut bytes = record().encode(9);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(&bytes, 9), None, "bit {bit}");
        }
    }

    #[test]
    fn a_record_of_another_epoch_is_none_of_ours() {
        let (ours, theirs) = (seed(1), seed(2));
        assert_eq!(RecordHeader::decode(&record().encode(theirs), ours), None);
        assert_ne!(data_crc(ours, b"", b"x"), data_crc(theirs, b"", b"x"));
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let mut bytes = segment().encode();
        bytes[8] = 2;
        assert_eq!(SegmentHeader::decode(&bytes), Err(NotAHeader::Damaged));
        let crc = crc32c::crc32c(&bytes[..124]);
        put(&mut bytes, 124, &crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(NotAHeader::NewerVersion(2)));
    }

    #[test]
    fn only_twenty_digits_name_a_segment() {
        assert_eq!(parse_segment_name(&segment_name(4711)), Some(4711));
        assert_eq!(parse_segment_name(&segment_name(u64::MAX)), Some(u64::MAX));
        for name in ["4711.seg", "00000000000000004711.damaged", "+0000000000000004711.seg", ".seg"] {
            assert_eq!(parse_segment_name(name), None, "{name}");
        }
    }
}
