//! Encodes values of [`crate::model`] as write requests, in the canonical form that Prometheus' own encoder writes:
//! fields in the order of their numbers, scalars packed, zero values left out. Bits of floats are kept.

use crate::Protocol;
use crate::canonical;
use crate::interner::Interner;
use crate::model::{Count, Exemplar, Histogram, Label, Metadata, Request, Sample, Series, Span};
use crate::wire::{
    Malformed, WireType, begin_message, end_message, put_fixed64, put_len_delimited, put_message, put_tag, put_varint,
    put_varint_field, zigzag,
};

/// Encodes `request` as `prometheus.WriteRequest` in place of what `out` holds.
///
/// Start timestamps and the metadata of single series have no place in it (remote write 1.0) and are left out.
pub fn encode_v1(request: &Request<'_>, out: &mut Vec<u8>) {
    out.clear();
    for series in &request.series {
        put_message(out, 1, |out| {
            series.labels.iter().for_each(|label| put_label(out, label));
            series.samples.iter().for_each(|sample| put_sample(out, sample, Protocol::V1));
            for exemplar in &series.exemplars {
                put_message(out, 3, |out| {
                    exemplar.labels.iter().for_each(|label| put_label(out, label));
                    put_exemplar_datum(out, exemplar);
                });
            }
            for histogram in &series.histograms {
                put_message(out, 4, |out| put_histogram(out, histogram, Protocol::V1));
            }
        });
    }
    request.metadata.iter().for_each(|metadata| put_family(out, metadata));
}

/// Encodes `request` as `io.prometheus.write.v2.Request` in place of what `out` holds; see [`V2Encoder::series`].
///
/// The metadata beside the series has no place in it and is left out.
pub fn encode_v2(request: &Request<'_>, out: &mut Vec<u8>) {
    let mut encoder = V2Encoder::new();
    request.series.iter().for_each(|series| encoder.series(series));
    encoder.finish(out);
}

/// Builds a v2 request series by series: the symbol table grows with them and stands in front of them at the end.
/// Reusable, and keeps its memory.
#[derive(Debug)]
pub struct V2Encoder {
    pub(crate) interner: Interner,
    /// Encoded `TimeSeries` fields.
    series: Vec<u8>,
    count: u32,
    /// Of the labels of the series being written; until then of the one before, whose labels are often the same.
    pub(crate) references: Vec<u32>,
    /// Of help and unit, likewise.
    described: [u32; 2],
}

/// A point in the building of a request, to return to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    symbols: usize,
    bytes: usize,
    count: u32,
}

/// More than this is given back once the request is finished.
const KEPT_BYTES: usize = 1024 * 1024;

impl Default for V2Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl V2Encoder {
    /// An empty request: one symbol, the empty string, and no series.
    pub fn new() -> Self {
        Self { interner: Interner::new(), series: Vec::new(), count: 0, references: Vec::new(), described: [0; 2] }
    }

    /// Appends a series. One with samples and histograms becomes two of the same labels, the exemplars with the samples,
    /// because a v2 series never has both (remote write 2.0, "Samples and Histogram Samples").
    pub fn series(&mut self, series: &Series<'_>) {
        self.intern_labels(&series.labels);
        let (samples, histograms) = (&series.samples, &series.histograms);
        if samples.is_empty() || histograms.is_empty() {
            self.put_values(samples, histograms, &series.exemplars, series.metadata);
        } else {
            self.put_values(samples, &[], &series.exemplars, series.metadata);
            self.put_values(&[], histograms, &[], series.metadata);
        }
    }

    /// How many series the request has.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// How many bytes [`Self::finish`] will write.
    pub fn encoded_len(&self) -> usize {
        self.interner.encoded().len() + self.series.len()
    }

