//! A deterministic load of remote-write requests, cheap enough that the generator does not outweigh what it measures.
//!
//! A request's body is encoded once with fixed-width slots for values and timestamps; each further round patches the
//! slots and compresses. Every value says which series and which round it is ([`value`]), so that a receiver's ledger
//! can be compared with what was acknowledged to the last bit. The encoder is this module's own, so that the gateway's
//! is tested against another.

use std::sync::OnceLock;

use bytes::Bytes;
use remote_write::compression::{CompressError, Compressor};
use remote_write::model::{Count, Exemplar, Histogram, Label, Span};
use remote_write::{Compression, Counts, Protocol};

use crate::ledger::{Kind, Point, exemplar_bits, histogram_bits, series_hash};
use crate::series::{self, EXEMPLAR_SLOT, HISTOGRAM_SLOT, Labels, SERIES_PER_POD};

mod encode;

pub use encode::Template;

/// How many rounds have values of their own; the sequence wraps there.
pub const SEQUENCES: u32 = 1 << 22;

/// How many series a [`Workload`] may have, so that [`value`] stays an exact integer.
pub const MAX_SERIES: u32 = 1 << 30;

/// What to send.
#[derive(Clone, Debug)]
pub struct WorkloadSettings {
    /// How many series; at most [`MAX_SERIES`], at least one.
    pub series: u32,
    /// How many of them a request carries, one sample each; at least one.
    pub series_per_request: u32,
    /// The message schema.
    pub protocol: Protocol,
    /// How bodies are compressed.
    pub compression: Compression,
    /// Whether one series of each pod is a native histogram.
    pub histograms: bool,
    /// Whether one series of each pod is followed by an exemplar, in a `TimeSeries` of its own as Prometheus sends it.
    pub exemplars: bool,
    /// v2: whether each series carries its metadata. v1: whether a load sends [`Workload::metadata_request`].
    pub metadata: bool,
    /// Workloads of different seeds share no series.
    pub seed: u64,
}

impl Default for WorkloadSettings {
    /// 10,000 series in requests of 2,000 (Prometheus' `max_samples_per_send`), v1, snappy, samples only.
    fn default() -> Self {
        Self {
            series: 10_000,
            series_per_request: 2_000,
            protocol: Protocol::V1,
            compression: Compression::Snappy,
            histograms: false,
            exemplars: false,
            metadata: false,
            seed: 1,
        }
    }
}

/// One request of one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slice {
    /// Which request of the round, below [`Workload::requests`].
    pub request: u32,
    /// Which round.
    pub sequence: u32,
    /// Of every point in it, milliseconds since the epoch.
    pub timestamp: i64,
}

/// The load: what each request of each round holds.
#[derive(Debug)]
pub struct Workload {
    settings: WorkloadSettings,
    hashes: OnceLock<Box<[u64]>>,
}

impl Workload {
    /// A load with these settings, moved into their bounds.
    pub fn new(mut settings: WorkloadSettings) -> Self {
        settings.series = settings.series.clamp(1, MAX_SERIES);
        settings.series_per_request = settings.series_per_request.clamp(1, settings.series);
        Self { settings, hashes: OnceLock::new() }
    }

    /// What the load was made with.
    pub fn settings(&self) -> &WorkloadSettings {
        &self.settings
    }

    /// How many requests a round has.
    pub fn requests(&self) -> u32 {
        self.settings.series.div_ceil(self.settings.series_per_request)
    }

    /// The encoded, uncompressed request with its slots; `request` below [`Self::requests`].
    pub fn template(&self, request: u32) -> Template {
        match self.settings.protocol {
            Protocol::V1 => encode::v1(self, self.range(request)),
            Protocol::V2 => encode::v2(self, self.range(request)),
        }
    }

    /// v1's metadata as Prometheus sends it: an uncompressed request without series.
    pub fn metadata_request(&self) -> Vec<u8> {
        encode::v1_metadata()
    }

    /// The points of these requests: what a receiver must have once they are acknowledged.
    pub fn points<'a>(&'a self, slices: impl IntoIterator<Item = Slice> + 'a) -> impl Iterator<Item = Point> + 'a {
        slices.into_iter().flat_map(move |slice| {
            self.range(slice.request).flat_map(move |series| self.points_of(series, slice.sequence, slice.timestamp))
        })
    }

    fn points_of(&self, series: u32, sequence: u32, timestamp: i64) -> impl Iterator<Item = Point> {
        let value = value(series, sequence);
        let hash = self.hashes().get(series as usize).copied().unwrap_or_default();
        let (kind, bits) = if self.is_histogram(series) {
            (Kind::Histogram, histogram_bits(&histogram(value)))
        } else {
            (Kind::Sample, value.to_bits())
        };
        let main = Point { series: hash, kind, timestamp, bits };
        let exemplar = self.has_exemplar(series).then(|| {
            let trace = trace_id(series);
            let labels = vec![Label { name: b"trace_id", value: trace.as_bytes() }];
            let bits = exemplar_bits(&Exemplar { labels, value, ..Exemplar::default() });
            Point { series: hash, kind: Kind::Exemplar, timestamp, bits }
        });
        std::iter::once(main).chain(exemplar)
    }

