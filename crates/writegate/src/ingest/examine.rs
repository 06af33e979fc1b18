//! From a body as received to a record ready for the log: decompress, check, describe.

use std::cell::RefCell;

use bytes::Bytes;
use remote_write::check::{Checker, RejectReason, Rejected, Rules};
use remote_write::compression::{Compressor, DecompressError, Decompressor};
use remote_write::wire::Malformed;
use remote_write::{Compression, Counts, Protocol, concat};

use super::refusal::{Reason, Refusal};
use crate::buffer;
use crate::chain::Chain;
use crate::metadata::{self, Family};
use crate::record::Meta;

/// How a body is to be read.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) protocol: Protocol,
    /// As declared; the body's own magic number decides.
    pub(super) compression: Compression,
    /// Whether the listener takes zstd.
    pub(super) zstd: bool,
    pub(super) rules: Rules,
    /// In bytes; 0 means no limit.
    pub(super) decoded_limit: u64,
}

/// A request that was read and checked.
#[derive(Debug)]
pub(super) struct Examined {
    /// As the request came.
    pub(super) received: Counts,
    /// What may be stored.
    pub(super) accepted: Counts,
    /// Refused, by reason.
    pub(super) refused: Vec<(Reason, Counts)>,
    /// What to tell the sender about refused series.
    pub(super) complaint: Option<String>,
    pub(super) highest_timestamp: Option<i64>,
    /// For the log; `None` if nothing is left to store.
    pub(super) stored: Option<(Bytes, Bytes)>,
    /// What a v1 request says of metric families.
    pub(super) families: Vec<Family>,
}

/// Buffers that one thread uses for request after request.
struct Workspace {
    decompressor: Decompressor,
    compressor: Compressor,
    checker: Checker,
    decoded: Vec<u8>,
    /// v2 requests whose symbol table is written anew.
    rebuilt: Vec<u8>,
    compressed: Vec<u8>,
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::new(Workspace {
        decompressor: Decompressor::new(),
        compressor: Compressor::new(),
        checker: Checker::new(),
        decoded: Vec::new(),
        rebuilt: Vec::new(),
        compressed: Vec::new(),
    });
}

/// Decompresses and checks a body. Costs about 0.2 µs per sample: huge bodies belong on a thread of their own.
///
/// # Errors
/// When nothing of the request can be stored; series that are refused alone are no error.
pub(super) fn examine(body: &Bytes, reading: &Reading) -> Result<Examined, Refusal> {
    WORKSPACE.with_borrow_mut(|workspace| {
        let result = workspace.examine(body, reading);
        buffer::keep_small(&mut workspace.decoded);
        buffer::keep_small(&mut workspace.rebuilt);
        buffer::keep_small(&mut workspace.compressed);
        result
    })
}

impl Workspace {
    fn examine(&mut self, body: &Bytes, reading: &Reading) -> Result<Examined, Refusal> {
        let limit = match reading.decoded_limit {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let actual = self
            .decompressor
            .decompress(reading.compression, body, limit, &mut self.decoded)
            .map_err(|error| refuse_body(&error, reading))?;
        if actual == Compression::Zstd && !reading.zstd {
            return Err(Refusal::Malformed("the body is zstd, which this listener does not take".to_owned()));
        }
        let checked = self
            .checker
            .check(reading.protocol, &self.decoded, &reading.rules)
            .map_err(|malformed| no_write_request(&malformed))?;

        let anything = !checked.accepted.is_zero() || checked.metadata > 0;
        let meta = |compression, decoded_bytes: usize| Meta {
            protocol: reading.protocol,
            compression,
            decoded_bytes: u32::try_from(decoded_bytes).unwrap_or(u32::MAX),
            series: checked.accepted_series,
            families: checked.metadata,
            timestamps: checked.timestamps,
        };
        // v2 has none: there each series describes itself.
        let families = if checked.metadata > 0 {
            metadata::families(checked.mended.unwrap_or(&self.decoded))
                .map_err(|malformed| no_write_request(&malformed))?
        } else {
            Vec::new()
        };
        let changed = if anything && checked.rebuild_symbols {
            let source = checked.mended.unwrap_or(&self.decoded);
            concat::merge_v2(&[source], &mut self.rebuilt).map_err(|malformed| no_write_request(&malformed))?;
            Some(self.rebuilt.as_slice())
        } else {
            checked.mended
        };
        let stored = match changed {
            _ if !anything => None,
            None => Some((meta(actual, self.decoded.len()).encode(checked.footprint), body.clone())),
            Some(changed) => {
                // Most endpoints take snappy, so what is compressed anew is compressed for them.
                self.compressor
                    .compress(Compression::Snappy, changed, &mut self.compressed)
                    .map_err(|error| Refusal::Malformed(format!("the mended request cannot be stored: {error}")))?;
                let body = Bytes::copy_from_slice(&self.compressed);
                Some((meta(Compression::Snappy, changed.len()).encode(checked.footprint), body))
            }
        };
        Ok(Examined {
            received: checked.received,
            accepted: checked.accepted,
            refused: refused_counts(checked.rejected),
            complaint: (!checked.rejected.is_empty()).then(|| checked.rejected.describe(checked.received_series)),
            highest_timestamp: checked.timestamps.map(|(_, highest)| highest),
            stored,
            families,
        })
    }
}

fn no_write_request(malformed: &Malformed) -> Refusal {
    Refusal::Malformed(format!("the body is not a write request: {malformed}"))
}

fn refuse_body(error: &DecompressError, reading: &Reading) -> Refusal {
    match error {
        DecompressError::TooLarge { seen, .. } => Refusal::TooLarge {
            what: "the decompressed body",
            limit: reading.decoded_limit,
            seen: format!(" (it has {seen} or more)"),
            key: "limits.decoded_bytes",
        },
        other => Refusal::Malformed(format!("the body cannot be decompressed: {}", Chain(other))),
    }
}

fn refused_counts(rejected: &Rejected) -> Vec<(Reason, Counts)> {
    [(RejectReason::Invalid, Reason::Invalid), (RejectReason::LabelLimit, Reason::LabelLimit)]
        .into_iter()
        .map(|(reason, refused)| (refused, rejected.of(reason).counts))
        .filter(|(_, counts)| !counts.is_zero())
        .collect()
}