    /// Writes the request in place of what `out` holds, and starts the next one.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.clear();
        out.reserve(self.encoded_len());
        out.extend_from_slice(self.interner.encoded());
        out.extend_from_slice(&self.series);
        self.clear();
    }

    /// Forgets the request that was being built.
    pub fn clear(&mut self) {
        self.interner.clear();
        self.series.clear();
        self.series.shrink_to(KEPT_BYTES);
        self.count = 0;
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { symbols: self.interner.len(), bytes: self.series.len(), count: self.count }
    }

    /// Forgets what was appended since `mark` was taken.
    pub(crate) fn return_to(&mut self, mark: Mark) {
        self.interner.truncate(mark.symbols);
        self.series.truncate(mark.bytes);
        self.count = mark.count;
    }

    /// Puts the references of `labels` into `self.references`.
    pub(crate) fn intern_labels(&mut self, labels: &[Label<'_>]) {
        self.references.resize(labels.len() * 2, 0);
        for ([name, value], label) in self.references.as_chunks_mut().0.iter_mut().zip(labels) {
            *name = self.interner.intern(*name, label.name);
            *value = self.interner.intern(*value, label.value);
        }
    }

    /// Appends a series with the labels of `self.references` and whatever fields `write` appends after them.
    pub(crate) fn put_series(
        &mut self,
        metadata: Option<Metadata<'_>>,
        write: impl FnOnce(&mut Vec<u8>, &mut Interner) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let start = begin_message(&mut self.series, 5);
        put_references(&mut self.series, &self.references);
        write(&mut self.series, &mut self.interner)?;
        if let Some(metadata) = metadata {
            self.put_metadata(metadata);
        }
        end_message(&mut self.series, start);
        self.count += 1;
        Ok(())
    }

    fn put_values(
        &mut self,
        samples: &[Sample],
        histograms: &[Histogram],
        exemplars: &[Exemplar<'_>],
        metadata: Option<Metadata<'_>>,
    ) {
        let written = self.put_series(metadata, |out, interner| {
            samples.iter().for_each(|sample| put_sample(out, sample, Protocol::V2));
            for histogram in histograms {
                put_message(out, 3, |out| put_histogram(out, histogram, Protocol::V2));
            }
            for exemplar in exemplars {
                put_message(out, 4, |out| {
                    if !exemplar.labels.is_empty() {
                        put_message(out, 1, |out| {
                            exemplar.labels.iter().for_each(|label| put_exemplar_label(out, interner, label));
                        });
                    }
                    put_exemplar_datum(out, exemplar);
                });
            }
            Ok(())
        });
        debug_assert!(written.is_ok(), "values cannot be malformed");
    }

    fn put_metadata(&mut self, Metadata { kind, help, unit, .. }: Metadata<'_>) {
        let [help_hint, unit_hint] = self.described;
        self.described = [self.interner.intern(help_hint, help), self.interner.intern(unit_hint, unit)];
        let [help, unit] = self.described;
        if kind == 0 && help == 0 && unit == 0 {
            return;
        }
        put_message(&mut self.series, 5, |out| {
            put_integer(out, 1, i64::from(kind));
            put_integer(out, 3, i64::from(help));
            put_integer(out, 4, i64::from(unit));
        });
    }
}

/// Appends a label as a field of a v1 `TimeSeries` or `Exemplar`.
#[inline]
pub(crate) fn put_label(out: &mut Vec<u8>, label: &Label<'_>) {
    if !label.name.is_empty() && !label.value.is_empty() {
        return canonical::put_label(out, label.name, label.value);
    }
    let start = begin_message(out, 1);
    put_text(out, 1, label.name);
    put_text(out, 2, label.value);
    end_message(out, start);
}

/// Appends both references of a label to packed `labels_refs`.
pub(crate) fn put_exemplar_label(out: &mut Vec<u8>, interner: &mut Interner, label: &Label<'_>) {
    for text in [label.name, label.value] {
        put_varint(out, u64::from(interner.intern(0, text)));
    }
}

/// Appends a `MetricMetadata` as a field of a v1 request.
pub(crate) fn put_family(out: &mut Vec<u8>, metadata: &Metadata<'_>) {
    put_message(out, 3, |out| {
        put_integer(out, 1, i64::from(metadata.kind));
        put_text(out, 2, metadata.family);
        put_text(out, 4, metadata.help);
        put_text(out, 5, metadata.unit);
    });
}

/// Appends `labels_refs`.
fn put_references(out: &mut Vec<u8>, references: &[u32]) {
    if references.is_empty() {
        return;
    }
    let start = begin_message(out, 1);
    references.iter().for_each(|&reference| put_varint(out, u64::from(reference)));
    end_message(out, start);
}

fn put_sample(out: &mut Vec<u8>, sample: &Sample, protocol: Protocol) {
    put_message(out, 2, |out| {
        put_double(out, 1, sample.value);
        put_integer(out, 2, sample.timestamp);
        if protocol == Protocol::V2 {
            put_integer(out, 3, sample.start_timestamp);
        }
    });
}

/// What follows the labels: the same in both protocols.
fn put_exemplar_datum(out: &mut Vec<u8>, exemplar: &Exemplar<'_>) {
    put_double(out, 2, exemplar.value);
    put_integer(out, 3, exemplar.timestamp);
}

/// Appends the fields of a histogram.
fn put_histogram(out: &mut Vec<u8>, histogram: &Histogram, protocol: Protocol) {
    put_count(out, [1, 2], histogram.count);
    put_double(out, 3, histogram.sum);
    put_signed(out, 4, i64::from(histogram.schema));
    put_double(out, 5, histogram.zero_threshold);
    put_count(out, [6, 7], histogram.zero_count);
    put_spans(out, 8, &histogram.negative_spans);
    put_deltas(out, 9, &histogram.negative_deltas);
    put_doubles(out, 10, &histogram.negative_counts);
    put_spans(out, 11, &histogram.positive_spans);
    put_deltas(out, 12, &histogram.positive_deltas);
    put_doubles(out, 13, &histogram.positive_counts);
    put_integer(out, 14, i64::from(histogram.reset_hint));
    put_integer(out, 15, histogram.timestamp);
    put_doubles(out, 16, &histogram.custom_values);
    if protocol == Protocol::V2 {
        put_integer(out, 17, histogram.start_timestamp);
    }
}

/// A member of a oneof is written even when it is zero: that it is there says which kind the histogram is.
fn put_count(out: &mut Vec<u8>, [integer, float]: [u32; 2], count: Option<Count>) {
    match count {
        Some(Count::Int(count)) => put_varint_field(out, integer, count),
        Some(Count::Float(count)) => put_fixed64(out, float, count.to_bits()),
        None => {}
    }
}

fn put_spans(out: &mut Vec<u8>, field: u32, spans: &[Span]) {
    for span in spans {
        put_message(out, field, |out| {
            put_signed(out, 1, i64::from(span.offset));
            put_integer(out, 2, i64::from(span.length));
        });
    }
}

fn put_deltas(out: &mut Vec<u8>, field: u32, deltas: &[i64]) {
    if !deltas.is_empty() {
        put_message(out, field, |out| deltas.iter().for_each(|&delta| put_varint(out, zigzag(delta))));
    }
}

fn put_doubles(out: &mut Vec<u8>, field: u32, values: &[f64]) {
    if !values.is_empty() {
        put_tag(out, field, WireType::Len);
        put_varint(out, values.len() as u64 * 8);
        values.iter().for_each(|value| out.extend_from_slice(&value.to_bits().to_le_bytes()));
    }
}

/// −0.0 is not zero here: only the value whose bits are all zero may be left out.
fn put_double(out: &mut Vec<u8>, field: u32, value: f64) {
    if value.to_bits() != 0 {
        put_fixed64(out, field, value.to_bits());
    }
}

/// An int32, int64, uint32 or enum: negative values take ten bytes.
fn put_integer(out: &mut Vec<u8>, field: u32, value: i64) {
    if value != 0 {
        put_varint_field(out, field, value.cast_unsigned());
    }
}

/// A sint32 or sint64.
fn put_signed(out: &mut Vec<u8>, field: u32, value: i64) {
    if value != 0 {
        put_varint_field(out, field, zigzag(value));
    }
}

fn put_text(out: &mut Vec<u8>, field: u32, text: &[u8]) {
    if !text.is_empty() {
        put_len_delimited(out, field, text);
    }
}
