//! From records to request bodies: pass, transcode, translate, merge, split. Results are shared between endpoints.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use remote_write::compression::{Compressor, Decompressor};
use remote_write::translate::{self, Form, Translator};
use remote_write::{Compression, Counts, Protocol, concat, split};
use segment_log::{Position, Record};

use crate::buffer;
use crate::record::{self, Meta};

/// What an endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) protocol: Protocol,
    pub(super) compression: Compression,
    pub(super) exemplars: bool,
    pub(super) native_histograms: bool,
}

/// One outgoing request.
#[derive(Clone, Debug)]
pub(super) struct Payload {
    /// Written one after the other: the records' own bytes where possible.
    pub(super) chunks: Vec<Bytes>,
    pub(super) protocol: Protocol,
    pub(super) compression: Compression,
    /// What it carries.
    pub(super) counts: Counts,
    /// Metric families it describes.
    pub(super) families: u32,
}

impl Payload {
    /// Bytes on the wire.
    pub(super) fn len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }
}

/// A record in the form an endpoint takes.
#[derive(Clone, Debug)]
pub(super) struct Formed {
    /// One compressed block; empty if nothing of the record can be sent.
    block: Bytes,
    decoded_bytes: u64,
    families: u32,
    pub(super) kept: Counts,
    /// What the form cannot carry.
    pub(super) untranslatable: Counts,
}

/// A record could not be brought into the form: its bytes are not what the gateway stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("form record {position}: {why}")]
pub(super) struct FormError {
    position: Position,
    why: String,
}

/// The bounds of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchLimits {
    /// Samples, histograms and exemplars.
    pub(super) samples: u64,
    /// Decompressed: receivers refuse more than 32 MiB.
    pub(super) decoded_bytes: u64,
}

impl Target {
    fn form(self) -> Form {
        let Self { protocol, exemplars, native_histograms, .. } = self;
        Form { protocol, exemplars, native_histograms }
    }

    /// Whether the record's own bytes are what the endpoint takes.
    fn takes_unchanged(self, meta: &Meta, counts: Counts) -> bool {
        meta.compression == self.compression && !translate::needs_forming(meta.protocol, counts, &self.form())
    }
}

struct Workspace {
    decompressor: Decompressor,
    compressor: Compressor,
    translator: Translator,
    decoded: Vec<u8>,
    formed: Vec<u8>,
    compressed: Vec<u8>,
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::new(Workspace {
        decompressor: Decompressor::new(),
        compressor: Compressor::new(),
        translator: Translator::new(),
        decoded: Vec::new(),
        formed: Vec::new(),
        compressed: Vec::new(),
    });
}

fn with_workspace<T>(work: impl FnOnce(&mut Workspace) -> T) -> T {
    WORKSPACE.with_borrow_mut(|workspace| {
        let result = work(workspace);
        for used in [&mut workspace.decoded, &mut workspace.formed, &mut workspace.compressed] {
            buffer::keep_small(used);
        }
        result
    })
}

/// Brings records into request bodies: one for all of them, or several if a single record is over the limits.
///
/// # Errors
/// When a record's bytes cannot be read; nothing is formed then.
pub(super) fn form(
    cache: &FormCache,
    log: usize,
    records: &[(Arc<Record>, Meta)],
    target: Target,
    limits: BatchLimits,
) -> Result<(Vec<Payload>, Vec<Formed>), FormError> {
    if let [(record, meta)] = records
        && is_over(record, meta, limits)
    {
        let (payloads, formed) = with_workspace(|workspace| workspace.split(record, meta, target, limits))?;
        return Ok((payloads, vec![formed]));
    }
    let mut formed = Vec::with_capacity(records.len());
    for (record, meta) in records {
        formed.push(cache.form(log, record, meta, target)?);
    }
    let payload = merge(&formed, target, records)?;
    Ok((payload.into_iter().collect(), formed))
}

/// Whether a record alone is more than one request may carry.
fn is_over(record: &Record, meta: &Meta, limits: BatchLimits) -> bool {
    points(record::counts(record)) > limits.samples || u64::from(meta.decoded_bytes) > limits.decoded_bytes
}

