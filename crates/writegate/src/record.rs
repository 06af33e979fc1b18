//! What the gateway writes beside a request's body into each log record, so that deliveries need not decode it.
//!
//! Layout, little-endian: version (u8, 1), protocol (u8, 1 or 2), compression (u8, 0 snappy, 1 zstd), reserved (u8, 0),
//! decoded length in bytes (u32), series (u32), v1 metadata families (u32), lowest and highest timestamp in milliseconds (i64 each;
//! lowest above highest when there is none), then the footprint: sorted 32-bit series hashes (u32 each).

use bytes::Bytes;
use remote_write::{Compression, Counts, Protocol};
use segment_log::Record;

const VERSION: u8 = 1;
const FIXED: usize = 32;

/// The description of a record's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) protocol: Protocol,
    pub(crate) compression: Compression,
    /// Size of the decompressed body in bytes.
    pub(crate) decoded_bytes: u32,
    pub(crate) series: u32,
    /// Metric families described beside the series (v1).
    pub(crate) families: u32,
    /// Lowest and highest sample timestamp in milliseconds.
    pub(crate) timestamps: Option<(i64, i64)>,
}

/// A record that this program cannot read: written by a later version, or not by a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record's description is of an unknown version; was the log written by a later version of writegate?")]
pub(crate) struct UnknownMeta;

impl Meta {
    /// The bytes to store, the footprint behind the description.
    pub(crate) fn encode(&self, footprint: &[u32]) -> Bytes {
        let mut out = Vec::with_capacity(FIXED + footprint.len() * 4);
        let protocol = match self.protocol {
            Protocol::V1 => 1,
            Protocol::V2 => 2,
        };
        let compression = match self.compression {
            Compression::Snappy => 0,
            Compression::Zstd => 1,
        };
        out.extend_from_slice(&[VERSION, protocol, compression, 0]);
        out.extend_from_slice(&self.decoded_bytes.to_le_bytes());
        out.extend_from_slice(&self.series.to_le_bytes());
        out.extend_from_slice(&self.families.to_le_bytes());
        let (lowest, highest) = self.timestamps.unwrap_or((i64::MAX, i64::MIN));
        out.extend_from_slice(&lowest.to_le_bytes());
        out.extend_from_slice(&highest.to_le_bytes());
        for hash in footprint {
            out.extend_from_slice(&hash.to_le_bytes());
        }
        Bytes::from(out)
    }

    /// Reads a stored description.
    ///
    /// # Errors
    /// When the version, protocol or compression is not one of ours.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, UnknownMeta> {
        let (fixed, _) = bytes.split_first_chunk::<FIXED>().ok_or(UnknownMeta)?;
        if fixed[0] != VERSION {
            return Err(UnknownMeta);
        }
        let protocol = match fixed[1] {
            1 => Protocol::V1,
            2 => Protocol::V2,
            _ => return Err(UnknownMeta),
        };
        let compression = match fixed[2] {
            0 => Compression::Snappy,
            1 => Compression::Zstd,
            _ => return Err(UnknownMeta),
        };
        let u32_at = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let i64_at = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&fixed[at..at + 8]);
            i64::from_le_bytes(word)
        };
        let (lowest, highest) = (i64_at(16), i64_at(24));
        Ok(Self {
            protocol,
            compression,
            decoded_bytes: u32_at(4),
            series: u32_at(8),
            families: u32_at(12),
            timestamps: (lowest <= highest).then_some((lowest, highest)),
        })
    }
}

/// The series hashes of a stored description, sorted.
pub(crate) fn footprint(meta: &[u8]) -> impl ExactSizeIterator<Item = u32> + Clone + '_ {
    let hashes = meta.get(FIXED..).unwrap_or_default();
    hashes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
}

/// The counts of a record as the books name them.
pub(crate) fn counts(record: &Record) -> Counts {
    from_array(record.counts)
}

/// The log's opaque totals as counts.
pub(crate) const fn from_array([samples, histograms, exemplars]: [u64; 3]) -> Counts {
    Counts { samples, histograms, exemplars }
}

/// Counts as the log stores them.
pub(crate) const fn to_array(counts: Counts) -> [u64; 3] {
    [counts.samples, counts.histograms, counts.exemplars]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_reads_back_as_written() {
        for timestamps in [None, Some((-5, 7)), Some((i64::MIN, i64::MAX))] {
            let meta = Meta {
                protocol: Protocol::V2,
                compression: Compression::Zstd,
                decoded_bytes: 70_000,
                series: 3,
                families: 2,
                timestamps,
            };
            let bytes = meta.encode(&[1, 2, u32::MAX]);
            assert_eq!(Meta::decode(&bytes), Ok(meta));
            assert_eq!(footprint(&bytes).collect::<Vec<_>>(), [1, 2, u32::MAX]);
        }
    }

    #[test]
    fn a_later_version_is_refused() {
        let mut bytes = vec![0; FIXED];
        bytes[0] = VERSION + 1;
        assert_eq!(Meta::decode(&bytes), Err(UnknownMeta));
        assert_eq!(Meta::decode(&[]), Err(UnknownMeta));
    }
}
