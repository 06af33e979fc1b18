//! From records to request bodies: expire, relabel, translate, compress, merge. Results are shared between endpoints.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use remote_write::age;
use remote_write::compression::{Compressor, Decompressor};
use remote_write::model::Series;
use remote_write::pieces::Pieces;
use remote_write::relabel::{Cache, Relabeler};
use remote_write::split::Part;
use remote_write::translate::{self, Form, KnownFamilies, Translator};
use remote_write::{Compression, Counts, Protocol, concat, read, series_text};
use segment_log::{Position, Record};

use super::rules::Rules;
use crate::buffer;
use crate::metadata::Known;
use crate::record::{self, Meta};

/// What an endpoint takes of a tenant's data.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) form: Form,
    pub(super) compression: Compression,
    /// `None`: series go as they are.
    pub(super) rules: Option<Arc<Rules>>,
    /// Data points older than this expire, in milliseconds since 1970.
    pub(super) oldest_ms: Option<i64>,
    /// Whether somebody wants to know a series that is left out.
    pub(super) wants_example: bool,
    /// What earlier requests said of the tenant's metric families.
    pub(super) known: Option<Arc<Known>>,
}

/// One outgoing request.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    /// Written one after the other: the records' own bytes where possible.
    pub(crate) chunks: Vec<Bytes>,
    pub(crate) protocol: Protocol,
    pub(crate) compression: Compression,
    /// What it carries.
    pub(crate) counts: Counts,
    /// Metric families it describes.
    pub(crate) families: u32,
    /// Decompressed.
    pub(crate) decoded_bytes: u64,
}

impl Payload {
    /// Bytes on the wire.
    pub(super) fn len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }
}

/// What becomes of a record's data points before anything is sent. The counts add up to the record's.
#[derive(Clone, Debug, Default)]
pub(super) struct Prepared {
    /// To be sent.
    pub(super) kept: Counts,
    /// Dropped by a relabel rule, and the first such series.
    pub(super) relabeled: Counts,
    pub(super) relabeled_example: String,
    /// What the form cannot carry.
    pub(super) untranslatable: Counts,
    /// Too old.
    pub(super) expired: Counts,
    /// A series that expired or cannot be carried, if one was asked for.
    pub(super) example: String,
    families: u32,
}

/// A record in the form an endpoint takes.
#[derive(Clone, Debug)]
pub(super) struct Formed {
    pub(super) prepared: Prepared,
    /// One compressed block; empty if nothing of the record can be sent.
    block: Bytes,
    decoded_bytes: u64,
}

/// A record could not be brought into the form: its bytes are not what the gateway stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("form record {position}: {why}")]
pub(super) struct FormError {
    position: Position,
    why: String,
}

/// The bounds of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchLimits {
    /// Samples, histograms and exemplars.
    pub(super) samples: u64,
    /// Decompressed: receivers refuse more than 32 MiB.
    pub(super) decoded_bytes: u64,
}

impl BatchLimits {
    pub(super) const fn allow(&self, counts: Counts, decoded_bytes: u64) -> bool {
        counts.points() <= self.samples && decoded_bytes <= self.decoded_bytes
    }
}

impl Target {
    /// Whether it matters what earlier requests said of metric families: in 2.0 each series says it of itself.
    pub(super) fn wants_known_families(&self, came_in: Protocol) -> bool {
        (came_in, self.form.protocol) == (Protocol::V1, Protocol::V2) && self.form.metadata
    }

    /// Whether the record's own bytes are what the endpoint takes.
    fn takes_unchanged(&self, meta: &Meta, counts: Counts) -> bool {
        self.rules.is_none()
            && meta.compression == self.compression
            && !self.may_expire(meta, counts)
            && !translate::needs_forming(meta.protocol, counts, meta.families, &self.form)
    }

    /// Whether something of the record may be too old. The times of exemplars are not known beforehand.
    fn may_expire(&self, meta: &Meta, counts: Counts) -> bool {
        let Some(oldest) = self.oldest_ms else { return false };
        counts.exemplars > 0 || meta.timestamps.is_some_and(|(lowest, _)| lowest < oldest)
    }
}