/// What `max_samples_per_send` counts.
pub(super) const fn points(counts: Counts) -> u64 {
    counts.samples + counts.histograms + counts.exemplars
}

fn merge(formed: &[Formed], target: Target, records: &[(Arc<Record>, Meta)]) -> Result<Option<Payload>, FormError> {
    let blocks: Vec<&Formed> = formed.iter().filter(|formed| !formed.block.is_empty()).collect();
    let counts = blocks.iter().fold(Counts::default(), |sum, formed| sum + formed.kept);
    let chunks = match (blocks.as_slice(), target.protocol, target.compression) {
        ([], _, _) => return Ok(None),
        ([only], _, _) => vec![only.block.clone()],
        // Frames one after the other are a valid zstd stream (RFC 8878 §3), of a concatenated write request.
        (_, Protocol::V1, Compression::Zstd) => blocks.iter().map(|formed| formed.block.clone()).collect(),
        (_, Protocol::V1, Compression::Snappy) => concatenate(&blocks).map_err(|why| at(records, why))?,
        (_, Protocol::V2, compression) => {
            let merged = with_workspace(|workspace| workspace.merge_v2(&blocks, compression));
            vec![merged.map_err(|why| at(records, why))?]
        }
    };
    let families = blocks.iter().map(|formed| formed.families).sum();
    Ok(Some(Payload { chunks, protocol: target.protocol, compression: target.compression, counts, families }))
}

fn at(records: &[(Arc<Record>, Meta)], why: String) -> FormError {
    FormError { position: records.first().map_or(0, |(record, _)| record.position), why }
}

/// One snappy block of all blocks' elements: their copy offsets are relative, so they stay valid.
fn concatenate(blocks: &[&Formed]) -> Result<Vec<Bytes>, String> {
    let decoded: u64 = blocks.iter().map(|formed| formed.decoded_bytes).sum();
    let mut chunks = Vec::with_capacity(blocks.len() + 1);
    chunks.push(Bytes::copy_from_slice(concat::snappy_preamble(decoded).as_bytes()));
    for formed in blocks {
        let (_, elements) = concat::snappy_elements(&formed.block).map_err(|error| error.to_string())?;
        chunks.push(formed.block.slice_ref(elements));
    }
    Ok(chunks)
}

impl Workspace {
    fn decompress(&mut self, record: &Record, meta: &Meta) -> Result<(), FormError> {
        // What was stored was within the limits of its day: only the record's own size bounds it.
        self.decompressor
            .decompress(meta.compression, &record.body, meta.decoded_bytes as usize, &mut self.decoded)
            .map(|_actual| ())
            .map_err(|error| FormError { position: record.position, why: error.to_string() })
    }

    /// Puts the record in the target's protocol into `self.formed`.
    fn translate(&mut self, record: &Record, meta: &Meta, target: Target) -> Result<(Counts, Counts, u32), FormError> {
        self.decompress(record, meta)?;
        let counts = record::counts(record);
        if !translate::needs_forming(meta.protocol, counts, &target.form()) {
            std::mem::swap(&mut self.decoded, &mut self.formed);
            return Ok((counts, Counts::default(), meta.families));
        }
        let formed = self
            .translator
            .form(meta.protocol, &self.decoded, &target.form(), &mut self.formed)
            .map_err(|error| FormError { position: record.position, why: error.to_string() })?;
        Ok((formed.kept, counts - formed.kept, formed.families))
    }

    /// Compresses `self.formed` into `self.compressed`.
    fn compress(&mut self, target: Target, position: Position) -> Result<(), FormError> {
        self.compressor
            .compress(target.compression, &self.formed, &mut self.compressed)
            .map_err(|error| FormError { position, why: error.to_string() })
    }