    fn hashes(&self) -> &[u64] {
        self.hashes.get_or_init(|| {
            let mut labels = Labels::default();
            (0..self.settings.series)
                .map(|series| {
                    self.write_labels(series, &mut labels);
                    let pairs = labels.iter();
                    series_hash(pairs.map(|(name, value)| Label { name: name.as_bytes(), value: value.as_bytes() }))
                })
                .collect()
        })
    }

    /// Writes the labels of a series.
    pub fn write_labels(&self, series: u32, labels: &mut Labels) {
        series::write_labels(self.settings.seed, series, self.settings.histograms, labels);
    }

    fn range(&self, request: u32) -> std::ops::Range<u32> {
        let from = request.saturating_mul(self.settings.series_per_request).min(self.settings.series);
        from..from.saturating_add(self.settings.series_per_request).min(self.settings.series)
    }

    fn is_histogram(&self, series: u32) -> bool {
        self.settings.histograms && series % SERIES_PER_POD == HISTOGRAM_SLOT
    }

    fn has_exemplar(&self, series: u32) -> bool {
        self.settings.exemplars && series % SERIES_PER_POD == EXEMPLAR_SLOT
    }
}

/// The value of a series in a round: an exact integer from which both can be read back.
pub fn value(series: u32, sequence: u32) -> f64 {
    (u64::from(series) << 22 | u64::from(sequence % SEQUENCES)) as f64
}

/// The series and the round of a [`value`]; nonsense for any other number.
pub fn series_and_sequence(value: f64) -> (u32, u32) {
    let whole = value as u64;
    ((whole >> 22) as u32, whole as u32 % SEQUENCES)
}

/// The native histogram of a round: its sum is the [`value`], its buckets are always the same.
fn histogram(sum: f64) -> Histogram {
    Histogram {
        count: Some(Count::Int(10)),
        sum,
        schema: 3,
        zero_threshold: f64::from_bits(0x3800_0000_0000_0000),
        zero_count: Some(Count::Int(1)),
        positive_spans: vec![Span { offset: -5, length: 2 }, Span { offset: 1, length: 2 }],
        positive_deltas: vec![1, 2, -1, 1],
        ..Histogram::default()
    }
}

fn trace_id(series: u32) -> String {
    format!("{:016x}{series:016x}", 0x4bf9_2f35_77b3_4da6_u64)
}

/// How much a connection keeps encoded; beyond it templates are built anew each round.
const MAX_KEPT_BYTES: usize = 64 << 20;

/// Turns slices into compressed bodies; one per connection.
pub struct Encoder<'w> {
    workload: &'w Workload,
    templates: Vec<Option<Template>>,
    kept_bytes: usize,
    compressor: Compressor,
    compressed: Vec<u8>,
}

impl std::fmt::Debug for Encoder<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Encoder").field("kept_bytes", &self.kept_bytes).finish_non_exhaustive()
    }
}

impl<'w> Encoder<'w> {
    /// An encoder of that load.
    pub fn new(workload: &'w Workload) -> Self {
        Self { workload, templates: Vec::new(), kept_bytes: 0, compressor: Compressor::new(), compressed: Vec::new() }
    }

    /// The compressed body and what it holds. Fails only for a body beyond what the compression can hold.
    pub fn encode(&mut self, slice: Slice) -> Result<(Bytes, Counts), CompressError> {
        let index = slice.request as usize;
        if self.templates.len() <= index {
            self.templates.resize_with(index + 1, || None);
        }
        let kept = self.templates.get_mut(index).and_then(Option::take);
        let mut template = kept.unwrap_or_else(|| {
            let template = self.workload.template(slice.request);
            self.kept_bytes += template.len();
            template
        });
        let raw = template.fill(slice.sequence, slice.timestamp);
        self.compressor.compress(self.workload.settings.compression, raw, &mut self.compressed)?;
        let body = Bytes::copy_from_slice(&self.compressed);
        let counts = template.counts();
        if self.kept_bytes > MAX_KEPT_BYTES {
            self.kept_bytes -= template.len();
        } else if let Some(place) = self.templates.get_mut(index) {
            *place = Some(template);
        }
        Ok((body, counts))
    }

    /// The compressed body of [`Workload::metadata_request`].
    pub fn encode_metadata(&mut self) -> Result<Bytes, CompressError> {
        let raw = self.workload.metadata_request();
        self.compressor.compress(self.workload.settings.compression, &raw, &mut self.compressed)?;
        Ok(Bytes::copy_from_slice(&self.compressed))
    }
}

#[cfg(test)]
mod tests;