struct Workspace {
    decompressor: Decompressor,
    compressor: Compressor,
    relabeler: Relabeler,
    translator: Translator,
    decoded: Vec<u8>,
    formed: Vec<u8>,
    compressed: Vec<u8>,
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::new(Workspace {
        decompressor: Decompressor::new(),
        compressor: Compressor::new(),
        relabeler: Relabeler::new(),
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

/// Forms records for all deliveries, and remembers what it lately formed.
#[derive(Debug)]
pub(super) struct Former {
    relabeled: Cache,
    entries: Mutex<VecDeque<Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    key: Key,
    formed: Formed,
    /// Of what rules made of the record.
    footprint: Option<Arc<[u32]>>,
}

/// Which log (by address), which record, which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    log: usize,
    position: Position,
    form: Form,
    compression: Compression,
    rules: Option<u64>,
}

/// Live endpoints are within a few records of each other; one that lags forms its own.
const CACHED_FORMS: usize = 64;
/// All of them, compressed.
const CACHED_BYTES: usize = 8 << 20;
/// What relabel rules did to series that come back, over all tenants and endpoints: some 200,000 series that get or lose a
/// few labels.
const RELABELED_BYTES: usize = 32 << 20;

/// Forming more than this at once happens on a thread of its own.
pub(super) const INLINE_DECODED_BYTES: u64 = 1024 * 1024;

/// A record as deliveries hold it.
pub(super) type Held = (Arc<Record>, Meta);

impl Former {
    pub(super) fn new() -> Self {
        Self { relabeled: Cache::new(RELABELED_BYTES), entries: Mutex::default() }
    }

    /// Brings records into one request body. `None` if nothing of them can be sent.
    ///
    /// # Errors
    /// When a record's bytes cannot be read; nothing is formed then.
    pub(super) fn form(
        &self,
        log: usize,
        records: &[Held],
        target: &Target,
    ) -> Result<(Option<Payload>, Vec<Prepared>), FormError> {
        let formed = records.iter().map(|held| self.record(log, held, target)).collect::<Result<Vec<_>, _>>()?;
        let payload = merge(&formed, target, records)?;
        Ok((payload, formed.into_iter().map(|formed| formed.prepared).collect()))
    }

    /// Takes records to pieces, in the form the endpoint takes.
    ///
    /// # Errors
    /// When a record's bytes cannot be read.
    pub(super) fn dissect(&self, records: &[Held], target: &Target) -> Result<(Pieces, Vec<Prepared>), FormError> {
        let (mut requests, mut prepared) = (Vec::with_capacity(records.len()), Vec::with_capacity(records.len()));
        for (record, meta) in records {
            with_workspace(|workspace| {
                prepared.push(workspace.prepare(&self.relabeled, record, meta, target)?);
                requests.push(workspace.formed.clone());
                Ok(())
            })?;
        }
        let pieces = Pieces::new(target.form.protocol, requests).map_err(|error| at(records, error.to_string()))?;
        Ok((pieces, prepared))
    }

    /// The hashes of what a record touches at an endpoint with these rules.
    ///
    /// # Errors
    /// When a record's bytes cannot be read.
    pub(super) fn footprint(&self, (record, meta): &Held, rules: Option<&Rules>) -> Result<Box<[u32]>, FormError> {
        // Rules that only keep or drop leave a part of what is known already.
        let Some(rules) = rules.filter(|rules| rules.pipeline.edits()) else {
            return Ok(record::footprint(&record.meta).collect());
        };
        with_workspace(|workspace| {
            workspace.decompress(record, meta)?;
            let mut hashes = Vec::new();
            workspace
                .relabeler
                .footprint(&rules.pipeline, &self.relabeled, meta.protocol, &workspace.decoded, &mut hashes)
                .map_err(|error| FormError { position: record.position, why: error.to_string() })?;
            Ok(hashes.into_boxed_slice())
        })
    }

    /// As [`Self::footprint`], of a record that will be formed next for `target`, whose rules edit.
    ///
    /// # Errors
    /// When a record's bytes cannot be read.
    pub(super) fn footprint_ahead(&self, log: usize, held: &Held, target: &Target) -> Result<Arc<[u32]>, FormError> {
        let (record, meta) = held;
        if target.may_expire(meta, record::counts(record)) {
            return self.footprint(held, target.rules.as_deref()).map(Into::into);
        }
        let key = Key::new(log, record, target);
        if let Some(footprint) = self.find(key).and_then(|entry| entry.footprint) {
            return Ok(footprint);
        }
        let (formed, footprint) = with_workspace(|workspace| {
            workspace.relabeler.note_footprint();
            let formed = workspace.form(&self.relabeled, record, meta, target);
            (formed, workspace.relabeler.noted_footprint())
        });
        let (formed, Some(footprint)) = (formed?, footprint) else {
            return self.footprint(held, target.rules.as_deref()).map(Into::into);
        };
        let footprint = Arc::<[u32]>::from(footprint);
        self.keep(Entry { key, formed, footprint: Some(Arc::clone(&footprint)) });
        Ok(footprint)
    }

    fn record(&self, log: usize, (record, meta): &Held, target: &Target) -> Result<Formed, FormError> {
        let counts = record::counts(record);
        if target.takes_unchanged(meta, counts) {
            let prepared = Prepared { kept: counts, families: meta.families, ..Prepared::default() };
            return Ok(Formed { prepared, block: record.body.clone(), decoded_bytes: u64::from(meta.decoded_bytes) });
        }
        // What expires depends on the moment.
        if target.may_expire(meta, counts) {
            return with_workspace(|workspace| workspace.form(&self.relabeled, record, meta, target));
        }
        let key = Key::new(log, record, target);
        if let Some(entry) = self.find(key) {
            return Ok(entry.formed);
        }
        let formed = with_workspace(|workspace| workspace.form(&self.relabeled, record, meta, target))?;
        self.keep(Entry { key, formed: formed.clone(), footprint: None });
        Ok(formed)
    }

    fn find(&self, key: Key) -> Option<Entry> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().rev().find(|entry| entry.key == key).cloned()
    }

    fn keep(&self, entry: Entry) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push_back(entry);
        let mut bytes: usize = entries.iter().map(|entry| entry.formed.block.len()).sum();
        while entries.len() > CACHED_FORMS || bytes > CACHED_BYTES {
            bytes -= entries.pop_front().map_or(bytes, |entry| entry.formed.block.len());
        }
    }
}

