//! Counts what a request holds by walking its messages' boundaries: the least a receiver can do.
//!
//! Looks at no label and no value; a message whose boundaries are right counts.

use remote_write::{Counts, Protocol};

/// What a request holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) counts: Counts,
    /// v1 metadata families.
    pub(super) metadata: u64,
}

/// The contents of an uncompressed request; `None` when its boundaries do not fit.
///
/// Field numbers: `TimeSeries` is 1 in v1 and 5 in v2; in it v1 has samples 2, exemplars 3, histograms 4, and v2 has
/// samples 2, histograms 3, exemplars 4.
pub(super) fn count(protocol: Protocol, message: &[u8]) -> Option<Contents> {
    let (series, metadata, histograms, exemplars) = match protocol {
        Protocol::V1 => (1, Some(3), 4, 3),
        Protocol::V2 => (5, None, 3, 4),
    };
    let mut contents = Contents::default();
    let mut fields = Fields { rest: message };
    while let Some(field) = fields.next()? {
        let Field { number, bytes: Some(bytes), .. } = field else { continue };
        contents.metadata += u64::from(metadata == Some(number));
        if number != series {
            continue;
        }
        let mut fields = Fields { rest: bytes };
        while let Some(field) = fields.next()? {
            match field.number {
                2 => contents.counts.samples += 1,
                number if number == histograms => contents.counts.histograms += 1,
                number if number == exemplars => contents.counts.exemplars += 1,
                _ => {}
            }
        }
    }
    Some(contents)
}

/// Tells each run of samples that bear the same timestamp: the timestamp in milliseconds, and how many they are.
/// `None` when the boundaries do not fit. In both protocols a sample has its timestamp in field 2.
pub(super) fn timestamps(protocol: Protocol, message: &[u8], mut tell: impl FnMut(i64, u64)) -> Option<()> {
    let series = match protocol {
        Protocol::V1 => 1,
        Protocol::V2 => 5,
    };
    let mut run = (0, 0);
    let mut fields = Fields { rest: message };
    while let Some(field) = fields.next()? {
        let (true, Some(bytes)) = (field.number == series, field.bytes) else { continue };
        let mut fields = Fields { rest: bytes };
        while let Some(field) = fields.next()? {
            let (2, Some(sample)) = (field.number, field.bytes) else { continue };
            let timestamp = timestamp(sample)?;
            if timestamp != run.0 && run.1 > 0 {
                tell(run.0, run.1);
                run.1 = 0;
            }
            run = (timestamp, run.1 + 1);
        }
    }
    if run.1 > 0 {
        tell(run.0, run.1);
    }
    Some(())
}

/// Of one sample; 0 when it has none, as protobuf has it.
fn timestamp(sample: &[u8]) -> Option<i64> {
    let mut fields = Fields { rest: sample };
    let mut timestamp = 0;
    while let Some(field) = fields.next()? {
        if let (2, Some(number)) = (field.number, field.varint) {
            timestamp = number.cast_signed();
        }
    }
    Some(timestamp)
}

struct Field<'a> {
    number: u64,
    /// Of varint fields.
    varint: Option<u64>,
    /// Of length-delimited fields.
    bytes: Option<&'a [u8]>,
}

struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The next field, `Some(None)` at the end, `None` when broken. Groups are not known here.
    fn next(&mut self) -> Option<Option<Field<'a>>> {
        if self.rest.is_empty() {
            return Some(None);
        }
        let tag = self.varint()?;
        let (varint, bytes) = match tag & 7 {
            0 => (Some(self.varint()?), None),
            1 => self.take(8).map(|_| (None, None))?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                (None, Some(self.take(length)?))
            }
            5 => self.take(4).map(|_| (None, None))?,
            _ => return None,
        };
        Some(Some(Field { number: tag >> 3, varint, bytes }))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}