    fn form(&mut self, record: &Record, meta: &Meta, target: Target) -> Result<Formed, FormError> {
        let (kept, untranslatable, families) = self.translate(record, meta, target)?;
        if self.formed.is_empty() {
            return Ok(Formed { block: Bytes::new(), decoded_bytes: 0, families: 0, kept, untranslatable });
        }
        self.compress(target, record.position)?;
        let block = Bytes::copy_from_slice(&self.compressed);
        Ok(Formed { block, decoded_bytes: self.formed.len() as u64, families, kept, untranslatable })
    }

    fn merge_v2(&mut self, blocks: &[&Formed], compression: Compression) -> Result<Bytes, String> {
        let mut decoded = Vec::with_capacity(blocks.len());
        for formed in blocks {
            let mut one = Vec::new();
            let limit = usize::try_from(formed.decoded_bytes).unwrap_or(usize::MAX);
            self.decompressor
                .decompress(compression, &formed.block, limit, &mut one)
                .map_err(|error| error.to_string())?;
            decoded.push(one);
        }
        let parts: Vec<&[u8]> = decoded.iter().map(Vec::as_slice).collect();
        concat::merge_v2(&parts, &mut self.formed).map_err(|error| error.to_string())?;
        let compressed = self.compressor.compress(compression, &self.formed, &mut self.compressed);
        compressed.map_err(|error| error.to_string())?;
        Ok(Bytes::copy_from_slice(&self.compressed))
    }

    fn split(
        &mut self,
        record: &Record,
        meta: &Meta,
        target: Target,
        limits: BatchLimits,
    ) -> Result<(Vec<Payload>, Formed), FormError> {
        let (kept, untranslatable, families) = self.translate(record, meta, target)?;
        let max_bytes = usize::try_from(limits.decoded_bytes).unwrap_or(usize::MAX);
        let parts = split::split(target.protocol, &self.formed, limits.samples, max_bytes)
            .map_err(|error| FormError { position: record.position, why: error.to_string() })?;
        let decoded_bytes = self.formed.len() as u64;
        let mut payloads = Vec::with_capacity(parts.len());
        for part in parts {
            self.formed = part.body;
            self.compress(target, record.position)?;
            payloads.push(Payload {
                chunks: vec![Bytes::copy_from_slice(&self.compressed)],
                protocol: target.protocol,
                compression: target.compression,
                counts: part.counts,
                // The first part has them all.
                families: if payloads.is_empty() { families } else { 0 },
            });
        }
        Ok((payloads, Formed { block: Bytes::new(), decoded_bytes, families, kept, untranslatable }))
    }
}

/// Records in the forms that endpoints took lately, so that endpoints of the same form share the work.
#[derive(Debug, Default)]
pub(super) struct FormCache {
    entries: Mutex<VecDeque<(Key, Formed)>>,
}

/// Which log (by address), which record, which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    log: usize,
    position: Position,
    target: Target,
}

/// Live endpoints are within a few records of each other; one that lags forms its own.
const CACHED_FORMS: usize = 64;
/// Larger blocks are formed by each endpoint: the cache's memory stays within `CACHED_FORMS` times this.
const CACHED_BLOCK_BYTES: usize = 128 * 1024;

impl FormCache {
    fn form(&self, log: usize, record: &Record, meta: &Meta, target: Target) -> Result<Formed, FormError> {
        let counts = record::counts(record);
        if target.takes_unchanged(meta, counts) {
            let untranslatable = Counts::default();
            let decoded_bytes = u64::from(meta.decoded_bytes);
            let families = meta.families;
            return Ok(Formed { block: record.body.clone(), decoded_bytes, families, kept: counts, untranslatable });
        }
        let key = Key { log, position: record.position, target };
        if let Some(formed) = self.find(key) {
            return Ok(formed);
        }
        let formed = with_workspace(|workspace| workspace.form(record, meta, target))?;
        if formed.block.len() <= CACHED_BLOCK_BYTES {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            if entries.len() == CACHED_FORMS {
                entries.pop_front();
            }
            entries.push_back((key, formed.clone()));
        }
        Ok(formed)
    }

    fn find(&self, key: Key) -> Option<Formed> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().rev().find(|(known, _)| *known == key).map(|(_, formed)| formed.clone())
    }
}