impl Key {
    fn new(log: usize, record: &Record, target: &Target) -> Self {
        let Target { form, compression, rules, .. } = target;
        let rules = rules.as_ref().map(|rules| rules.id);
        Self { log, position: record.position, form: *form, compression: *compression, rules }
    }
}

/// A part of a dissected batch as a request of its own.
///
/// # Errors
/// When it cannot be compressed.
pub(super) fn payload_of(part: &Part, protocol: Protocol, compression: Compression) -> Result<Payload, String> {
    let block = with_workspace(|workspace| {
        let compressed = workspace.compressor.compress(compression, &part.body, &mut workspace.compressed);
        compressed.map(|()| Bytes::copy_from_slice(&workspace.compressed)).map_err(|error| error.to_string())
    })?;
    Ok(Payload {
        chunks: vec![block],
        protocol,
        compression,
        counts: part.counts,
        families: u32::from(part.counts.is_zero()),
        decoded_bytes: part.body.len() as u64,
    })
}

fn merge(formed: &[Formed], target: &Target, records: &[Held]) -> Result<Option<Payload>, FormError> {
    let blocks: Vec<&Formed> = formed.iter().filter(|formed| !formed.block.is_empty()).collect();
    let counts = blocks.iter().fold(Counts::default(), |sum, formed| sum + formed.prepared.kept);
    let Target { form: Form { protocol, .. }, compression, .. } = *target;
    let chunks = match (blocks.as_slice(), protocol, compression) {
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
    let families = blocks.iter().map(|formed| formed.prepared.families).sum();
    let decoded_bytes = blocks.iter().map(|formed| formed.decoded_bytes).sum();
    Ok(Some(Payload { chunks, protocol, compression, counts, families, decoded_bytes }))
}

/// The first series of a record, for people; empty if it cannot be read.
pub(super) fn first_series((record, meta): &Held) -> String {
    with_workspace(|workspace| {
        let read = workspace.decompress(record, meta);
        read.map(|()| example(meta.protocol, &workspace.decoded, |_| true)).unwrap_or_default()
    })
}

/// The first such series, for people.
fn example(protocol: Protocol, decoded: &[u8], is_one: impl Fn(&Series<'_>) -> bool) -> String {
    let mut example = String::new();
    let visited = read::for_each_series(protocol, decoded, |series| {
        if example.is_empty() && is_one(series) {
            example = series_text::describe(&series.labels);
        }
    });
    // What cannot be read has been refused before it comes here.
    visited.map(|()| example).unwrap_or_default()
}

fn at(records: &[Held], why: String) -> FormError {
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

    /// Puts what the endpoint takes of the record into `self.formed`, which is empty if that is nothing.
    fn prepare(&mut self, cache: &Cache, record: &Record, meta: &Meta, target: &Target) -> Result<Prepared, FormError> {
        self.decompress(record, meta)?;
        let broken =
            |error: remote_write::wire::Malformed| FormError { position: record.position, why: error.to_string() };
        let protocol = meta.protocol;
        let kept = record::counts(record);
        let mut prepared = Prepared { kept, families: meta.families, ..Prepared::default() };
        if let Some(oldest) = target.oldest_ms.filter(|_| target.may_expire(meta, kept)) {
            let aged = age::expire(protocol, &self.decoded, oldest, &mut self.formed).map_err(broken)?;
            (prepared.kept, prepared.expired) = (aged.kept, aged.expired);
            if target.wants_example && aged.changed {
                let is_old = |series: &Series<'_>| series.samples.iter().any(|sample| sample.timestamp < oldest);
                prepared.example = example(protocol, &self.decoded, is_old);
            }
            self.use_if(aged.changed);
        }
        if let Some(rules) = &target.rules {
            let relabeled = self
                .relabeler
                .relabel(&rules.pipeline, cache, protocol, &self.decoded, &mut self.formed)
                .map_err(broken)?;
            (prepared.kept, prepared.relabeled) = (relabeled.kept, relabeled.dropped);
            prepared.families -= relabeled.families_dropped;
            prepared.relabeled_example = relabeled.first_dropped.unwrap_or_default();
            self.use_if(relabeled.changed);
        }
        if prepared.kept.is_zero() && prepared.families == 0 {
            // A v2 request without series still has its symbols.
            self.formed.clear();
            return Ok(prepared);
        }
        if !translate::needs_forming(protocol, prepared.kept, prepared.families, &target.form) {
            std::mem::swap(&mut self.decoded, &mut self.formed);
            return Ok(prepared);
        }
        let known = target.known.as_deref().map(|known| known as &dyn KnownFamilies);
        let formed = self
            .translator
            .form_knowing(known, protocol, &self.decoded, &target.form, &mut self.formed)
            .map_err(broken)?;
        prepared.untranslatable = prepared.kept - formed.kept;
        if target.wants_example && !prepared.untranslatable.is_zero() {
            let of_histograms = prepared.untranslatable.histograms > 0;
            let is_left_out = |series: &Series<'_>| {
                if of_histograms { !series.histograms.is_empty() } else { !series.exemplars.is_empty() }
            };
            prepared.example = example(protocol, &self.decoded, is_left_out);
        }
        (prepared.kept, prepared.families) = (formed.kept, formed.families);
        Ok(prepared)
    }

    /// The output of one step is the input of the next, unless the step changed nothing.
    fn use_if(&mut self, changed: bool) {
        if changed {
            std::mem::swap(&mut self.decoded, &mut self.formed);
        }
    }

    fn form(&mut self, cache: &Cache, record: &Record, meta: &Meta, target: &Target) -> Result<Formed, FormError> {
        let prepared = self.prepare(cache, record, meta, target)?;
        if self.formed.is_empty() {
            return Ok(Formed { prepared, block: Bytes::new(), decoded_bytes: 0 });
        }
        self.compressor
            .compress(target.compression, &self.formed, &mut self.compressed)
            .map_err(|error| FormError { position: record.position, why: error.to_string() })?;
        let block = Bytes::copy_from_slice(&self.compressed);
        Ok(Formed { prepared, block, decoded_bytes: self.formed.len() as u64 })
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
}
